//! How much of an HTTP/1.1 answer has come, without keeping any of it: the cheapest client there is.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// An answer on its way, framed by `Content-Length` or in chunks.
#[derive(Default)]
pub(crate) struct Answer {
    head: Vec<u8>,
    state: State,
    body: usize,
}

#[derive(Default)]
enum State {
    #[default]
    Head,
    /// So much of the body, or of a chunk of it, is still to come.
    Bytes {
        left: usize,
        chunked: bool,
    },
    /// The line that says how long the next chunk is, as far as it has come.
    Size(Vec<u8>),
    Ended,
}

impl Answer {
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Bytes of the body so far.
    pub(crate) fn body(&self) -> usize {
        self.body
    }

    /// Takes what was read from the connection.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.ended() {
            match &mut self.state {
                State::Head => {
                    self.head.push(bytes[0]);
                    bytes = &bytes[1..];
                    if self.head.ends_with(b"\r\n\r\n") {
                        self.state = self.after_head();
                    }
                }
                State::Bytes { left, chunked } => {
                    let now = bytes.len().min(*left);
                    *left -= now;
                    self.body += now;
                    bytes = &bytes[now..];
                    if *left == 0 {
                        self.state = if *chunked {
                            State::Size(Vec::new())
                        } else {
                            State::Ended
                        };
                    }
                }
                State::Size(line) => {
                    line.push(bytes[0]);
                    bytes = &bytes[1..];
                    // The line end behind the chunk before is read with the size, and skipped.
                    if line.ends_with(b"\n") && line.trim_ascii().is_empty() {
                        line.clear();
                    } else if line.ends_with(b"\n") {
                        let digits = std::str::from_utf8(line.trim_ascii()).expect("a size");
                        let left = usize::from_str_radix(digits, 16).expect("a size");
                        self.state = match left {
                            // The empty line at the end comes in the same write.
                            0 => State::Ended,
                            left => State::Bytes { left, chunked: true },
                        };
                    }
                }
                State::Ended => {}
            }
        }
    }

    fn after_head(&self) -> State {
        let head = String::from_utf8_lossy(&self.head).to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        match length.map(|length| length.trim().parse().expect("a length")) {
            Some(0) => State::Ended,
            Some(left) => State::Bytes { left, chunked: false },
            None => State::Size(Vec::new()),
        }
    }
}

/// Reads a stream of so many bytes from its beginning, over one connection, and throws it away.
pub(crate) async fn read_all(authority: &str, name: &str, whole: usize) {
    let mut stream = net::rt::TcpStream::connect(authority).await.expect("a connection");
    let mut buffer = vec![0_u8; 1 << 20];
    let (mut taken, mut from) = (0, 0);
    // An answer ends after `http.max_read` bytes: a reader asks on from there.
    while taken < whole {
        let request = format!("GET /v1/stream/{name}?offset={from:020} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = Answer::default();
        while !answer.ended() {
            let read = stream.read(&mut buffer).await.expect("bytes");
            assert!(read > 0, "the server hung up");
            answer.take(&buffer[..read]);
        }
        taken += answer.body();
        from = taken;
    }
}

//! A store of a few lines that answers what a test tells it to, one connection for each request.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
};

use storage::s3::S3Options;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `PUT /bucket/key?query HTTP/1.1` and the headers, in small letters but for the first line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// The value of a name in the query, or nothing.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let query = self.head.split_whitespace().nth(1)?.split_once('?')?.1;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// The method, as `PUT`.
    pub(crate) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// Path without query.
    pub(crate) fn path(&self) -> &str {
        let path = self.head.split(' ').nth(1).unwrap_or_default();
        path.split('?').next().unwrap_or_default()
    }
}

/// What the store does when it was asked.
pub(crate) enum Does {
    /// Sends these bytes, if any, and closes the connection.
    Answer(Vec<u8>),
    /// Sends these bytes, if any, and then nothing, for ever.
    Stall(Vec<u8>),
}

/// The store. It ends with the test.
pub(crate) struct Fake {
    endpoint: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Fake {
    /// `does` is given the number of the request, from 0, and the request.
    pub(crate) async fn new(does: impl Fn(usize, &Asked) -> Does + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (does, seen) = (Arc::new(does), asked.clone());
        let serving = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (does, seen) = (does.clone(), seen.clone());
                tokio::spawn(async move {
                    // One that gives up is none of our business.
                    let Ok(request) = receive(&mut client).await else {
                        return;
                    };
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    let (answer, stall) = match does(number, &request) {
                        Does::Answer(answer) => (answer, false),
                        Does::Stall(answer) => (answer, true),
                    };
                    let _ = client.write_all(&answer).await;
                    if stall {
                        pending::<()>().await;
                    }
                });
            }
        });
        Fake {
            endpoint,
            asked,
            serving,
        }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What reaches it.
    pub(crate) fn options(&self) -> S3Options {
        S3Options {
            endpoint: Some(self.endpoint.clone()),
            path_style: true,
            access_key_id: Some("key".to_owned()),
            secret_access_key: Some("hush".to_owned().into()),
            ..S3Options::new("bucket")
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An answer with these headers (each with `\r\n`) and this body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Does {
    Does::Answer(raw(
        status,
        &format!("content-length: {}\r\n{headers}", body.len()),
        body,
    ))
}

/// An error as S3 tells it.
pub(crate) fn refuse(status: &str, code: &str) -> Does {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>in other words</Message></Error>"
    );
    answer(status, "x-amz-request-id: R4711\r\n", &body)
}

/// Bytes for the wire, whether they fit together or not.
pub(crate) fn raw(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}").into_bytes()
}

async fn receive(client: &mut TcpStream) -> io::Result<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let mut asked = Asked {
        head: format!("{line}\r\n{}", headers.to_ascii_lowercase()),
        body: bytes.split_off(end),
    };
    let length = asked
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while asked.body.len() < length {
        if client.read_buf(&mut asked.body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(asked)
}

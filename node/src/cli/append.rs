//! Standard input becomes appends: pieces of bounded size, or one for each line.
//!
//! Appends are numbered by an idempotent producer, so that one whose answer was lost is sent again and stored once. Lines
//! go out several at a time: one that overtakes another is refused for the gap and sent again a moment later.

use std::{
    io::{BufRead, BufReader, Read, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, Method, Uri};
use net::rt::{self, Instant};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    Append, Surroundings,
    call::{Failure, Remote, header},
    media_type, show, target,
};

/// How long an append is tried again before the command gives up.
const STUBBORN: Duration = Duration::from_secs(30);

/// The longest line and JSON text: the largest append of a server as it is delivered.
const WHOLE_BYTES_MAX: usize = 32 << 20;

/// Of how many bytes a piece is at most. The same input makes the same pieces, or a repeated run would not be a repeat.
const PIECE_BYTES: usize = 1 << 20;

/// How many lines are under way at once if nobody says otherwise. Pieces go one after another.
const IN_FLIGHT: u16 = 16;

/// Where input is cut into appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// After each line, which goes without its end.
    Lines,
    /// Anywhere.
    Bytes,
    /// After a line if one ends, else between two characters.
    Text,
    /// Nowhere: half a JSON text is none.
    Nowhere,
}

impl Cut {
    fn of(append: &Append, content_type: &str) -> Self {
        if append.lines {
            Self::Lines
        } else if crate::stream::is_json(content_type) {
            Self::Nowhere
        } else if content_type.starts_with("text/") {
            Self::Text
        } else {
            Self::Bytes
        }
    }
}

pub(super) async fn append(remote: &Remote, append: Append, around: &mut Surroundings) -> Result<(), Failure> {
    let target = target::stream(&remote.url, &append.stream)?;
    let content_type = match &append.content_type {
        Some(named) => media_type(named).to_owned(),
        None => {
            let looked = remote.call(Method::HEAD, &target, &[], Bytes::new()).await;
            let looked = looked.map_err(Failure::of_head)?;
            header(looked.headers(), "content-type")
                .unwrap_or("application/octet-stream")
                .to_owned()
        }
    };
    let cut = Cut::of(&append, &content_type);
    let producer = match &append.producer {
        Some(named) => named.clone(),
        None => format!("holdfast-{:016x}", rt::random_u64()),
    };
    let epoch = append.epoch.to_string();
    let at_once = append.in_flight.unwrap_or(if append.lines { IN_FLIGHT } else { 1 });
    let input = std::mem::replace(&mut around.input, Box::new(std::io::empty()));
    // After the first failure nothing more is begun.
    let failed = AtomicBool::new(false);
    // The first append of an epoch must be the first to arrive: whoever overtakes it is not told that something is missing,
    // but that an epoch does not begin so.
    let begun = Semaphore::new(0);
    let sent = pieces(input, cut).enumerate().map(|(seq, piece)| {
        let (target, content_type, producer, epoch) = (&target, &content_type, &producer, &epoch);
        let (failed, begun) = (&failed, &begun);
        async move {
            let piece = piece?;
            if seq > 0 {
                drop(begun.acquire().await);
            }
            let bytes = piece.len();
            let sent = send(
                remote,
                target,
                content_type,
                (producer, epoch, seq as u64),
                piece,
                failed,
            )
            .await;
            match &sent {
                Ok(_) if seq == 0 => begun.add_permits(1),
                Ok(_) => {}
                Err(_) => failed.store(true, Ordering::Relaxed),
            }
            sent.map(|headers| (bytes, headers))
        }
    });
    let mut sent = std::pin::pin!(sent.buffered(usize::from(at_once)));
    let (mut count, mut bytes, mut told, mut last) = (0u64, 0u64, 0u64, HeaderMap::new());
    while let Some(done) = sent.next().await {
        let (length, headers) = match done {
            Ok(done) => done,
            Err(failure) if count == 0 => return Err(failure),
            Err(failure) => {
                return Err(failure.after(&format!("{count} appends ({bytes} bytes) are stored, the next")));
            }
        };
        (count, bytes, last) = (count + 1, bytes + length as u64, headers);
        if around.watched && (count.is_multiple_of(100) || bytes - told >= 4 << 20) {
            told = bytes;
            progress(around, &format!("{count} appends, {} KiB", bytes >> 10));
        }
    }
    if told > 0 {
        progress(around, "");
    }
    if count == 0 && !append.lines {
        return Err(Failure::misused("there is nothing on standard input to append"));
    }
    if remote.json {
        let offset = header(&last, "stream-next-offset");
        let told = json!({ "ended": "appended", "url": target.to_string(), "appends": count, "bytes": bytes,
                           "next_offset": offset, "producer": producer, "epoch": append.epoch });
        return writeln!(around.output, "{told}").map_err(Failure::local);
    }
    let done = match (append.lines, count) {
        (true, 1) => "appended 1 line to".to_owned(),
        (true, _) => format!("appended {count} lines to"),
        (false, 1) => format!("appended {bytes} bytes to"),
        (false, _) => format!("appended {bytes} bytes in {count} pieces to"),
    };
    show::tell(remote, &done, &last, &target.to_string(), around)
}

/// Sends one append until it is stored, or will not be.
async fn send(
    remote: &Remote,
    target: &Uri,
    content_type: &str,
    (producer, epoch, seq): (&str, &str, u64),
    piece: Bytes,
    failed: &AtomicBool,
) -> Result<HeaderMap, Failure> {
    let number = seq.to_string();
    let headers = [
        ("content-type", content_type),
        ("producer-id", producer),
        ("producer-epoch", epoch),
        ("producer-seq", &number),
    ];
    let give_up = Instant::now() + STUBBORN;
    let mut pause = Duration::from_millis(2);
    loop {
        let failure = match remote.call(Method::POST, target, &headers, piece.clone()).await {
            Ok(answer) => return Ok(answer.headers().clone()),
            Err(failure) => failure,
        };
        // Ahead of those that are still under way: unless one of them failed, they will be there soon.
        let overtook = failure.is_gap() && seq > 0 && !failed.load(Ordering::Relaxed);
        if !(overtook || failure.may_pass()) || Instant::now() >= give_up {
            return Err(failure);
        }
        rt::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(if overtook { 0 } else { 2 }).max(Duration::from_millis(50)));
    }
}

/// What is appended, as it comes: none of it is empty, for an append has a body.
fn pieces(input: Box<dyn Read + Send>, cut: Cut) -> impl Stream<Item = Result<Bytes, Failure>> {
    let input = Input {
        reader: BufReader::new(input),
        rest: Vec::new(),
    };
    stream::try_unfold(input, move |input| async move {
        // Somebody may be typing: the appends under way must go on meanwhile.
        let read = rt::blocking(move || match cut {
            Cut::Lines => input.line(),
            _ => input.piece(cut),
        });
        let read = read
            .await
            .map_err(|error| Failure::local(std::io::Error::other(error)))?;
        read.map_err(Failure::local)
    })
}

/// Standard input.
struct Input {
    reader: BufReader<Box<dyn Read + Send>>,
    /// What was read and belongs to the next piece.
    rest: Vec<u8>,
}

impl Input {
    /// The next line that is not empty, without its end.
    fn line(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        loop {
            let mut line = Vec::new();
            let limit = WHOLE_BYTES_MAX as u64 + 2;
            (&mut self.reader).take(limit).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(None);
            }
            if line.ends_with(b"\n") {
                line.pop();
                if line.ends_with(b"\r") {
                    line.pop();
                }
            }
            if line.len() > WHOLE_BYTES_MAX {
                return Err(too_long("a line"));
            }
            if !line.is_empty() {
                return Ok(Some((line.into(), self)));
            }
        }
    }

    /// As much as makes a piece, but for the last one.
    fn piece(mut self, cut: Cut) -> std::io::Result<Option<(Bytes, Self)>> {
        let mut piece = std::mem::take(&mut self.rest);
        let most = if cut == Cut::Nowhere {
            WHOLE_BYTES_MAX
        } else {
            PIECE_BYTES
        };
        // One more, to see whether there is more.
        let wanted = most + 1 - piece.len();
        (&mut self.reader).take(wanted as u64).read_to_end(&mut piece)?;
        if piece.len() > most {
            if cut == Cut::Nowhere {
                return Err(too_long(
                    "a JSON text, which cannot be cut (--lines appends one message a line),",
                ));
            }
            self.rest = piece.split_off(good_cut(&piece[..most], cut));
        }
        Ok((!piece.is_empty()).then(|| (piece.into(), self)))
    }
}

fn too_long(what: &str) -> std::io::Error {
    std::io::Error::other(format!("{what} is longer than {WHOLE_BYTES_MAX} bytes"))
}

/// How many bytes of a full piece go out now. Never none.
fn good_cut(piece: &[u8], cut: Cut) -> usize {
    if cut != Cut::Text {
        return piece.len();
    }
    if let Some(line_end) = piece.iter().rposition(|byte| *byte == b'\n') {
        return line_end + 1;
    }
    // A character has at most four bytes; what is no text is cut anywhere.
    let whole = std::str::from_utf8(piece).map_or_else(|error| error.valid_up_to(), str::len);
    if piece.len() - whole < 4 && whole > 0 {
        whole
    } else {
        piece.len()
    }
}

/// Writes over the line that says how far it is.
pub(super) fn progress(around: &mut Surroundings, far: &str) {
    // Nothing hangs on it.
    let _ = write!(around.complaints, "\r\x1b[K{far}");
    let _ = around.complaints.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_up(input: &[u8], cut: Cut) -> Vec<Vec<u8>> {
        let mut left = Some(Input {
            reader: BufReader::new(Box::new(std::io::Cursor::new(input.to_vec())) as Box<dyn Read + Send>),
            rest: Vec::new(),
        });
        let mut found = Vec::new();
        while let Some(input) = left.take() {
            if let Some((piece, rest)) = input.piece(cut).expect("a piece") {
                found.push(piece.to_vec());
                left = Some(rest);
            }
        }
        found
    }

    #[test]
    fn input_is_cut_into_pieces_of_a_bounded_size_and_nothing_is_lost() {
        let lines: Vec<u8> = b"a line of text\n"
            .iter()
            .copied()
            .cycle()
            .take(PIECE_BYTES * 2 + 77)
            .collect();
        let euros: Vec<u8> = "€".bytes().cycle().take(PIECE_BYTES * 3).collect();
        let noise = vec![0xff; PIECE_BYTES * 2];
        for cut in [Cut::Bytes, Cut::Text] {
            for input in [&lines, &euros, &noise, &Vec::new(), &lines[..PIECE_BYTES].to_vec()] {
                let pieces = cut_up(input, cut);
                assert_eq!(&pieces.concat(), input);
                assert!(pieces.iter().all(|piece| (1..=PIECE_BYTES).contains(&piece.len())));
            }
        }
        for piece in cut_up(&euros, Cut::Text) {
            assert!(String::from_utf8(piece).is_ok(), "between two characters");
        }
        let whole = cut_up(&lines, Cut::Text);
        assert!(
            whole[..whole.len() - 1].iter().all(|piece| piece.ends_with(b"\n")),
            "after a line"
        );
        assert_eq!(cut_up(&lines, Cut::Nowhere), [lines]);
    }

    #[test]
    fn a_json_text_that_is_too_long_is_not_cut() {
        let input = Input {
            reader: BufReader::new(Box::new(std::io::repeat(b'1'))),
            rest: Vec::new(),
        };
        let Err(error) = input.piece(Cut::Nowhere) else {
            panic!("it is endless")
        };
        assert!(error.to_string().contains("--lines"), "{error}");
    }
}

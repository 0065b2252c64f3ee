//! Reading to the end, and on from there, without gap or repeat.
//!
//! Bytes at an offset never change. So an answer that breaks off is asked for again from where it began, and as many of
//! its bytes as were printed already are passed over; nothing has to be known of what an offset means.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use net::{rt, serve::Trouble};
use serde_json::Value;

use super::{
    Live, Surroundings,
    append::progress,
    call::{Failure, Remote, header},
    target,
    text::{self, Events},
};

/// How long an answer may stand still; servers send a sign of life more often.
const STANDSTILL: Duration = Duration::from_secs(60);

/// How often a read that broke off is taken up again without a byte of progress.
const TRIES: u32 = 8;

/// What is printed, and how far it is.
struct Printer<'a> {
    around: &'a mut Surroundings,
    printed: u64,
    told: u64,
}

impl Printer<'_> {
    fn print(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.around.output.write_all(bytes).map_err(Failure::local)?;
        self.printed += bytes.len() as u64;
        if self.around.watched && self.printed - self.told >= 4 << 20 {
            self.told = self.printed;
            progress(self.around, &format!("{} MiB", self.printed >> 20));
        }
        Ok(())
    }

    /// What one answer held, whole: messages one a line, bytes as they are.
    fn answer(&mut self, json: bool, body: &[u8]) -> Result<(), Failure> {
        if !json {
            return self.print(body);
        }
        let odd = || Failure::refused("odd_answer", "the server answered no array for a JSON stream");
        for message in text::messages(body).ok_or_else(odd)? {
            self.print(message)?;
            self.print(b"\n")?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.around.output.flush().map_err(Failure::local)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    header(headers, "content-type").is_some_and(crate::stream::is_json)
}

fn says(headers: &HeaderMap, name: &str) -> bool {
    header(headers, name) == Some("true")
}

fn next_offset(headers: &HeaderMap) -> Result<String, Failure> {
    header(headers, "stream-next-offset")
        .map(str::to_owned)
        .ok_or_else(|| Failure::refused("odd_answer", "the server answered without Stream-Next-Offset"))
}

pub(super) async fn read(
    remote: &Remote,
    stream: &str,
    offset: String,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let target = target::stream(&remote.url, stream)?;
    let mut printer = Printer {
        around,
        printed: 0,
        told: 0,
    };
    catch_up(remote, &target, offset, &mut printer).await?;
    if printer.told > 0 {
        progress(printer.around, "");
    }
    Ok(())
}

/// Prints from `offset` to the present end. Returns where that is, and whether nothing can follow.
async fn catch_up(
    remote: &Remote,
    target: &Uri,
    mut offset: String,
    printer: &mut Printer<'_>,
) -> Result<(String, bool), Failure> {
    loop {
        let headers = one_answer(remote, &target::with(target, &[("offset", &offset)])?, printer).await?;
        let next = next_offset(&headers)?;
        printer.flush()?;
        let closed = says(&headers, "stream-closed");
        if closed || says(&headers, "stream-up-to-date") || next == offset {
            return Ok((next, closed));
        }
        offset = next;
    }
}

/// Prints one answer, taken up again where it broke off.
async fn one_answer(remote: &Remote, target: &Uri, printer: &mut Printer<'_>) -> Result<HeaderMap, Failure> {
    let (mut known, mut tries) = (0u64, 0);
    loop {
        let failure = match remote.open(target).await {
            Ok(answer) => {
                let (head, mut body) = answer.into_parts();
                let json = is_json(&head.headers);
                let (mut whole, mut skip) = (Vec::new(), known);
                let trouble = loop {
                    match body.next(STANDSTILL).await {
                        Ok(None) => {
                            if json {
                                printer.answer(true, &whole)?;
                            }
                            return Ok(head.headers);
                        }
                        Ok(Some(piece)) if json => whole.extend_from_slice(&piece),
                        Ok(Some(piece)) => {
                            let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
                            skip -= passed as u64;
                            let new = &piece[passed..];
                            if !new.is_empty() {
                                (known, tries) = (known + new.len() as u64, 0);
                                printer.print(new)?;
                            }
                        }
                        Err(trouble) => break trouble,
                    }
                };
                Failure::refused("unreachable", format!("the answer broke off: {trouble}"))
            }
            Err(failure) => failure,
        };
        tries += 1;
        if !failure.may_pass() || tries > TRIES {
            return Err(failure);
        }
        rt::sleep(pause(tries)).await;
    }
}

pub(super) async fn tail(
    remote: &Remote,
    stream: &str,
    offset: String,
    live: Live,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let target = target::stream(&remote.url, stream)?;
    let mut printer = Printer {
        around,
        printed: 0,
        told: 0,
    };
    // Where `now` is must be settled before anything can break.
    let (mut offset, mut closed) = if offset == "now" {
        let now = target::with(&target, &[("offset", "now")])?;
        let answer = remote.call(Method::GET, &now, &[], Bytes::new()).await?;
        (next_offset(answer.headers())?, says(answer.headers(), "stream-closed"))
    } else {
        catch_up(remote, &target, offset, &mut printer).await?
    };
    // Events do not say what they are made of.
    let json = match live {
        Live::LongPoll => false,
        Live::Sse => {
            let looked = remote.call(Method::HEAD, &target, &[], Bytes::new()).await;
            is_json(looked.map_err(Failure::of_head)?.headers())
        }
    };
    let mut tries = 0;
    while !closed {
        let before = offset.clone();
        let turn = match live {
            Live::LongPoll => long_poll(remote, &target, &mut offset, &mut printer).await,
            Live::Sse => events(remote, &target, &mut offset, json, &mut printer).await,
        };
        if offset != before {
            tries = 0;
        }
        match turn {
            Ok(ended) => (closed, tries) = (ended, 0),
            Err(failure) if failure.may_pass() => {
                tries += 1;
                if tries == 1 && !remote.json {
                    // Nothing hangs on it.
                    let _ = writeln!(printer.around.complaints, "holdfast: {failure}; trying again");
                }
                rt::sleep(pause(tries)).await;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Waits for one answer and prints it, whole or not at all. Returns whether the stream is closed and all was printed.
async fn long_poll(
    remote: &Remote,
    target: &Uri,
    offset: &mut String,
    printer: &mut Printer<'_>,
) -> Result<bool, Failure> {
    let target = target::with(target, &[("offset", offset.as_str()), ("live", "long-poll")])?;
    let answer = remote.call(Method::GET, &target, &[], Bytes::new()).await?;
    let next = next_offset(answer.headers())?;
    if !answer.body().is_empty() {
        printer.answer(is_json(answer.headers()), answer.body())?;
        printer.flush()?;
    }
    *offset = next;
    Ok(says(answer.headers(), "stream-closed"))
}

/// Follows one connection of events to its end. What came is printed when the event that says where the reader stands
/// has come, too, so that the two never disagree.
async fn events(
    remote: &Remote,
    target: &Uri,
    offset: &mut String,
    json: bool,
    printer: &mut Printer<'_>,
) -> Result<bool, Failure> {
    let target = target::with(target, &[("offset", offset.as_str()), ("live", "sse")])?;
    let answer = remote.open(&target).await?;
    let (head, mut body) = answer.into_parts();
    let encoded = header(&head.headers, "stream-sse-data-encoding") == Some("base64");
    let (mut events, mut waiting) = (Events::default(), Vec::new());
    loop {
        match body.next(STANDSTILL).await {
            Ok(Some(piece)) => events.add(&piece),
            // The server ends such connections now and then.
            Ok(None) => return Ok(false),
            Err(trouble @ (Trouble::Deadline | Trouble::Connection(_))) => {
                return Err(Failure::refused(
                    "unreachable",
                    format!("the events broke off: {trouble}"),
                ));
            }
            Err(other) => return Err(Failure::refused("odd_answer", other.to_string())),
        }
        while let Some(event) = events.next() {
            match &event.name[..] {
                b"data" => waiting.push(event.data),
                b"control" => {
                    let control: Value = serde_json::from_slice(&event.data).map_err(|_| {
                        Failure::refused("odd_answer", "the server sent a control event that is no JSON")
                    })?;
                    for data in waiting.drain(..) {
                        if encoded {
                            printer.print(&text::base64(&data)?)?;
                        } else {
                            printer.answer(json, &data)?;
                        }
                    }
                    printer.flush()?;
                    if let Some(next) = control["streamNextOffset"].as_str() {
                        next.clone_into(offset);
                    }
                    if control["streamClosed"] == true {
                        return Ok(true);
                    }
                }
                _ => {}
            }
        }
    }
}

fn pause(tries: u32) -> Duration {
    Duration::from_millis(100 << tries.min(6)).min(Duration::from_secs(5))
}

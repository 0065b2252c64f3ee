//! `holdfast stream …`: streams of any server of the protocol, by hand.
//!
//! | file | the question |
//! |---|---|
//! | `target` | which URL does a person mean? |
//! | `call` | what did the server say, and how does it end for the shell? |
//! | `tls` | is a server at `https://` who it says it is? |
//! | `append` | standard input becomes appends |
//! | `follow` | reading to the end, and on from there |
//! | `text` | an array becomes lines, events become bytes |
//! | `show` | what is known of a stream, and which there are |
//!
//! Exit codes: 0 done; 1 refused, with the server's code and sentence; 2 used wrongly; 3 nobody knows whether it
//! happened. What was read goes to standard output as it is stored, everything else that is said to standard error,
//! unless `--json` asks for it.

mod append;
mod call;
mod follow;
mod show;
mod target;
mod text;
mod tls;

use std::{
    io::{Read, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand, ValueEnum};

use call::{Failure, Remote};

/// Where the server is if nobody says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:4437";

/// What to do with which stream.
#[derive(Args, Debug)]
pub struct Stream {
    #[command(subcommand)]
    command: Command,
    /// The server. Default: the variable HOLDFAST_URL, or http://127.0.0.1:4437.
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// A file of PEM certificates to trust instead of the system's, for servers at https://.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Answers with JSON, for machines.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Creates a stream, or finds that it is there already.
    Create {
        /// A path below /v1/stream/, a path that begins with a slash, or a whole URL.
        stream: String,
        /// Its media type: text/plain and the like, or short: text, json, bytes.
        #[arg(long, short = 't', value_name = "TYPE", default_value = "bytes")]
        content_type: String,
        /// It expires so many seconds after it was last used.
        #[arg(long, value_name = "SECONDS")]
        ttl: Option<String>,
        /// It expires at this moment, as in 2026-07-01T12:00:00Z.
        #[arg(long, value_name = "MOMENT")]
        expires_at: Option<String>,
        /// Nothing can be appended to it, ever.
        #[arg(long)]
        closed: bool,
    },
    /// Appends standard input: JSON whole, anything else in pieces of up to 1 MiB, each stored exactly once.
    Append(Append),
    /// Prints a stream up to its present end. Messages of a JSON stream are printed one a line.
    Read {
        /// As in `create`.
        stream: String,
        /// Where to begin: -1 is the beginning, otherwise an offset that the server answered.
        #[arg(long, default_value = "-1", allow_hyphen_values = true)]
        offset: String,
    },
    /// Prints what is appended from now on, until the stream is closed. Goes on by itself when the connection breaks.
    Tail {
        /// As in `create`.
        stream: String,
        /// Where to begin: now, -1 for the beginning, or an offset that the server answered.
        #[arg(long, default_value = "now", allow_hyphen_values = true)]
        offset: String,
        /// How: long-poll keeps every byte; sse costs fewer requests, but ends every line of text with a line feed.
        #[arg(long, value_enum, default_value_t = Live::LongPoll)]
        live: Live,
    },
    /// Closes a stream: nothing can be appended to it any more.
    Close {
        /// As in `create`.
        stream: String,
    },
    /// Deletes a stream.
    Rm {
        /// As in `create`.
        stream: String,
    },
    /// Lists the streams of a bucket.
    Ls {
        /// The bucket.
        #[arg(default_value = "_default")]
        bucket: String,
        /// Only streams whose names begin so.
        #[arg(long)]
        prefix: Option<String>,
        /// At most so many.
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Tells what is known of a stream.
    Info {
        /// As in `create`.
        stream: String,
    },
}

#[derive(Args, Debug)]
struct Append {
    /// As in `create`.
    stream: String,
    /// Each line is an append of its own, without its line end; stored exactly once, whatever breaks meanwhile.
    #[arg(long)]
    lines: bool,
    /// Who appends: an interrupted run can be repeated from its beginning. Default: a name made up for this run.
    #[arg(long, value_name = "ID")]
    producer: Option<String>,
    /// The epoch of the producer: higher than in its run before.
    #[arg(long, value_name = "N", requires = "producer", default_value_t = 0)]
    epoch: u64,
    /// How many appends may be under way at once. Default: 16 with --lines, otherwise 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: Option<u16>,
    /// The media type. Default: the stream's own.
    #[arg(long, short = 't', value_name = "TYPE")]
    content_type: Option<String>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Live {
    LongPoll,
    Sse,
}

/// What a command reads from and writes to.
pub struct Surroundings {
    /// Standard input.
    pub input: Box<dyn Read + Send>,
    /// Standard output.
    pub output: Box<dyn Write>,
    /// Standard error.
    pub complaints: Box<dyn Write>,
    /// The variable `HOLDFAST_URL`.
    pub default_url: Option<String>,
    /// Whether somebody watches: then long transfers say how far they are.
    pub watched: bool,
}

impl Stream {
    /// Does it, and returns the exit code.
    pub async fn run(self, mut around: Surroundings) -> u8 {
        let json = self.json;
        let done = self.command(&mut around).await;
        let flushed = around.output.flush().map_err(Failure::local);
        let Err(failure) = done.and(flushed) else { return 0 };
        // Whoever read what is printed has seen enough, as in `holdfast stream read … | head`.
        if failure.is_closed_pipe() {
            return 0;
        }
        // Nobody may be left to hear it.
        let _ = if json {
            writeln!(around.complaints, "{}", failure.to_json())
        } else {
            writeln!(around.complaints, "holdfast: {failure}")
        };
        failure.exit_code()
    }

    async fn command(self, around: &mut Surroundings) -> Result<(), Failure> {
        let url = self.url.or(around.default_url.take());
        let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        let remote = Remote::new(url, self.json, self.ca.as_deref())?;
        match self.command {
            Command::Create {
                stream,
                content_type,
                ttl,
                expires_at,
                closed,
            } => show::create(&remote, &stream, &content_type, ttl, expires_at, closed, around).await,
            Command::Append(append) => append::append(&remote, append, around).await,
            Command::Read { stream, offset } => follow::read(&remote, &stream, offset, around).await,
            Command::Tail { stream, offset, live } => follow::tail(&remote, &stream, offset, live, around).await,
            Command::Close { stream } => show::close(&remote, &stream, around).await,
            Command::Rm { stream } => show::remove(&remote, &stream, around).await,
            Command::Ls { bucket, prefix, limit } => show::list(&remote, &bucket, prefix, limit, around).await,
            Command::Info { stream } => show::info(&remote, &stream, around).await,
        }
    }
}

/// `text`, `json` and `bytes` are short for media types.
fn media_type(short: &str) -> &str {
    match short {
        "text" => "text/plain",
        "json" => "application/json",
        "bytes" => "application/octet-stream",
        whole => whole,
    }
}

//! What a group is written down as: its state in parts, and its log after it.
//!
//! A file begins as [`envelope`](super::envelope) says, then come frames: pieces of the state as a follower is sent them, or
//! entries of the log. Names tell what is in a file, so that a list of them is enough to know what can be restored. No two
//! writers choose the same name, because each throws a number for it; and what they write is the same, because it was
//! committed.
//!
//! ```text
//! CLUSTER/record-0003/state-INDEX-NONCE/PART        PART: 000000, 000001, …; the last one ends with `-last`
//! CLUSTER/record-0003/log-FROM-TO-NONCE
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::envelope::{BadObject, Kind};
use super::object::Packed;

/// A part of a state, or a piece of a log.
pub(super) const RECORD: Kind = Kind {
    magic: b"HFRC",
    version: 1,
    name: "record",
};

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the cluster.
    pub cluster: u128,
    /// The group.
    pub group: u32,
    /// What is in it.
    pub holds: Holds,
    /// The highest term of an entry in it, or of the last entry of the state.
    pub term: u64,
    /// When it was written, by the clock of the node that did, in Unix milliseconds.
    pub at_ms: u64,
    /// Length and crc32c of each frame.
    pub frames: Vec<(u32, u32)>,
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holds {
    /// A part of the state after the entry `index`.
    State {
        /// The last entry applied.
        index: u64,
        /// Which part.
        part: u32,
    },
    /// Entries of the log.
    Log {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

/// A file that is being filled.
#[derive(Debug, Default)]
pub(super) struct FrameFile {
    frames: Vec<(u32, u32)>,
    data: Vec<Bytes>,
    pub(super) bytes: u64,
}

impl FrameFile {
    /// Adds a frame.
    pub(super) fn add(&mut self, pieces: Vec<Bytes>) {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let crc32c = pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
        self.frames.push((len as u32, crc32c));
        self.data.extend(pieces);
        self.bytes += len as u64;
    }

    /// The file, with this head.
    pub(super) fn packed(self, head: Head) -> Packed {
        let head = RECORD.seal(&Head {
            frames: self.frames,
            ..head
        });
        Packed { head, data: self.data }
    }
}

/// The head of a file, and its frames, verified.
///
/// # Errors
/// When it is no such file, or damaged.
pub fn read(whole: &Bytes) -> Result<(Head, Vec<Bytes>), BadObject> {
    let (head, mut rest): (Head, Bytes) = RECORD.unseal(whole)?;
    let mut frames = Vec::with_capacity(head.frames.len());
    for (len, crc32c) in &head.frames {
        if rest.len() < *len as usize {
            return Err(BadObject::Damaged("it is cut off".into()));
        }
        let frame = rest.split_to(*len as usize);
        if crc32c::crc32c(&frame) != *crc32c {
            return Err(BadObject::Damaged("a frame does not match its checksum".into()));
        }
        frames.push(frame);
    }
    Ok((head, frames))
}

/// What the names of all records of a group begin with.
#[must_use]
pub fn records_of(cluster: u128, group: u32) -> String {
    format!("{cluster:032x}/record-{group:04}/")
}

/// A state that somebody writes, or wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateName {
    /// The last entry in it.
    pub index: u64,
    /// Thrown for it alone.
    pub nonce: u64,
}

/// A piece of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName {
    /// The first entry in it.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Thrown for it alone.
    pub nonce: u64,
}

impl StateName {
    /// The name of a part.
    #[must_use]
    pub fn part(self, prefix: &str, part: u32, is_last: bool) -> String {
        let last = if is_last { "-last" } else { "" };
        let Self { index, nonce } = self;
        format!("{prefix}state-{index:016x}-{nonce:016x}/{part:06}{last}")
    }
}

impl LogName {
    /// The name of the file.
    #[must_use]
    pub fn key(self, prefix: &str) -> String {
        let Self { from, to, nonce } = self;
        format!("{prefix}log-{from:016x}-{to:016x}-{nonce:016x}")
    }
}

/// What a list of names says can be restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The newest whole state, and how many parts it has.
    pub state: Option<(StateName, u32)>,
    /// The pieces of the log that follow it, without a gap.
    pub log: Vec<LogName>,
    /// Names that nothing restored from here needs: older states, and what of the log they hold.
    pub needless: Vec<String>,
}

impl Chain {
    /// The last entry that it leads to.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        let state = self.state.map(|(state, _)| state.index);
        self.log.last().map(|log| log.to).or(state)
    }

    /// Finds it among the names of a group's records. Names that are none are left alone.
    #[must_use]
    pub fn find(prefix: &str, names: &[String]) -> Self {
        let (mut parts, mut logs) = (BTreeMap::<StateName, Vec<(u32, bool)>>::new(), Vec::new());
        for name in names {
            match parsed(prefix, name) {
                Some(Parsed::Part(state, part, is_last)) => parts.entry(state).or_default().push((part, is_last)),
                Some(Parsed::Log(log)) => logs.push(log),
                None => {}
            }
        }
        let whole = |parts: &[(u32, bool)]| {
            let (last, _) = parts.iter().find(|(_, is_last)| *is_last)?;
            (0..=*last)
                .all(|part| parts.iter().any(|(is, _)| *is == part))
                .then_some(last + 1)
        };
        let state = parts
            .iter()
            .rev()
            .find_map(|(name, parts)| Some((*name, whole(parts)?)));
        let Some((name, _)) = state else {
            return Self::default();
        };
        let (mut log, mut next) = (Vec::new(), name.index + 1);
        // Of those that begin early enough the one that leads farthest.
        while let Some(found) = logs
            .iter()
            .filter(|log| log.from <= next && log.to >= next)
            .max_by_key(|log| log.to)
        {
            log.push(*found);
            next = found.to + 1;
        }
        let is_needless = |of: &Parsed| match of {
            // One that is being written by somebody who has seen more is not ours to judge.
            Parsed::Part(state, ..) => *state < name,
            Parsed::Log(log) => log.to <= name.index,
        };
        let needless = names
            .iter()
            .filter(|name| parsed(prefix, name).is_some_and(|of| is_needless(&of)));
        Self {
            state,
            log,
            needless: needless.cloned().collect(),
        }
    }
}

enum Parsed {
    Part(StateName, u32, bool),
    Log(LogName),
}

fn parsed(prefix: &str, name: &str) -> Option<Parsed> {
    let rest = name.strip_prefix(prefix)?;
    let number = |digits: &str| match digits.len() {
        16 => u64::from_str_radix(digits, 16).ok(),
        _ => None,
    };
    if let Some(rest) = rest.strip_prefix("log-") {
        let mut numbers = rest.split('-').map(number);
        let (from, to, nonce) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let log = LogName { from, to, nonce };
        return (log.key(prefix) == name && from <= to).then_some(Parsed::Log(log));
    }
    let (state, part) = rest.strip_prefix("state-")?.split_once('/')?;
    let (index, nonce) = state.split_once('-')?;
    let state = StateName {
        index: number(index)?,
        nonce: number(nonce)?,
    };
    let (digits, is_last) = match part.strip_suffix("-last") {
        Some(digits) => (digits, true),
        None => (part, false),
    };
    let part = digits.parse().ok()?;
    (state.part(prefix, part, is_last) == name).then_some(Parsed::Part(state, part, is_last))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "00000000000000000000000000000007/record-0002/";

    fn head(holds: Holds) -> Head {
        Head {
            cluster: 0x0102,
            group: 3,
            holds,
            term: 5,
            at_ms: 300,
            frames: Vec::new(),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_record_is_written_as_by_the_first_release() {
        let golden = [
            (Holds::State { index: 300, part: 1 }, GOLDEN_STATE),
            (Holds::Log { from: 300, to: 301 }, GOLDEN_LOG),
        ];
        for (holds, golden) in golden {
            let mut file = FrameFile::default();
            file.add(vec![Bytes::from("ab"), Bytes::from("c")]);
            file.add(vec![Bytes::from("d")]);
            let whole: Bytes = file.packed(head(holds)).pieces().concat().into();
            assert_eq!(hex(&whole), golden.replace(' ', ""));
            let (read_head, frames) = read(&whole).expect("what was written");
            assert_eq!(
                (read_head.holds, frames),
                (holds, vec![Bytes::from("abc"), Bytes::from("d")])
            );
        }
    }

    const GOLDEN_STATE: &str =
        "48465243 01 00000017 97c60201 8202 03 00ac0201 05 ac02 02 03b7ffacb203 01acae85a10f 616263 64";
    const GOLDEN_LOG: &str =
        "48465243 01 00000018 6bdc1807 8202 03 01ac02ad02 05 ac02 02 03b7ffacb203 01acae85a10f 616263 64";

    #[test]
    fn damage_is_noticed_wherever_it_strikes() {
        let mut file = FrameFile::default();
        file.add(vec![Bytes::from("abc")]);
        let whole = file.packed(head(Holds::Log { from: 1, to: 1 })).pieces().concat();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(read(&bytes.into()).is_err(), "byte {at}");
            assert!(read(&whole[..at].to_vec().into()).is_err(), "cut at {at}");
        }
    }

    fn state(index: u64, nonce: u64, parts: &[&str]) -> Vec<String> {
        parts
            .iter()
            .map(|part| format!("{PREFIX}state-{index:016x}-{nonce:016x}/{part}"))
            .collect()
    }

    fn log(from: u64, to: u64) -> String {
        LogName { from, to, nonce: 9 }.key(PREFIX)
    }

    #[test]
    fn the_newest_whole_state_counts_and_the_log_that_follows_it_without_a_gap() {
        let mut names = state(10, 1, &["000000", "000001-last"]);
        names.extend(state(20, 2, &["000000", "000001-last"]));
        // Its middle is missing, and this one has no end.
        names.extend(state(30, 3, &["000000", "000002-last"]));
        names.extend(state(40, 4, &["000000"]));
        names.extend([log(11, 20), log(15, 25), log(21, 23), log(26, 30), log(32, 40)]);
        names.extend([format!("{PREFIX}log-1-2-3"), format!("{PREFIX}x"), "y".into()]);
        let chain = Chain::find(PREFIX, &names);
        assert_eq!(chain.state, Some((StateName { index: 20, nonce: 2 }, 2)));
        assert_eq!(
            chain.log.iter().map(|log| (log.from, log.to)).collect::<Vec<_>>(),
            [(15, 25), (26, 30)]
        );
        assert_eq!(chain.end(), Some(30));
        let mut needless = state(10, 1, &["000000", "000001-last"]);
        needless.push(log(11, 20));
        assert_eq!(chain.needless, needless);
    }

    #[test]
    fn without_a_whole_state_nothing_can_be_restored_and_nothing_is_needless() {
        let mut names = state(10, 1, &["000000"]);
        names.push(log(0, 20));
        assert_eq!(Chain::find(PREFIX, &names), Chain::default());
    }
}

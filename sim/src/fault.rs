//! The vocabulary of harm: every fault is a value that can be written down, read back and struck again.
//!
//! A nemesis names a role ([`Whom::LeaderOf`]); the world settles who that is at the moment of the blow and the trace
//! keeps the settled form ([`Whom::Nodes`]), so a replay strikes the same nodes. In words: `power-loss n3`,
//! `isolate leader-of-0`, `slow-disk n1,n2 by 20ms`; this is also the form in corpus files.
//!
//! Mends are idempotent: what is whole stays as it is.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Who is struck. Roles are settled by the world at the moment of the blow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Whom {
    /// These nodes, by id (ids start at 1).
    Nodes(Vec<u32>),
    /// Whoever leads this group now (if nobody does: whoever led it last, else any node).
    LeaderOf(u32),
    /// One node that does not lead this group.
    FollowerOf(u32),
    /// One node, by the dice.
    Anyone,
    /// Fewer than half of the nodes, by the dice (in a cluster of one: that one).
    AMinority,
    /// Every node.
    Everyone,
}

impl Whom {
    /// One node by its id.
    #[must_use]
    pub fn node(id: u32) -> Self {
        Self::Nodes(vec![id])
    }
}

/// One blow, or its mend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Fault {
    /// The process dies at once; its disk keeps what the operating system holds, synced or not.
    Crash(Whom),
    /// The machine dies: what was not synced is lost, in any way the seam `Disk` allows, the last write torn.
    PowerLoss(Whom),
    /// The node is told to end (SIGTERM): it hands over, drains, stops.
    Stop(Whom),
    /// Starts those of them that do not run.
    Restart(Whom),
    /// The process stands still: no step is taken, connections stay open.
    Freeze(Whom),
    /// Frozen ones go on.
    Thaw(Whom),
    /// Cut off from the other nodes, one by one; clients still reach them.
    Isolate(Whom),
    /// Cut off from the other nodes and from the clients.
    CutOff(Whom),
    /// The cluster falls into two: these and the rest; clients reach both sides.
    Split(Whom),
    /// What the first send to the second is lost; the other direction works.
    OneWay {
        /// Whose packets are lost.
        from: Whom,
        /// On the way to whom.
        to: Whom,
    },
    /// What the first send to the second is held back and arrives, in order, at the heal.
    Clog {
        /// Whose packets are held.
        from: Whom,
        /// On the way to whom.
        to: Whom,
    },
    /// Every link of these nodes, to nodes and to clients, becomes slow, in both directions; or only those to some nodes.
    SlowLink {
        /// At these nodes.
        whom: Whom,
        /// Only the links to these nodes, if given.
        to: Option<Whom>,
        /// Added to the way of every packet.
        delay: Duration,
        /// Added by the dice, from nothing to this.
        jitter: Duration,
    },
    /// Every link of these nodes, to nodes and to clients, loses packets and breaks connections now and then.
    LossyLink {
        /// At these nodes.
        whom: Whom,
        /// Packets lost, of a million. They are sent again, until the connection dies of too many in a row.
        loss_ppm: u32,
        /// Packets that reset their connection, of a million.
        reset_ppm: u32,
    },
    /// Answers of these nodes to clients are lost; requests still arrive.
    Mute(Whom),
    /// Every open connection of these nodes is reset.
    ResetConnections(Whom),
    /// The network is whole again: partitions, clogs, slow and lossy links, mute nodes.
    Heal,
    /// Every operation of the disk takes this much longer.
    SlowDisk {
        /// At these nodes.
        whom: Whom,
        /// Added to every operation.
        by: Duration,
    },
    /// Writes fail for want of room.
    FullDisk(Whom),
    /// A sync fails: the next one only, or all from now on.
    FailSync {
        /// At these nodes.
        whom: Whom,
        /// Only the next one.
        once: bool,
    },
    /// The next read of written bytes returns them with one bit flipped. The bytes on the disk stay as they are.
    FlipBitOnRead(Whom),
    /// One bit of what is stored in the journal flips and stays so.
    RotBit(Whom),
    /// The index takes this long for each flush: a crash then loses more of it.
    SlowIndexFlush {
        /// At these nodes.
        whom: Whom,
        /// Added to every flush.
        by: Duration,
    },
    /// The disk is quick, has room and syncs again.
    MendDisk(Whom),
    /// The wall clock goes off by this many milliseconds from the true time, at once (forward or back).
    ClockSkew {
        /// At these nodes.
        whom: Whom,
        /// Milliseconds off the true time.
        by_ms: i64,
    },
    /// The wall clock runs too fast by this many parts in a million (negative: too slow).
    ClockDrift {
        /// At these nodes.
        whom: Whom,
        /// Parts in a million.
        ppm: i64,
    },
    /// The wall clock jumps by this many milliseconds from wherever it is.
    ClockJump {
        /// At these nodes.
        whom: Whom,
        /// Milliseconds, forward or back.
        by_ms: i64,
    },
    /// Clocks show the true time and keep it.
    MendClock(Whom),
    /// The cold store answers nobody.
    ColdOut,
    /// Every call to the cold store takes this much longer.
    SlowCold {
        /// Added to every call.
        by: Duration,
    },
    /// Calls to the cold store fail: some before they took effect, some after.
    ColdFails {
        /// Without effect, of a million.
        before_ppm: u32,
        /// With all their effect, of a million.
        after_ppm: u32,
    },
    /// Reads of the cold store return their bytes with one bit flipped. The objects stay as they are.
    ColdLies {
        /// Of a million.
        ppm: u32,
    },
    /// The cold store is quick, answers and tells the truth again.
    MendCold,
    /// Everything is whole: network, disks, clocks, the cold store; the frozen go on, the dead are started.
    Mend,
}

impl Fault {
    /// Whether this makes something whole instead of breaking it.
    #[must_use]
    pub fn mends(&self) -> bool {
        matches!(
            self,
            Self::Restart(_)
                | Self::Thaw(_)
                | Self::Heal
                | Self::MendDisk(_)
                | Self::MendClock(_)
                | Self::MendCold
                | Self::Mend
        )
    }

    /// The roles in it, for the world to settle, in the order of the words.
    pub fn whom_mut(&mut self) -> Vec<&mut Whom> {
        match self {
            Self::Crash(w)
            | Self::PowerLoss(w)
            | Self::Stop(w)
            | Self::Restart(w)
            | Self::Freeze(w)
            | Self::Thaw(w)
            | Self::Isolate(w)
            | Self::CutOff(w)
            | Self::Split(w)
            | Self::Mute(w)
            | Self::ResetConnections(w)
            | Self::FullDisk(w)
            | Self::FlipBitOnRead(w)
            | Self::RotBit(w)
            | Self::MendDisk(w)
            | Self::MendClock(w) => vec![w],
            Self::OneWay { from, to } | Self::Clog { from, to } => vec![from, to],
            Self::SlowLink { whom, to, .. } => std::iter::once(whom).chain(to).collect(),
            Self::LossyLink { whom, .. }
            | Self::SlowDisk { whom, .. }
            | Self::FailSync { whom, .. }
            | Self::SlowIndexFlush { whom, .. }
            | Self::ClockSkew { whom, .. }
            | Self::ClockDrift { whom, .. }
            | Self::ClockJump { whom, .. } => vec![whom],
            Self::Heal
            | Self::ColdOut
            | Self::SlowCold { .. }
            | Self::ColdFails { .. }
            | Self::ColdLies { .. }
            | Self::MendCold
            | Self::Mend => Vec::new(),
        }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(ids) if ids.is_empty() => f.write_str("nobody"),
            Self::Nodes(ids) => {
                for (i, id) in ids.iter().enumerate() {
                    write!(f, "{}n{id}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::LeaderOf(group) => write!(f, "leader-of-{group}"),
            Self::FollowerOf(group) => write!(f, "follower-of-{group}"),
            Self::Anyone => f.write_str("anyone"),
            Self::AMinority => f.write_str("a-minority"),
            Self::Everyone => f.write_str("everyone"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(w) => write!(f, "crash {w}"),
            Self::PowerLoss(w) => write!(f, "power-loss {w}"),
            Self::Stop(w) => write!(f, "stop {w}"),
            Self::Restart(w) => write!(f, "restart {w}"),
            Self::Freeze(w) => write!(f, "freeze {w}"),
            Self::Thaw(w) => write!(f, "thaw {w}"),
            Self::Isolate(w) => write!(f, "isolate {w}"),
            Self::CutOff(w) => write!(f, "cut-off {w}"),
            Self::Split(w) => write!(f, "split {w}"),
            Self::OneWay { from, to } => write!(f, "one-way {from} to {to}"),
            Self::Clog { from, to } => write!(f, "clog {from} to {to}"),
            Self::SlowLink {
                whom,
                to,
                delay,
                jitter,
            } => {
                write!(f, "slow-link {whom}")?;
                if let Some(to) = to {
                    write!(f, " to {to}")?;
                }
                write!(f, " by {} jitter {}", Span(*delay), Span(*jitter))
            }
            Self::LossyLink {
                whom,
                loss_ppm,
                reset_ppm,
            } => {
                write!(f, "lossy-link {whom} by {loss_ppm}ppm resets {reset_ppm}ppm")
            }
            Self::Mute(w) => write!(f, "mute {w}"),
            Self::ResetConnections(w) => write!(f, "reset-connections {w}"),
            Self::Heal => f.write_str("heal"),
            Self::SlowDisk { whom, by } => write!(f, "slow-disk {whom} by {}", Span(*by)),
            Self::FullDisk(w) => write!(f, "full-disk {w}"),
            Self::FailSync { whom, once } => write!(f, "fail-sync {whom}{}", if *once { " once" } else { "" }),
            Self::FlipBitOnRead(w) => write!(f, "flip-bit-on-read {w}"),
            Self::RotBit(w) => write!(f, "rot-bit {w}"),
            Self::SlowIndexFlush { whom, by } => write!(f, "slow-index-flush {whom} by {}", Span(*by)),
            Self::MendDisk(w) => write!(f, "mend-disk {w}"),
            Self::ClockSkew { whom, by_ms } => write!(f, "clock-skew {whom} by {by_ms}ms"),
            Self::ClockDrift { whom, ppm } => write!(f, "clock-drift {whom} by {ppm}ppm"),
            Self::ClockJump { whom, by_ms } => write!(f, "clock-jump {whom} by {by_ms}ms"),
            Self::MendClock(w) => write!(f, "mend-clock {w}"),
            Self::ColdOut => f.write_str("cold-out"),
            Self::SlowCold { by } => write!(f, "slow-cold by {}", Span(*by)),
            Self::ColdFails { before_ppm, after_ppm } => {
                write!(f, "cold-fails before {before_ppm}ppm after {after_ppm}ppm")
            }
            Self::ColdLies { ppm } => write!(f, "cold-lies {ppm}ppm"),
            Self::MendCold => f.write_str("mend-cold"),
            Self::Mend => f.write_str("mend"),
        }
    }
}

/// A span in the shortest unit that keeps it whole.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros();
        if us.is_multiple_of(1000) {
            write!(f, "{}ms", us / 1000)
        } else {
            write!(f, "{us}us")
        }
    }
}

/// What could not be read as a fault, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a fault: {why}")]
pub struct NotAFault {
    text: String,
    why: String,
}

impl FromStr for Whom {
    type Err = NotAFault;

    fn from_str(text: &str) -> Result<Self, NotAFault> {
        let wrong = |why: &str| NotAFault {
            text: text.into(),
            why: why.into(),
        };
        let group = |digits: &str| digits.parse().map_err(|_| wrong("the group is not a number"));
        match text {
            "anyone" => Ok(Self::Anyone),
            "a-minority" => Ok(Self::AMinority),
            "everyone" => Ok(Self::Everyone),
            "nobody" => Ok(Self::Nodes(Vec::new())),
            _ => {
                if let Some(rest) = text.strip_prefix("leader-of-") {
                    return Ok(Self::LeaderOf(group(rest)?));
                }
                if let Some(rest) = text.strip_prefix("follower-of-") {
                    return Ok(Self::FollowerOf(group(rest)?));
                }
                let ids = text
                    .split(',')
                    .map(|id| id.strip_prefix('n').and_then(|id| id.parse().ok()));
                let ids: Option<Vec<u32>> = ids.collect();
                ids.map(Self::Nodes)
                    .ok_or_else(|| wrong("nodes are written n1 or n1,n3"))
            }
        }
    }
}

impl FromStr for Fault {
    type Err = NotAFault;

    fn from_str(text: &str) -> Result<Self, NotAFault> {
        let wrong = |why: &str| NotAFault {
            text: text.into(),
            why: why.into(),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let span = |word: &str| parse_span(word).ok_or_else(|| wrong("a span is written 20ms, 1500us or 2s"));
        let signed = |word: &str, unit: &str| {
            let digits = word.strip_suffix(unit).and_then(|digits| digits.parse::<i64>().ok());
            digits.ok_or_else(|| wrong("the amount or its unit is wrong"))
        };
        let ppm = |word| signed(word, "ppm").and_then(|ppm| u32::try_from(ppm).map_err(|_| wrong("below zero")));
        Ok(match words.as_slice() {
            ["heal"] => Self::Heal,
            ["cold-out"] => Self::ColdOut,
            ["slow-cold", "by", by] => Self::SlowCold { by: span(by)? },
            ["cold-fails", "before", before, "after", after] => Self::ColdFails {
                before_ppm: ppm(before)?,
                after_ppm: ppm(after)?,
            },
            ["cold-lies", chance] => Self::ColdLies { ppm: ppm(chance)? },
            ["mend-cold"] => Self::MendCold,
            ["mend"] => Self::Mend,
            ["crash", w] => Self::Crash(w.parse()?),
            ["power-loss", w] => Self::PowerLoss(w.parse()?),
            ["stop", w] => Self::Stop(w.parse()?),
            ["restart", w] => Self::Restart(w.parse()?),
            ["freeze", w] => Self::Freeze(w.parse()?),
            ["thaw", w] => Self::Thaw(w.parse()?),
            ["isolate", w] => Self::Isolate(w.parse()?),
            ["cut-off", w] => Self::CutOff(w.parse()?),
            ["split", w] => Self::Split(w.parse()?),
            ["mute", w] => Self::Mute(w.parse()?),
            ["reset-connections", w] => Self::ResetConnections(w.parse()?),
            ["full-disk", w] => Self::FullDisk(w.parse()?),
            ["flip-bit-on-read", w] => Self::FlipBitOnRead(w.parse()?),
            ["rot-bit", w] => Self::RotBit(w.parse()?),
            ["mend-disk", w] => Self::MendDisk(w.parse()?),
            ["mend-clock", w] => Self::MendClock(w.parse()?),
            ["fail-sync", w] => Self::FailSync {
                whom: w.parse()?,
                once: false,
            },
            ["fail-sync", w, "once"] => Self::FailSync {
                whom: w.parse()?,
                once: true,
            },
            ["one-way", from, "to", to] => Self::OneWay {
                from: from.parse()?,
                to: to.parse()?,
            },
            ["clog", from, "to", to] => Self::Clog {
                from: from.parse()?,
                to: to.parse()?,
            },
            ["slow-link", w, "to", to, "by", delay, "jitter", jitter] => Self::SlowLink {
                whom: w.parse()?,
                to: Some(to.parse()?),
                delay: span(delay)?,
                jitter: span(jitter)?,
            },
            ["slow-link", w, "by", delay, "jitter", jitter] => Self::SlowLink {
                whom: w.parse()?,
                to: None,
                delay: span(delay)?,
                jitter: span(jitter)?,
            },
            ["lossy-link", w, "by", loss, "resets", reset] => Self::LossyLink {
                whom: w.parse()?,
                loss_ppm: ppm(loss)?,
                reset_ppm: ppm(reset)?,
            },
            ["slow-disk", w, "by", by] => Self::SlowDisk {
                whom: w.parse()?,
                by: span(by)?,
            },
            ["slow-index-flush", w, "by", by] => Self::SlowIndexFlush {
                whom: w.parse()?,
                by: span(by)?,
            },
            ["clock-skew", w, "by", by] => Self::ClockSkew {
                whom: w.parse()?,
                by_ms: signed(by, "ms")?,
            },
            ["clock-drift", w, "by", by] => Self::ClockDrift {
                whom: w.parse()?,
                ppm: signed(by, "ppm")?,
            },
            ["clock-jump", w, "by", by] => Self::ClockJump {
                whom: w.parse()?,
                by_ms: signed(by, "ms")?,
            },
            _ => return Err(wrong("no fault has this name and these words")),
        })
    }
}

fn parse_span(word: &str) -> Option<Duration> {
    if let Some(digits) = word.strip_suffix("us") {
        return digits.parse().ok().map(Duration::from_micros);
    }
    if let Some(digits) = word.strip_suffix("ms") {
        return digits.parse().ok().map(Duration::from_millis);
    }
    word.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

macro_rules! as_words {
    ($type:ty) => {
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
        impl TryFrom<String> for $type {
            type Error = NotAFault;
            fn try_from(text: String) -> Result<Self, NotAFault> {
                text.parse()
            }
        }
    };
}
as_words!(Whom);
as_words!(Fault);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_back_from_its_own_words() {
        let ms = Duration::from_millis;
        let w = || Whom::Nodes(vec![1, 3]);
        let all = [
            Fault::Crash(Whom::LeaderOf(3)),
            Fault::PowerLoss(Whom::Everyone),
            Fault::Stop(Whom::FollowerOf(0)),
            Fault::Restart(Whom::Nodes(Vec::new())),
            Fault::Freeze(Whom::Anyone),
            Fault::Thaw(Whom::AMinority),
            Fault::Isolate(w()),
            Fault::CutOff(w()),
            Fault::Split(w()),
            Fault::OneWay {
                from: w(),
                to: Whom::node(2),
            },
            Fault::Clog {
                from: w(),
                to: Whom::node(2),
            },
            Fault::SlowLink {
                whom: w(),
                to: None,
                delay: ms(20),
                jitter: Duration::from_micros(1500),
            },
            Fault::SlowLink {
                whom: Whom::Anyone,
                to: Some(Whom::LeaderOf(1)),
                delay: ms(20),
                jitter: ms(0),
            },
            Fault::LossyLink {
                whom: w(),
                loss_ppm: 2000,
                reset_ppm: 500,
            },
            Fault::Mute(w()),
            Fault::ResetConnections(w()),
            Fault::Heal,
            Fault::SlowDisk { whom: w(), by: ms(20) },
            Fault::FullDisk(w()),
            Fault::FailSync { whom: w(), once: true },
            Fault::FailSync { whom: w(), once: false },
            Fault::FlipBitOnRead(w()),
            Fault::RotBit(w()),
            Fault::SlowIndexFlush {
                whom: w(),
                by: ms(2000),
            },
            Fault::MendDisk(w()),
            Fault::ClockSkew { whom: w(), by_ms: -500 },
            Fault::ClockDrift { whom: w(), ppm: 200 },
            Fault::ClockJump { whom: w(), by_ms: 5000 },
            Fault::MendClock(w()),
            Fault::ColdOut,
            Fault::SlowCold { by: ms(300) },
            Fault::ColdFails {
                before_ppm: 1000,
                after_ppm: 200,
            },
            Fault::ColdLies { ppm: 500 },
            Fault::MendCold,
            Fault::Mend,
        ];
        for fault in all {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for text in [
            "",
            "crash",
            "crash 3",
            "explode n1",
            "slow-disk n1 by 20",
            "clock-jump n1 by 3s",
        ] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}

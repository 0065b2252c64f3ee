//! Who comes next, and where it will lie: the state behind the journal's one short lock.
//!
//! A place is given at once, by arithmetic alone; nothing here touches the disk. Everything given a place stays here,
//! readable, until it is durable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{
    Options, SegmentInfo, Totals,
    error::JournalError,
    format::{HEAD, LEAD, Lead, REPEATED, padded, payload_crc},
    record::{Kind, Placed, Position, Record},
    standing::Standing,
};

/// Told when records are durable, or never will be.
pub(super) type Done = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// Something placed, and not durable yet.
pub(super) struct Slot {
    /// Where it begins; the lead of a record, not its payload.
    pub(super) at: Position,
    pub(super) what: What,
}

/// What lies in a slot.
pub(super) enum What {
    /// The head of a segment. Its chain is known when the predecessor has been written.
    Head {
        checkpoint_end: u32,
        previous: u64,
        previous_end: u32,
        capacity: u64,
    },
    /// A record. Its batch start is known when the batch is made.
    Record { lead: Lead, payload: Vec<Bytes> },
}

impl Slot {
    /// What it takes in the file.
    pub(super) fn size(&self) -> u64 {
        match &self.what {
            What::Head { .. } => HEAD,
            What::Record { lead, .. } => lead.size(),
        }
    }

    /// `len` bytes of the payload from `offset` of the file on, if they lie in it.
    fn payload_range(&self, offset: u64, len: u64) -> Option<Bytes> {
        let What::Record { lead, payload } = &self.what else {
            return None;
        };
        let mut skip = offset.checked_sub(self.at.offset + LEAD)?;
        if skip.checked_add(len)? > lead.payload_len.into() {
            return None;
        }
        let mut rest = len as usize;
        let mut out = BytesMut::new();
        for piece in payload {
            let have = piece.len() as u64;
            if skip >= have {
                skip -= have;
                continue;
            }
            let part = piece.slice(skip as usize..piece.len().min(skip as usize + rest));
            skip = 0;
            if out.is_empty() && part.len() == rest {
                return Some(part);
            }
            rest -= part.len();
            out.extend_from_slice(&part);
            if rest == 0 {
                break;
            }
        }
        Some(out.freeze())
    }
}

/// Whether the journal takes records.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    Open,
    /// No more records; those that wait are still written.
    Closing,
    Closed,
    /// With the first error, in words.
    Poisoned(Arc<str>),
}

/// Where the next record goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// The length of the file.
    pub(super) capacity: u64,
    /// Whether the last record is a [`Kind::Seal`] that began its batch: all before it is proven to be synced.
    pub(super) sealed: bool,
}

/// The state behind the lock.
pub(super) struct State {
    pub(super) tail: Tail,
    /// Everything placed and not durable, in order.
    pub(super) slots: VecDeque<Arc<Slot>>,
    /// How many slots have left the queue since the start.
    slots_gone: u64,
    /// Who waits, and for how many slots since the start.
    waiters: VecDeque<(u64, Done)>,
    pub(super) queued_bytes: u64,
    pub(super) durable: Position,
    pub(super) standing: Standing,
    /// The segments there are, and where each ends; of the last, [`Tail::offset`] counts.
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) fate: Fate,
    pub(super) totals: Totals,
}

/// What is known of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) end: u64,
    /// Somebody is freeing it.
    pub(super) freeing: bool,
}

/// A record with its checksum, made outside the lock.
pub(super) struct Ready {
    record: Record,
    payload_len: u32,
    crc: u32,
}

impl Ready {
    /// `payload_len` has been checked against [`super::MAX_PAYLOAD`].
    pub(super) fn new(record: Record) -> Ready {
        Ready {
            payload_len: record.payload_len() as u32,
            crc: payload_crc(&record.payload),
            record,
        }
    }
}

impl State {
    pub(super) fn new(tail: Tail, segments: BTreeMap<u64, Segment>, standing: Standing) -> State {
        State {
            tail,
            slots: VecDeque::new(),
            slots_gone: 0,
            waiters: VecDeque::new(),
            queued_bytes: 0,
            durable: Position {
                segment: tail.segment,
                offset: tail.offset,
            },
            standing,
            segments,
            fate: Fate::Open,
            totals: Totals::default(),
        }
    }

    /// Gives a record its place, in a new segment if the last has no room for it.
    pub(super) fn place(&mut self, options: &Options, ready: Ready) -> Placed {
        let size = LEAD + padded(ready.payload_len.into());
        // Room for the End record is kept to the last.
        if self.tail.offset + size + LEAD > self.tail.capacity {
            self.roll(options, size);
        }
        self.push(ready, 0)
    }

    /// Ends the segment and begins the next, with room for a record of `size`.
    fn roll(&mut self, options: &Options, size: u64) {
        let next = self.tail.segment + 1;
        let end = Record {
            kind: Kind::End,
            group: 0,
            index: next,
            term: 0,
            payload: Vec::new(),
        };
        self.push(Ready::new(end), 0);
        self.begin(options, size);
    }

    /// Begins the segment after the last one, whose End record has been placed.
    pub(super) fn begin(&mut self, options: &Options, size: u64) {
        let previous = Position {
            segment: self.tail.segment,
            offset: self.tail.offset,
        };
        if let Some(segment) = self.segments.get_mut(&previous.segment) {
            segment.end = previous.offset;
        }
        let repeated: Vec<Ready> = self.standing.records().into_iter().map(Ready::new).collect();
        let checkpoint_end = HEAD
            + repeated
                .iter()
                .map(|r| LEAD + padded(r.payload_len.into()))
                .sum::<u64>();
        let capacity = options.segment_bytes.max(checkpoint_end + size + LEAD);
        let segment = previous.segment + 1;
        self.tail = Tail {
            segment,
            offset: HEAD,
            capacity,
            sealed: false,
        };
        self.segments.insert(
            segment,
            Segment {
                end: HEAD,
                freeing: false,
            },
        );
        self.enqueue(Slot {
            at: Position { segment, offset: 0 },
            what: What::Head {
                checkpoint_end: checkpoint_end as u32,
                previous: previous.segment,
                previous_end: previous.offset as u32,
                capacity,
            },
        });
        for ready in repeated {
            self.push(ready, REPEATED);
        }
    }

    /// Places a record at the start of a batch of its own, which proves that all before it is synced: a `Seal`, or
    /// the `End` of the segment where there is no room for one. `false` if there is no need, or something waits.
    pub(super) fn seal(&mut self, options: &Options) -> bool {
        if self.tail.sealed || !self.slots.is_empty() {
            return false;
        }
        if self.tail.offset + 2 * LEAD > self.tail.capacity {
            self.roll(options, 0);
            return true;
        }
        let seal = Record {
            kind: Kind::Seal,
            group: 0,
            index: 0,
            term: 0,
            payload: Vec::new(),
        };
        self.push(Ready::new(seal), 0);
        self.tail.sealed = true;
        true
    }

    fn push(&mut self, ready: Ready, flags: u8) -> Placed {
        let Ready {
            record,
            payload_len,
            crc,
        } = ready;
        let at = Position {
            segment: self.tail.segment,
            offset: self.tail.offset,
        };
        let Record {
            kind,
            group,
            index,
            term,
            payload,
        } = record;
        self.standing.note(kind, group, index, term, || payload.clone());
        let lead = Lead {
            kind,
            flags,
            group,
            index,
            term,
            payload_len,
            payload_crc: crc,
            start: 0,
        };
        self.tail.offset += lead.size();
        self.tail.sealed = false;
        self.enqueue(Slot {
            at,
            what: What::Record { lead, payload },
        });
        Placed {
            position: Position {
                segment: at.segment,
                offset: at.offset + LEAD,
            },
            payload_len,
        }
    }

    fn enqueue(&mut self, slot: Slot) {
        self.queued_bytes += slot.size();
        self.slots.push_back(Arc::new(slot));
    }

    /// Calls `done` when everything placed so far is durable.
    pub(super) fn wait(&mut self, done: Done) {
        self.waiters
            .push_back((self.slots_gone + self.slots.len() as u64, done));
    }

    /// Whether a batch should be written now.
    pub(super) fn is_due(&self, options: &Options) -> bool {
        // What nobody waits for is written along with the rest; alone only when it becomes much, or when it begins a
        // segment: the last batch of the one before is not proven to be synced until there is something behind it.
        let begins = self
            .slots
            .front()
            .is_some_and(|slot| matches!(slot.what, What::Head { .. }));
        !self.waiters.is_empty() || begins || self.queued_bytes > options.queue_bytes / 2
    }

    /// The slots of the next batch: as many as wait, in one segment, of at most `batch_bytes`, at least one.
    pub(super) fn batch(&self, options: &Options) -> Vec<Arc<Slot>> {
        let Some(first) = self.slots.front() else {
            return Vec::new();
        };
        let mut bytes = 0;
        let fits = |slot: &&Arc<Slot>| {
            bytes += slot.size();
            slot.at.segment == first.at.segment && (bytes <= options.batch_bytes || slot.at == first.at)
        };
        self.slots.iter().take_while(fits).cloned().collect()
    }

    /// The first `count` slots are durable. Returns who waited for them.
    pub(super) fn settle(&mut self, count: usize) -> Vec<Done> {
        for slot in self.slots.drain(..count) {
            self.queued_bytes -= slot.size();
            self.totals.bytes += slot.size();
            self.durable = Position {
                segment: slot.at.segment,
                offset: slot.at.offset + slot.size(),
            };
        }
        self.slots_gone += count as u64;
        self.totals.records += count as u64;
        self.totals.syncs += u64::from(count > 0);
        let settled = self.waiters.partition_point(|(upto, _)| *upto <= self.slots_gone);
        self.waiters.drain(..settled).map(|(_, done)| done).collect()
    }

    /// Everybody who still waits, when nothing will be written any more.
    pub(super) fn give_up(&mut self) -> Vec<Done> {
        self.waiters.drain(..).map(|(_, done)| done).collect()
    }

    /// Why no record is taken any more.
    pub(super) fn refusal(&self) -> Option<JournalError> {
        match &self.fate {
            Fate::Open => None,
            Fate::Closing | Fate::Closed => Some(JournalError::Closed),
            Fate::Poisoned(reason) => Some(JournalError::Poisoned { reason: reason.clone() }),
        }
    }

    /// `len` bytes from `at` on, if they are payload that waits here.
    pub(super) fn waiting(&self, at: Position, len: u64) -> Option<Bytes> {
        let after = self.slots.partition_point(|slot| slot.at <= at);
        self.slots.get(after.checked_sub(1)?)?.payload_range(at.offset, len)
    }

    /// Where a segment ends that can be read.
    pub(super) fn end_of(&self, segment: u64) -> Option<u64> {
        if segment == self.tail.segment {
            return Some(self.tail.offset);
        }
        self.segments.get(&segment).map(|known| known.end)
    }

    /// The segments there are.
    pub(super) fn infos(&self) -> Vec<SegmentInfo> {
        let info = |(&id, segment): (&u64, &Segment)| SegmentInfo {
            id,
            bytes: if id == self.tail.segment {
                self.tail.offset
            } else {
                segment.end
            },
            sealed: id < self.durable.segment,
        };
        self.segments.iter().map(info).collect()
    }
}

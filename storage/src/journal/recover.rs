//! The start: which bytes are the journal, which were never acknowledged, which are damaged.
//!
//! # Unfinished tail or damage
//!
//! A batch is one write and one sync, and the next batch is written only after that sync. Every record names the place
//! where its batch began. So **a valid record whose batch began at `s` proves that every byte before `s`, and every
//! segment before, was synced once**. Let the hole be the first place of the last segment that holds no valid record:
//!
//! - Behind it lies a valid record of a batch that began after the hole: the hole was synced, it is **damage**.
//! - Behind it lie only zeros, rubbish, and records of batches that began at or before the hole: it is in the last
//!   batch written, whose writes may have reached the disk in any part. An **unfinished tail**: all from the hole on is
//!   overwritten with zeros.
//!
//! What this cannot tell apart is a bit that rots in the very last batch, after it was acknowledged, from a batch torn by
//! a crash. To keep that window small, the commit loop writes a `Seal` when it has nothing else to do, and a durable
//! one on closing and at each start: a record whose batch begins at itself, and so proves all before.
//!
//! A segment is begun only when the one before is synced to its end, and its first batch holds its head and all it
//! repeats of what went before. So a hole in any but the last segment is damage, and a last segment without its whole
//! first batch was never acknowledged and is thrown away, unless a later batch of it survives, or a later file. A missing
//! file is damage unless a durable note says that it was freed; a file that is there in spite of such a note is removed.
//!
//! # Recovery of a recovery
//!
//! Nothing is changed before all of it has been verified. Then the tail is zeroed, and **the last batch is written once
//! more** and synced: after a failed sync or a crash of the process, the page cache may show bytes that the disk does
//! not have, and will not write them by itself. All this repeats itself harmlessly if it is cut short.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Cut, Options,
    error::{JournalError, Told},
    format::{self, HEAD, Head, LEAD, REPEATED, VERSION},
    queue::{Segment, State, Tail},
    record::{Kind, Placed, Position, Recovered},
    scan::{Behind, Found, Step, Walk, look_behind, read_head},
    standing::Standing,
};
use crate::disk::{Disk, File};

const ZEROS: usize = 1 << 20;

/// A journal as it was found, mended.
pub(super) struct Recovery {
    pub(super) state: State,
    /// The chain of the last segment.
    pub(super) chain: u32,
    pub(super) fresh: bool,
    pub(super) cut: Option<Cut>,
}

/// The last segment that was begun.
struct Last {
    id: u64,
    file: Arc<dyn File>,
    /// Where the last batch begins, and where the records end.
    start: u64,
    end: u64,
    complete: bool,
    sealed: bool,
    chain: u32,
    standing: Standing,
    behind: Behind,
}

/// What the newest file is.
enum Newest {
    Last(Box<Last>),
    /// Not begun, or its first batch is torn. Where its last byte ends that is not zero.
    Unborn(Option<u64>),
}

struct Reader<'a> {
    disk: &'a Arc<dyn Disk>,
    folder: &'a str,
    options: &'a Options,
}

/// Reads, verifies, shows and mends the journal in a folder.
pub(super) async fn recover(
    disk: &Arc<dyn Disk>,
    folder: &str,
    options: &Options,
    visit: &mut (dyn FnMut(Recovered) + Send),
) -> Result<Recovery, JournalError> {
    let reader = Reader { disk, folder, options };
    let mut present = reader.present().await?;
    let mut remove = Vec::new();
    let mut cut = None;

    let mut last = None;
    if let Some(&newest) = present.last() {
        match reader.newest(newest).await? {
            Newest::Last(found) => last = Some(*found),
            Newest::Unborn(written) => {
                cut = written.map(|bytes| Cut {
                    from: Position {
                        segment: newest,
                        offset: 0,
                    },
                    bytes,
                });
                remove.push(newest);
                present.remove(&newest);
                last = reader.before(newest, written.is_some()).await?;
            }
        }
    }
    let Some(last) = last else {
        // No segment, or the first one ever and not begun.
        mend(&reader, None, &remove).await?;
        let tail = Tail {
            segment: 0,
            offset: 0,
            capacity: 0,
            sealed: true,
        };
        let mut state = State::new(tail, BTreeMap::new(), Standing::default());
        state.begin(options, 0);
        return Ok(Recovery {
            state,
            chain: 0,
            fresh: true,
            cut,
        });
    };

    let released = &last.standing.released;
    for id in 1..last.id {
        match (present.contains(&id), released.contains(id)) {
            (true, false) | (false, true) => {}
            (true, true) => {
                remove.push(id);
                present.remove(&id);
            }
            (false, false) => return Err(damaged(id, 0, "its file is missing, and was not freed")),
        }
    }

    let (standing, mut segments) = reader.replay(&present, &last, visit).await?;
    mend(&reader, Some(&last), &remove).await?;

    if let Some(end) = last.behind.end() {
        cut = Some(Cut {
            from: Position {
                segment: last.id,
                offset: last.end,
            },
            bytes: end - last.end,
        });
    }
    segments.insert(
        last.id,
        Segment {
            end: last.end,
            freeing: false,
        },
    );
    let len = last
        .file
        .len()
        .await
        .told("measure", &format::file_name(folder, last.id))?;
    let tail = Tail {
        segment: last.id,
        offset: last.end,
        capacity: len,
        sealed: last.sealed,
    };
    let mut state = State::new(tail, segments, standing);
    if last.complete {
        state.begin(options, 0);
    }
    Ok(Recovery {
        state,
        chain: last.chain,
        fresh: false,
        cut,
    })
}

impl Reader<'_> {
    fn name(&self, segment: u64) -> String {
        format::file_name(self.folder, segment)
    }

    async fn present(&self) -> Result<BTreeSet<u64>, JournalError> {
        let names = self.disk.list(self.folder).await.told("list", self.folder)?;
        Ok(names.iter().filter_map(|name| format::segment_of(name)).collect())
    }

    async fn open(&self, segment: u64) -> Result<Arc<dyn File>, JournalError> {
        let name = self.name(segment);
        self.disk.open(&name).await.told("open", &name)
    }

    /// The head of a segment, if it has a valid one; one that belongs elsewhere is an error.
    async fn head(&self, segment: u64, file: &dyn File) -> Result<Option<Head>, JournalError> {
        let Some(head) = read_head(file).await.told("read", &self.name(segment))? else {
            return Ok(None);
        };
        if head.version != VERSION {
            return Err(JournalError::Version {
                segment,
                found: head.version,
                known: VERSION,
            });
        }
        if head.identity != self.options.identity {
            return Err(JournalError::Foreign { segment });
        }
        if head.segment != segment {
            return Err(damaged(
                segment,
                0,
                &format!("its head is that of segment {}", head.segment),
            ));
        }
        Ok(Some(head))
    }

    /// Judges the file with the highest number.
    async fn newest(&self, id: u64) -> Result<Newest, JournalError> {
        let name = self.name(id);
        let file = self.open(id).await?;
        let seed = format::seed(&self.options.identity, id);
        let Some(head) = self.head(id, &*file).await? else {
            let behind = look_behind(&*file, seed, 0).await.told("read", &name)?;
            if let Some((offset, _)) = behind.proof {
                return Err(damaged(
                    id,
                    0,
                    &format!("its head is not valid, but it was synced: see byte {offset}"),
                ));
            }
            return Ok(Newest::Unborn(behind.end()));
        };
        let (last, hole) = self.walk(id, file).await?;
        if let (Some((offset, _)), Some(why)) = (last.behind.proof, hole) {
            return Err(damaged(
                id,
                last.end,
                &format!("{why}, but it was synced: see byte {offset}"),
            ));
        }
        if last.end < head.checkpoint_end.into() {
            return Ok(Newest::Unborn(Some(last.behind.end().unwrap_or(last.end))));
        }
        Ok(Newest::Last(Box::new(last)))
    }

    /// The last segment, when the file after it is not begun, or was `written` to but not acknowledged.
    async fn before(&self, newest: u64, written: bool) -> Result<Option<Last>, JournalError> {
        let id = newest - 1;
        if id == 0 {
            return Ok(None);
        }
        let file = match self.open(id).await {
            Err(JournalError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(id, 0, "its file is missing, and was not freed"));
            }
            other => other?,
        };
        let Some(head) = self.head(id, &*file).await? else {
            return Err(damaged(id, 0, "its head is not valid, and there is a later segment"));
        };
        let (last, hole) = self.walk(id, file).await?;
        // The next file is made when the first batch of this one is synced, and written to when all of it is.
        let why = match (hole, last.behind.proof) {
            (None, _) => return Ok(Some(last)),
            (Some(why), Some((offset, _))) => format!("{why}, but it was synced: see byte {offset}"),
            (Some(why), None) if written || last.end < head.checkpoint_end.into() => {
                format!("{why}, and there is a later segment")
            }
            (Some(_), None) => return Ok(Some(last)),
        };
        Err(damaged(id, last.end, &why))
    }

    /// Walks to the end of the records, and looks behind it.
    async fn walk(&self, id: u64, file: Arc<dyn File>) -> Result<(Last, Option<&'static str>), JournalError> {
        let name = self.name(id);
        let mut standing = Standing::default();
        let mut walk = Walk::new(&*file, &self.options.identity, id)
            .await
            .told("read", &name)?;
        let (mut sealed, mut hole) = (false, None);
        loop {
            match walk.next().await.told("read", &name)? {
                Step::Record(found) => {
                    sealed = found.lead.kind == Kind::Seal && u64::from(found.lead.start) == found.offset;
                    if found.lead.kind == Kind::Released {
                        note(&mut standing, &found);
                    }
                }
                Step::Complete => break,
                Step::Hole(why) => {
                    hole = Some(why);
                    break;
                }
            }
        }
        let (start, end, chain) = (walk.start, walk.offset, walk.chain);
        let behind = if hole.is_some() {
            let seed = format::seed(&self.options.identity, id);
            look_behind(&*file, seed, end).await.told("read", &name)?
        } else {
            Behind::default()
        };
        Ok((
            Last {
                id,
                file,
                start,
                end,
                complete: hole.is_none(),
                sealed,
                chain,
                standing,
                behind,
            },
            hole,
        ))
    }

    /// Shows every record up to the end of the last segment, and verifies everything before that segment.
    async fn replay(
        &self,
        present: &BTreeSet<u64>,
        last: &Last,
        visit: &mut (dyn FnMut(Recovered) + Send),
    ) -> Result<(Standing, BTreeMap<u64, Segment>), JournalError> {
        let mut standing = Standing::default();
        let mut segments = BTreeMap::new();
        // Number, end and chain of the segment before.
        let mut before: Option<(u64, u64, u32)> = None;
        for &id in present {
            let name = self.name(id);
            let file = self.open(id).await?;
            let Some(head) = self.head(id, &*file).await? else {
                return Err(damaged(id, 0, "its head is not valid, and there is a later segment"));
            };
            if let Some((segment, end, chain)) = before
                && segment + 1 == id
                && (head.previous, u64::from(head.previous_end), head.previous_chain) != (segment, end, chain)
            {
                return Err(damaged(segment, end, "it does not end as the next segment says"));
            }
            let mut walk = Walk::new(&*file, &self.options.identity, id)
                .await
                .told("read", &name)?;
            while id != last.id || walk.offset < last.end {
                match walk.next().await.told("read", &name)? {
                    Step::Record(found) => {
                        note(&mut standing, &found);
                        if found.lead.kind.is_callers() {
                            visit(recovered(id, found));
                        }
                    }
                    Step::Complete => break,
                    Step::Hole(why) => {
                        return Err(damaged(
                            id,
                            walk.offset,
                            &format!("{why}, and there is a later segment"),
                        ));
                    }
                }
            }
            before = Some((id, walk.offset, walk.chain));
            segments.insert(
                id,
                Segment {
                    end: walk.offset,
                    freeing: false,
                },
            );
        }
        Ok((standing, segments))
    }
}

/// Zeroes what is behind the end, writes the last batch once more, and removes files that are not segments any more.
async fn mend(reader: &Reader<'_>, last: Option<&Last>, remove: &[u64]) -> Result<(), JournalError> {
    if let Some(last) = last {
        let (file, name) = (&last.file, reader.name(last.id));
        let zeros = Bytes::from(vec![0; if last.behind.blocks.is_empty() { 0 } else { ZEROS }]);
        for &(from, to) in &last.behind.blocks {
            for at in (from..to).step_by(ZEROS) {
                let piece = zeros.slice(..ZEROS.min((to - at) as usize));
                file.write_at(at, vec![piece]).await.told("write to", &name)?;
            }
        }
        for at in (last.start..last.end).step_by(ZEROS) {
            let len = ZEROS.min((last.end - at) as usize);
            let bytes = file.read_at(at, len).await.told("read", &name)?;
            file.write_at(at, vec![bytes]).await.told("write to", &name)?;
        }
        let len = file.len().await.told("measure", &name)?;
        let wanted = reader.options.segment_bytes.max(last.end + LEAD);
        if len < wanted && !last.complete {
            file.set_len(wanted).await.told("preallocate", &name)?;
        }
        file.sync().await.told("sync", &name)?;
    }
    for &id in remove {
        let name = reader.name(id);
        reader.disk.remove(&name).await.told("remove", &name)?;
    }
    if last.is_some() || !remove.is_empty() {
        // The names, too, may be known to the page cache alone.
        reader
            .disk
            .sync_dir(reader.folder)
            .await
            .told("sync the folder of", &reader.name(1))?;
    }
    Ok(())
}

fn note(standing: &mut Standing, found: &Found) {
    let lead = &found.lead;
    standing.note(lead.kind, lead.group, lead.index, lead.term, || {
        vec![Bytes::copy_from_slice(&found.payload)]
    });
}

fn recovered(segment: u64, found: Found) -> Recovered {
    let Found { offset, lead, payload } = found;
    Recovered {
        kind: lead.kind,
        group: lead.group,
        index: lead.index,
        term: lead.term,
        placed: Placed {
            position: Position {
                segment,
                offset: offset + LEAD,
            },
            payload_len: lead.payload_len,
        },
        payload,
        repeated: lead.flags & REPEATED != 0,
    }
}

fn damaged(segment: u64, offset: u64, what: &str) -> JournalError {
    JournalError::Damaged {
        segment,
        offset,
        what: what.into(),
    }
}

const _: () = assert!(HEAD % 8 == 0 && LEAD % 8 == 0, "records lie at multiples of 8");

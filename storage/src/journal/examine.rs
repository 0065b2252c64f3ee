//! Which bytes of a folder are the journal. The rules are told in [`super::recover`]; here they are applied, and nothing
//! is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Cut, Options,
    error::{JournalError, Told},
    format::{self, Head, LEAD, REPEATED, VERSION},
    queue::Segment,
    record::{Kind, Placed, Position, Recovered},
    scan::{Behind, Found, Step, Walk, look_behind, read_head},
    standing::Standing,
};
use crate::disk::{Disk, File};

/// The last segment that was begun.
pub(super) struct Last {
    pub(super) id: u64,
    pub(super) file: Arc<dyn File>,
    /// Where the last batch begins, and where the records end.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) complete: bool,
    pub(super) sealed: bool,
    pub(super) chain: u32,
    pub(super) standing: Standing,
    pub(super) behind: Behind,
}

/// What the newest file is.
enum Newest {
    Last(Box<Last>),
    /// Not begun, or its first batch is torn. Where its last byte ends that is not zero.
    Unborn(Option<u64>),
}

/// A journal as it was found.
pub(super) struct Examined {
    pub(super) last: Option<Last>,
    pub(super) standing: Standing,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// Files that are not segments, or not any more.
    pub(super) remove: Vec<u64>,
    pub(super) cut: Option<Cut>,
}

pub(super) struct Reader<'a> {
    pub(super) disk: &'a Arc<dyn Disk>,
    pub(super) folder: &'a str,
    pub(super) options: &'a Options,
}

impl Reader<'_> {
    /// Judges everything, and changes nothing.
    pub(super) async fn examine(&self, visit: &mut (dyn FnMut(Recovered) + Send)) -> Result<Examined, JournalError> {
        let mut present = self.present().await?;
        let (mut last, mut remove, mut cut) = (None, Vec::new(), None);
        if let Some(&newest) = present.last() {
            match self.newest(newest).await? {
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
                    last = self.before(newest, written.is_some()).await?;
                }
            }
        }
        let Some(last) = last else {
            // No segment, or the first one ever and not begun.
            let (standing, segments) = (Standing::default(), BTreeMap::new());
            return Ok(Examined {
                last: None,
                standing,
                segments,
                remove,
                cut,
            });
        };
        if let Some(end) = last.behind.end() {
            cut = Some(Cut {
                from: Position {
                    segment: last.id,
                    offset: last.end,
                },
                bytes: end - last.end,
            });
        }
        for id in 1..last.id {
            match (present.contains(&id), last.standing.released.contains(id)) {
                (true, false) | (false, true) => {}
                (true, true) => {
                    remove.push(id);
                    present.remove(&id);
                }
                (false, false) => return Err(damaged(id, 0, "its file is missing, and was not freed")),
            }
        }
        let (standing, segments) = self.replay(&present, &last, visit).await?;
        Ok(Examined {
            last: Some(last),
            standing,
            segments,
            remove,
            cut,
        })
    }

    pub(super) fn name(&self, segment: u64) -> String {
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
            Err(JournalError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
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

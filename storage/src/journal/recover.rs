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

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Cut, Options,
    error::{JournalError, Told},
    examine::{Examined, Last, Reader},
    format::LEAD,
    queue::{Segment, State, Tail},
    record::Recovered,
    standing::Spans,
};
use crate::disk::Disk;

/// How much is zeroed or written again at once.
const ZEROS: usize = 1 << 20;

/// A journal as it was found, mended.
pub(super) struct Recovery {
    pub(super) state: State,
    /// The chain of the last segment.
    pub(super) chain: u32,
    pub(super) fresh: bool,
    pub(super) cut: Option<Cut>,
}

/// Reads, verifies, shows and mends the journal in a folder.
pub(super) async fn recover(
    disk: &Arc<dyn Disk>,
    folder: &str,
    options: &Options,
    visit: &mut (dyn FnMut(Recovered) + Send),
) -> Result<Recovery, JournalError> {
    let reader = Reader { disk, folder, options };
    let Examined {
        last,
        standing,
        mut segments,
        remove,
        cut,
    } = reader.examine(visit).await?;
    mend(&reader, last.as_ref(), &remove).await?;
    let Some(last) = last else {
        let tail = Tail {
            segment: 0,
            offset: 0,
            capacity: 0,
            sealed: true,
        };
        let mut state = State::new(tail, segments, standing);
        state.begin(options, 0);
        return Ok(Recovery {
            state,
            chain: 0,
            fresh: true,
            cut,
        });
    };
    segments.insert(
        last.id,
        Segment {
            end: last.end,
            freeing: false,
        },
    );
    let capacity = last.file.len().await.told("measure", &reader.name(last.id))?;
    let tail = Tail {
        segment: last.id,
        offset: last.end,
        capacity,
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

/// Reads and verifies the journal in a folder and changes nothing. The unfinished tail, if it has one.
pub(super) async fn verify(
    disk: &Arc<dyn Disk>,
    folder: &str,
    options: &Options,
) -> Result<(Option<Cut>, Spans), JournalError> {
    let examined = Reader { disk, folder, options }.examine(&mut |_| ()).await?;
    Ok((examined.cut, examined.standing.released))
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

//! A journal, for a person: what lies in which segment, and the first thing that is wrong. Changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::Serialize;

use super::{
    Cut, Kind, Options,
    error::{JournalError, Told},
    format::{self, REPEATED},
    recover,
    scan::{Step, Walk, look_behind, read_head},
};
use crate::disk::Disk;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// A few lines a segment.
    Segments,
    /// And every record of one segment.
    Records {
        /// Which.
        segment: u64,
    },
}

/// A journal, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The folder.
    pub folder: String,
    /// Whose journal it is, in hexadecimal; `None` if no segment says so.
    pub identity: Option<String>,
    /// The segments whose files are there, oldest first.
    pub segments: Vec<Segment>,
    /// The segments that were freed, as spans from the first to the last of each.
    pub freed: Vec<(u64, u64)>,
    /// What a start would cut off: written, never acknowledged.
    pub unfinished: Option<Cut>,
    /// Why a node would not start on it, in words.
    pub damage: Option<String>,
}

/// A segment, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Its number.
    pub id: u64,
    /// The length of its file.
    pub file_bytes: u64,
    /// Where its records end: for a reader, the first byte that is none.
    pub end: u64,
    /// How it ends.
    pub ends: Ends,
    /// How often something was synced to it.
    pub batches: u64,
    /// How many records of each kind, repeated ones not counted.
    pub kinds: BTreeMap<Kind, u64>,
    /// How many records at its head repeat what held before.
    pub repeated: u64,
    /// What belongs to each group.
    pub groups: BTreeMap<u32, Group>,
    /// Every record, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<Line>>,
}

/// How a segment ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// With the record that ends a segment.
    Sealed,
    /// With zeros: more may be written.
    Open,
    /// It has no valid head. If it is the newest, it was made ahead of need, or never acknowledged.
    NotBegun,
    /// With bytes that are no record; why, in words.
    Torn {
        /// What was found there.
        what: String,
        /// A record behind it that proves that it was synced once: then this is damage.
        proof: Option<u64>,
    },
}

/// What a segment holds of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// How many records, repeated ones not counted.
    pub records: u64,
    /// The bytes of their payloads.
    pub payload_bytes: u64,
    /// The least and the greatest index of its entries.
    pub entries: Option<(u64, u64)>,
    /// The least and the greatest term of its entries.
    pub terms: Option<(u64, u64)>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Where its lead begins; the payload is 40 bytes on.
    pub offset: u64,
    /// What it says.
    pub kind: Kind,
    /// Its group.
    pub group: u32,
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The length of its payload.
    pub payload_bytes: u32,
    /// Where its batch begins.
    pub batch: u32,
    /// Whether it repeats what held before.
    pub repeated: bool,
}

/// Looks at the journal in a folder. Calls the disk: not for the thread of a runtime.
///
/// # Errors
/// What the disk says. Damage is no error here, but part of the report.
pub async fn inspect(disk: Arc<dyn Disk>, folder: &str, detail: Detail) -> Result<Report, JournalError> {
    let names = disk.list(folder).await.told("list", folder)?;
    let ids: BTreeSet<u64> = names.iter().filter_map(|name| format::segment_of(name)).collect();
    let mut identity = None;
    for &id in &ids {
        let name = format::file_name(folder, id);
        let file = disk.open(&name).await.told("open", &name)?;
        if let Some(head) = read_head(&*file).await.told("read", &name)? {
            identity = Some(head.identity);
            break;
        }
    }
    let options = Options {
        identity: identity.unwrap_or_default(),
        ..Options::default()
    };
    let mut segments = Vec::new();
    for &id in &ids {
        segments.push(segment(&*disk, folder, id, &options, detail).await?);
    }
    let (unfinished, freed, damage) = match recover::verify(&disk, folder, &options).await {
        Ok((cut, released)) => (cut, released.spans().map(|(from, to)| (from, to - 1)).collect(), None),
        Err(error @ JournalError::Io { .. }) => return Err(error),
        Err(error) => (None, Vec::new(), Some(error.to_string())),
    };
    let identity = identity.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect());
    Ok(Report {
        folder: folder.into(),
        identity,
        segments,
        freed,
        unfinished,
        damage,
    })
}

async fn segment(
    disk: &dyn Disk,
    folder: &str,
    id: u64,
    options: &Options,
    detail: Detail,
) -> Result<Segment, JournalError> {
    let name = format::file_name(folder, id);
    let file = disk.open(&name).await.told("open", &name)?;
    let mut found = Segment {
        id,
        file_bytes: file.len().await.told("measure", &name)?,
        end: 0,
        ends: Ends::NotBegun,
        batches: 0,
        kinds: BTreeMap::new(),
        repeated: 0,
        groups: BTreeMap::new(),
        records: (detail == Detail::Records { segment: id }).then(Vec::new),
    };
    if read_head(&*file).await.told("read", &name)?.is_none() {
        return Ok(found);
    }
    let mut walk = Walk::new(&*file, &options.identity, id).await.told("read", &name)?;
    found.ends = loop {
        match walk.next().await.told("read", &name)? {
            Step::Record(record) => found.count(record.offset, &record.lead),
            Step::Complete => break Ends::Sealed,
            Step::Hole(what) => {
                let seed = format::seed(&options.identity, id);
                let behind = look_behind(&*file, seed, walk.offset).await.told("read", &name)?;
                let proof = behind.proof.map(|proof| proof.0);
                break if behind.end().is_none() {
                    Ends::Open
                } else {
                    Ends::Torn {
                        what: what.into(),
                        proof,
                    }
                };
            }
        }
    };
    found.end = walk.offset;
    Ok(found)
}

impl Segment {
    fn count(&mut self, offset: u64, lead: &format::Lead) {
        let repeated = lead.flags & REPEATED != 0;
        if u64::from(lead.start) == offset || self.batches == 0 {
            self.batches += 1;
        }
        if let Some(records) = &mut self.records {
            records.push(Line {
                offset,
                kind: lead.kind,
                group: lead.group,
                index: lead.index,
                term: lead.term,
                payload_bytes: lead.payload_len,
                batch: lead.start,
                repeated,
            });
        }
        if repeated {
            self.repeated += 1;
            return;
        }
        *self.kinds.entry(lead.kind).or_default() += 1;
        if !lead.kind.is_callers() {
            return;
        }
        let group = self.groups.entry(lead.group).or_default();
        group.records += 1;
        group.payload_bytes += u64::from(lead.payload_len);
        if lead.kind == Kind::Entry {
            let wider = |span: Option<(u64, u64)>, n: u64| span.map_or((n, n), |(a, b)| (a.min(n), b.max(n)));
            group.entries = Some(wider(group.entries, lead.index));
            group.terms = Some(wider(group.terms, lead.term));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.segments.iter().map(|segment| segment.end).sum();
        let identity = self.identity.as_deref().unwrap_or("nobody's");
        let name = if self.folder.is_empty() { "." } else { &self.folder };
        writeln!(
            f,
            "{name}: journal of {identity}, {} segments, {bytes} bytes written",
            self.segments.len()
        )?;
        for (first, last) in &self.freed {
            writeln!(f, "freed   {first:016x} to {last:016x}")?;
        }
        for segment in &self.segments {
            write!(f, "{segment}")?;
        }
        if let Some(cut) = &self.unfinished {
            let (segment, offset) = (cut.from.segment, cut.from.offset);
            writeln!(
                f,
                "unfinished: {} bytes from byte {offset} of {segment:016x} on, never acknowledged",
                cut.bytes
            )?;
        }
        match &self.damage {
            Some(damage) => writeln!(f, "DAMAGED: {damage}"),
            None => writeln!(f, "whole"),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Segment {
            id,
            file_bytes,
            end,
            batches,
            repeated,
            ..
        } = self;
        let ends = match &self.ends {
            Ends::Sealed => "sealed".to_string(),
            Ends::Open => "open".to_string(),
            Ends::NotBegun => "not begun".to_string(),
            Ends::Torn { what, proof: None } => format!("torn: {what}"),
            Ends::Torn {
                what,
                proof: Some(proof),
            } => format!("damaged: {what}; byte {proof} proves it was synced"),
        };
        writeln!(
            f,
            "segment {id:016x}  {end} of {file_bytes} bytes, {batches} batches, {repeated} repeated, {ends}"
        )?;
        if !self.kinds.is_empty() {
            let kinds: Vec<String> = self
                .kinds
                .iter()
                .map(|(kind, count)| format!("{count} {kind:?}"))
                .collect();
            writeln!(f, "  {}", kinds.join(", "))?;
        }
        for (id, group) in &self.groups {
            write!(
                f,
                "  group {id}: {} records, {} bytes",
                group.records, group.payload_bytes
            )?;
            if let (Some((first, last)), Some((low, high))) = (group.entries, group.terms) {
                write!(f, ", entries {first} to {last} of terms {low} to {high}")?;
            }
            writeln!(f)?;
        }
        for line in self.records.iter().flatten() {
            let Line {
                offset,
                kind,
                group,
                index,
                term,
                payload_bytes,
                batch,
                repeated,
            } = line;
            let repeated = if *repeated { ", repeated" } else { "" };
            writeln!(
                f,
                "  {offset:>10}  {kind:?} of group {group}, index {index}, term {term}, {payload_bytes} bytes, batch {batch}{repeated}"
            )?;
        }
        Ok(())
    }
}

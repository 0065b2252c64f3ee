//! What each reader saw, its GETs put together again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::history::{Event, History};
use crate::record::{Content, Tag};

/// The GETs of one reader that continue one another, from the beginning of the stream.
#[derive(Clone, Debug)]
pub struct Session<'a> {
    /// Which stream.
    pub stream: &'a Arc<str>,
    /// With `consistency=local`.
    pub local: bool,
    /// Its answered GETs.
    pub events: Vec<&'a Event>,
    /// Every record in order, with the event that returned it.
    pub tags: Vec<(Tag, &'a Event)>,
    /// The last GET that reached the tail, and how many records the session had then.
    pub reached_tail: Option<(&'a Event, usize)>,
}

/// All sessions that began at the beginning, in the order of their first answers. Of a stream that may have been deleted
/// only the first answer counts: later ones may continue another life.
#[must_use]
pub fn sessions(history: &History) -> Vec<Session<'_>> {
    let streams = history.streams();
    let deleted: BTreeSet<&Arc<str>> = streams
        .iter()
        .filter(|name| history.may_have_been_deleted(name))
        .collect();
    let mut places: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let mut sessions: Vec<Session<'_>> = Vec::new();
    for event in &history.events {
        let Some((read, seen)) = event.seen() else { continue };
        let Some(before) = read.before else { continue };
        let place = *places.entry((event.client, read.session)).or_insert_with(|| {
            let (stream, local) = (&event.stream, read.local);
            sessions.push(Session {
                stream,
                local,
                events: Vec::new(),
                tags: Vec::new(),
                reached_tail: None,
            });
            sessions.len() - 1
        });
        let session = &mut sessions[place];
        if deleted.contains(&event.stream) && !session.events.is_empty() {
            continue;
        }
        debug_assert_eq!(
            before.count as usize,
            session.tags.len(),
            "a session's GETs follow one another"
        );
        session.events.push(event);
        session.tags.extend(seen.tags.iter().map(|tag| (*tag, event)));
        if seen.up_to_date {
            session.reached_tail = Some((event, session.tags.len()));
        }
    }
    sessions
}

impl Session<'_> {
    /// The content of its first `count` records.
    #[must_use]
    pub fn content(&self, count: usize) -> Content {
        self.tags[..count]
            .iter()
            .fold(Content::default(), |content, (tag, _)| content.then(*tag))
    }

    /// The ids of its events.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.events.iter().map(|event| event.id).collect()
    }
}

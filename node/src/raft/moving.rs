//! Which bytes are still in the journal, and what a [`Moved`] does to the rows that find them.
//!
//! A leader decides by these books what is old; every replica keeps them, for any may lead. A committed [`Moved`] puts one
//! row for a run in an object in the place of the rows for the chunks that it is made of. Chunks are the same on all
//! replicas, save for those that were forgotten and are swept on one and not yet on another: what is no longer there is
//! simply not replaced. A segment of the journal is free when no row refers to it, and not before the batch that replaced
//! the last one is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use storage::index::{Batch, Index};

use super::GroupView;
use super::machine::{Machine, PAGE, State, damaged, each_row};
use crate::keys::{Chunk, ColdPlace, HotRow, Key, KeyRange, ObjectId, ObjectRow, Place};
use crate::stream::{Moved, MovedRun, Offset};

/// What a group has in the journal, and what in the cold store. The rows of both are in the index, too.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Whether bytes leave the journal here: if not, nobody has to know which are old.
    keeps: bool,
    streams: BTreeMap<u64, Hot>,
    /// The same, by the time of the first byte.
    by_age: BTreeSet<(u64, u64)>,
    /// Objects that chunks refer to.
    objects: BTreeMap<ObjectId, ObjectRow>,
}

/// The life that no stream has: its row says that those of all others are kept.
const NOTED: u64 = u64::MAX;

/// Its row; nobody asks what is in it.
const NOTE: HotRow = HotRow {
    from: Offset(0),
    since_ms: 0,
};

/// Bytes of one stream in the journal.
#[derive(Debug, Clone, Copy)]
struct Hot {
    row: HotRow,
    /// One past the last. After a restart only as far as somebody has looked.
    end: Offset,
}

/// Whose rows.
#[derive(Clone, Copy)]
pub(super) struct Of {
    pub(super) group: u32,
    pub(super) generation: u64,
}

impl Books {
    /// Reads them from the index.
    ///
    /// # Errors
    /// If the index fails or makes no sense.
    pub(super) fn load(index: &dyn Index, of: Of, keeps: bool) -> io::Result<Self> {
        let Of { group, generation } = of;
        let mut books = Self {
            keeps,
            ..Self::default()
        };
        each_row(index, &KeyRange::objects(group, generation), |key, value| {
            if let Key::Object { object, .. } = Key::decode(key).map_err(damaged)? {
                books.objects.insert(object, ObjectRow::decode(value).map_err(damaged)?);
            }
            Ok(())
        })?;
        let hot = KeyRange::hot(group, generation);
        if !keeps {
            // Bytes come meanwhile that nobody notes: should they ever move, all are looked at anew.
            if !index.scan(&hot.from, &hot.to, 1)?.is_empty() {
                let mut batch = Batch::default();
                batch.delete_range(hot.from, hot.to);
                index.write(batch)?;
            }
            return Ok(books);
        }
        let mut noted = false;
        each_row(index, &hot, |key, value| {
            match Key::decode(key).map_err(damaged)? {
                Key::Hot { incarnation: NOTED, .. } => noted = true,
                Key::Hot { incarnation, .. } => books.put(incarnation, HotRow::decode(value).map_err(damaged)?),
                _ => {}
            }
            Ok(())
        })?;
        if !noted {
            books.find_all(index, of)?;
        }
        Ok(books)
    }

    /// Looks for bytes in the journal that came while nobody noted them.
    fn find_all(&mut self, index: &dyn Index, of: Of) -> io::Result<()> {
        let mut found = BTreeMap::new();
        each_row(index, &KeyRange::all_chunks(of.group, of.generation), |key, value| {
            if let Key::Chunk { incarnation, end, .. } = Key::decode(key).map_err(damaged)? {
                let chunk = Chunk::decode(value).map_err(damaged)?;
                if matches!(chunk.place, Place::Journal(_)) {
                    let from = Offset(end.0.saturating_sub(chunk.len.into()));
                    found.entry(incarnation).or_insert(HotRow { from, since_ms: 0 });
                }
            }
            Ok(())
        })?;
        let mut batch = Batch::default();
        for (incarnation, row) in found {
            self.note(&mut batch, of, incarnation, row);
        }
        batch.put(key(of, NOTED), NOTE.encode());
        index.write(batch)
    }

    fn put(&mut self, incarnation: u64, row: HotRow) {
        self.by_age.insert((row.since_ms, incarnation));
        self.streams.insert(incarnation, Hot { row, end: row.from });
    }

    /// The first byte of a stream in the journal is another.
    pub(super) fn note(&mut self, batch: &mut Batch, of: Of, incarnation: u64, row: HotRow) {
        let known = self.streams.remove(&incarnation);
        if let Some(known) = known {
            self.by_age.remove(&(known.row.since_ms, incarnation));
        }
        self.put(incarnation, row);
        if let (Some(hot), Some(known)) = (self.streams.get_mut(&incarnation), known) {
            hot.end = hot.end.max(known.end);
        }
        batch.put(key(of, incarnation), row.encode());
    }

    /// Bytes of a stream have come into the journal.
    pub(super) fn came(&mut self, batch: &mut Batch, of: Of, incarnation: u64, from: Offset, end: Offset, now_ms: u64) {
        if !self.keeps {
            return;
        }
        if !self.streams.contains_key(&incarnation) {
            let since_ms = now_ms;
            self.note(batch, of, incarnation, HotRow { from, since_ms });
        }
        if let Some(hot) = self.streams.get_mut(&incarnation) {
            hot.end = end;
        }
    }

    /// A stream has no bytes in the journal any more.
    pub(super) fn left(&mut self, batch: &mut Batch, of: Of, incarnation: u64) {
        if let Some(hot) = self.streams.remove(&incarnation) {
            self.by_age.remove(&(hot.row.since_ms, incarnation));
            batch.delete(key(of, incarnation));
        }
    }

    /// Chunks refer to so many bytes more of an object, which was written with so many.
    pub(super) fn refer(&mut self, object: ObjectId, live: u64, len: u64) {
        let row = self.objects.entry(object).or_default();
        row.live += live;
        row.len = row.len.max(len).max(row.live);
    }

    /// Chunks refer to so many bytes of an object no more.
    pub(super) fn release(&mut self, object: ObjectId, bytes: u64) {
        if let Some(row) = self.objects.get_mut(&object) {
            row.live = row.live.saturating_sub(bytes);
        }
    }

    /// Puts the rows of these objects, as they are now.
    pub(super) fn put_objects(&mut self, batch: &mut Batch, of: Of, objects: impl IntoIterator<Item = ObjectId>) {
        let Of { group, generation } = of;
        for object in objects {
            let key = Key::Object {
                group,
                generation,
                object,
            };
            match self.objects.get(&object).filter(|row| row.live > 0) {
                Some(row) => batch.put(key.encode(), row.encode()),
                None => {
                    self.objects.remove(&object);
                    batch.delete(key.encode());
                }
            }
        }
    }

    /// Another state is in force, with these objects, and these streams in the journal since that time.
    pub(super) fn replace(
        &mut self,
        batch: &mut Batch,
        of: Of,
        objects: &BTreeMap<ObjectId, ObjectRow>,
        hot: &BTreeMap<u64, Offset>,
        since_ms: u64,
    ) {
        *self = Self {
            keeps: self.keeps,
            ..Self::default()
        };
        for (object, row) in objects {
            self.refer(*object, row.live, row.len);
        }
        self.put_objects(batch, of, objects.keys().copied());
        if self.keeps {
            batch.put(key(of, NOTED), NOTE.encode());
            for (incarnation, from) in hot {
                let row = HotRow { from: *from, since_ms };
                self.note(batch, of, *incarnation, row);
            }
        }
    }

    /// Objects that chunks refer to.
    pub(super) fn objects(&self) -> &BTreeMap<ObjectId, ObjectRow> {
        &self.objects
    }

    /// The streams that have bytes in the journal since `before_ms` or earlier, the oldest first, at most so many.
    fn older(&self, before_ms: u64, most: usize) -> Vec<u64> {
        let range = ..=(before_ms, u64::MAX);
        self.by_age
            .range(range)
            .take(most)
            .map(|(_, incarnation)| *incarnation)
            .collect()
    }

    /// The streams that have more than so many bytes in the journal, as far as is known.
    fn larger(&self, bytes: u64, most: usize) -> Vec<u64> {
        let larger = |(_, hot): &(&u64, &Hot)| hot.end.0 - hot.row.from.0.min(hot.end.0) > bytes;
        let found = self.streams.iter().filter(larger).take(most);
        found.map(|(incarnation, _)| *incarnation).collect()
    }
}

fn key(of: Of, incarnation: u64) -> bytes::Bytes {
    let Of { group, generation } = of;
    Key::Hot {
        group,
        generation,
        incarnation,
    }
    .encode()
}

/// What is too much to stay in the journal.
#[derive(Debug, Clone, Copy)]
pub struct MoveBounds {
    /// Streams whose first byte there is older than that, in milliseconds.
    pub age_ms: u64,
    /// Streams with more bytes there than that.
    pub stream_bytes: u64,
    /// A group with more bytes there than that.
    pub group_bytes: u64,
}

/// How much is where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct HotAndCold {
    /// Bytes of streams in the journal.
    pub hot_bytes: u64,
    /// Streams, and blobs, that have bytes in the journal.
    pub hot_streams: u64,
    /// Bytes of streams in the cold store.
    pub cold_bytes: u64,
    /// Objects there that hold them.
    pub objects: u64,
    /// Bytes in these objects that nothing refers to any more.
    pub dead_bytes: u64,
}

impl GroupView {
    /// The streams that are past a bound when it is `now_ms`, at most so many; first the old ones.
    #[must_use]
    pub fn due_to_move(&self, now_ms: u64, bounds: MoveBounds, most: usize) -> Vec<u64> {
        self.machine.due_to_move(now_ms, bounds, most)
    }

    /// The chunks of a stream that are in the journal, in their order, at most about so many bytes; with their ends.
    ///
    /// # Errors
    /// If the index fails or makes no sense.
    pub fn hot_chunks(&self, incarnation: u64, bytes: u64) -> io::Result<Vec<(Offset, Chunk)>> {
        self.machine.hot_chunks(incarnation, bytes)
    }

    /// The chunks of a life of a stream, or of a blob, that lie in this object, within these offsets; with their ends.
    ///
    /// # Errors
    /// If the index fails or makes no sense.
    pub fn chunks_in(
        &self,
        object: ObjectId,
        incarnation: u64,
        from: u64,
        to: u64,
    ) -> io::Result<Vec<(Offset, Chunk)>> {
        let generation = self.machine.state().generation;
        let range = KeyRange::chunks_from(self.machine.group, generation, incarnation, Offset(from));
        let (mut found, mut at) = (Vec::new(), range.from);
        loop {
            let page = self.machine.index.scan(&at, &range.to, PAGE)?;
            for (key, value) in &page {
                let Key::Chunk { end, .. } = Key::decode(key).map_err(damaged)? else {
                    return Ok(found);
                };
                let chunk = Chunk::decode(value).map_err(damaged)?;
                if end.0 - u64::from(chunk.len) >= to {
                    return Ok(found);
                }
                if matches!(chunk.place, Place::Cold(place) if place.object == object) {
                    found.push((end, chunk));
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => at = [&last[..], &[0]].concat().into(),
                _ => return Ok(found),
            }
        }
    }

    /// One past the last byte of a stream in the journal, as far as is known; none if it has none there.
    #[must_use]
    pub fn hot_end(&self, incarnation: u64) -> Option<Offset> {
        let state = self.machine.state();
        state.books.streams.get(&incarnation).map(|hot| hot.end)
    }

    /// A stream that was thought to have bytes in the journal has none.
    ///
    /// # Errors
    /// If the index fails.
    pub fn nothing_hot(&self, incarnation: u64) -> io::Result<()> {
        self.machine.nothing_hot(incarnation)
    }

    /// Objects of the cold store that chunks of the group refer to, as of the last entry applied here.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<ObjectId, ObjectRow> {
        self.machine.objects()
    }

    /// How much is where.
    #[must_use]
    pub fn hot_and_cold(&self) -> HotAndCold {
        self.machine.hot_and_cold()
    }
}

impl GroupView {
    /// What the books say of the journal and the cold store and the chunks do not, in words; nothing if they are right.
    /// Scans all chunks under the group's lock: for those who judge.
    ///
    /// # Errors
    /// If the index fails or makes no sense.
    pub fn wrong_books(&self) -> io::Result<Option<String>> {
        let machine = &self.machine;
        let state = machine.state();
        let of = machine.of(&state);
        let (mut live, mut objects) = (BTreeMap::<u64, u64>::new(), BTreeMap::<ObjectId, u64>::new());
        let mut hot = BTreeSet::new();
        each_row(
            &*machine.index,
            &KeyRange::all_chunks(of.group, of.generation),
            |key, value| {
                if let Key::Chunk { incarnation, .. } = Key::decode(key).map_err(damaged)? {
                    let chunk = Chunk::decode(value).map_err(damaged)?;
                    match chunk.place {
                        Place::Journal(position) => {
                            *live.entry(position.segment).or_default() += u64::from(chunk.len);
                            hot.insert(incarnation);
                        }
                        Place::Cold(place) => *objects.entry(place.object).or_default() += u64::from(chunk.len),
                    }
                }
                Ok(())
            },
        )?;
        let said: BTreeMap<_, _> = state
            .books
            .objects
            .iter()
            .map(|(object, row)| (*object, row.live))
            .collect();
        if said != objects {
            return Ok(Some(format!("objects hold {objects:?}, and the books say {said:?}")));
        }
        let said: BTreeMap<_, _> = state
            .live
            .iter()
            .filter(|(_, bytes)| **bytes > 0)
            .map(|(s, b)| (*s, *b))
            .collect();
        if said != live {
            return Ok(Some(format!("segments hold {live:?}, and the books say {said:?}")));
        }
        let unnoted = hot
            .iter()
            .find(|incarnation| !state.books.streams.contains_key(incarnation));
        Ok(unnoted
            .filter(|_| state.books.keeps)
            // What is dropped waits to be swept, and need not move.
            .filter(|_| !state.trash)
            .map(|incarnation| format!("{incarnation} has bytes in the journal, and the books do not say so")))
    }
}

impl Machine {
    /// The streams that are past a bound when it is `now_ms`, at most so many; first the old ones.
    pub(super) fn due_to_move(&self, now_ms: u64, bounds: MoveBounds, most: usize) -> Vec<u64> {
        let state = self.state();
        let before_ms = if state.hot_bytes() > bounds.group_bytes {
            u64::MAX
        } else {
            now_ms.saturating_sub(bounds.age_ms)
        };
        let mut due = state.books.older(before_ms, most);
        if due.is_empty() {
            due = state.books.larger(bounds.stream_bytes, most);
        }
        due
    }

    /// The chunks of a stream that are in the journal, in their order, at most about so many bytes; with their ends.
    ///
    /// # Errors
    /// If the index fails or makes no sense.
    pub(super) fn hot_chunks(&self, incarnation: u64, bytes: u64) -> io::Result<Vec<(Offset, Chunk)>> {
        let (generation, from) = {
            let state = self.state();
            let Some(hot) = state.books.streams.get(&incarnation) else {
                return Ok(Vec::new());
            };
            (state.generation, hot.row.from)
        };
        let range = KeyRange::chunks_from(self.group, generation, incarnation, from);
        let (mut found, mut total) = (Vec::new(), 0);
        let mut at = range.from;
        'pages: loop {
            let page = self.index.scan(&at, &range.to, PAGE)?;
            for (key, value) in &page {
                let Key::Chunk { end, .. } = Key::decode(key).map_err(damaged)? else {
                    break 'pages;
                };
                let chunk = Chunk::decode(value).map_err(damaged)?;
                if !matches!(chunk.place, Place::Journal(_)) || total >= bytes {
                    break 'pages;
                }
                total += u64::from(chunk.len);
                found.push((end, chunk));
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => at = [&last[..], &[0]].concat().into(),
                _ => break,
            }
        }
        Ok(found)
    }

    /// A stream that was thought to have bytes in the journal has none.
    ///
    /// # Errors
    /// If the index fails.
    pub(super) fn nothing_hot(&self, incarnation: u64) -> io::Result<()> {
        let mut state = self.state();
        let mut batch = Batch::default();
        self.look_on(&mut state, &mut batch, incarnation, Offset(0))?;
        if batch.is_empty() {
            Ok(())
        } else {
            self.index.write(batch)
        }
    }

    /// Objects of the cold store that chunks of the group refer to.
    pub(super) fn objects(&self) -> BTreeMap<ObjectId, ObjectRow> {
        self.state().books.objects.clone()
    }

    /// How much is where.
    pub(super) fn hot_and_cold(&self) -> HotAndCold {
        let state = self.state();
        let (cold_bytes, len) = state
            .books
            .objects
            .values()
            .fold((0, 0), |(live, len), row| (live + row.live, len + row.len));
        HotAndCold {
            hot_bytes: state.hot_bytes(),
            hot_streams: state.books.streams.len() as u64,
            cold_bytes,
            objects: state.books.objects.len() as u64,
            dead_bytes: len - cold_bytes,
        }
    }

    pub(super) fn of(&self, state: &State) -> Of {
        Of {
            group: self.group,
            generation: state.generation,
        }
    }

    /// Puts the rows of an object in the place of those of the chunks it was made of. Everything that came before it in
    /// the log must be in the index already.
    ///
    /// # Errors
    /// If the index fails, or its chunks are not those the object was made of.
    pub(super) fn moved(&self, state: &mut State, batch: &mut Batch, moved: &Moved) -> io::Result<Vec<u64>> {
        let of = self.of(state);
        let (mut segments, mut objects) = (Vec::new(), vec![moved.object]);
        for run in &moved.runs {
            let replaced = self.replaced(of, run)?;
            let Some(((_, first), (last_end, last))) = replaced.first().zip(replaced.last()) else {
                continue;
            };
            if *last_end != run.end() {
                return Err(io::Error::other(format!(
                    "an object was made of chunks of {} that end at {:?}, and here one ends at {last_end:?}",
                    run.incarnation,
                    run.end()
                )));
            }
            let mut cuts = Vec::new();
            for (end, chunk) in &replaced {
                match chunk.place {
                    Place::Journal(position) => {
                        let live = state.live.entry(position.segment).or_default();
                        *live = live.saturating_sub(chunk.len.into());
                        segments.push(position.segment);
                    }
                    Place::Cold(ColdPlace { object, .. }) => {
                        state.books.release(object, chunk.len.into());
                        objects.push(object);
                    }
                }
                let ends = chunk.append_ends(*end).filter(|cut| *cut < run.end());
                cuts.extend(ends.map(|cut| (cut.0 - run.start.0) as u32));
            }
            let chunk = Chunk {
                place: Place::Cold(ColdPlace {
                    object: moved.object,
                    offset: run.at,
                }),
                len: run.len,
                crc32c: run.crc32c,
                ends: last.ends,
                cuts,
            };
            let was_hot = matches!(first.place, Place::Journal(_));
            let range = KeyRange::chunks_from(of.group, of.generation, run.incarnation, run.start);
            let key = chunk_key(of, run);
            batch.delete_range(range.from, key.clone());
            batch.put(key, chunk.encode());
            state.books.refer(moved.object, run.len.into(), moved.bytes);
            if was_hot {
                self.look_on(state, batch, run.incarnation, run.end())?;
            }
        }
        state.books.put_objects(batch, of, objects);
        Ok(segments)
    }

    /// The rows that a run is made of, as far as they are there; with their ends.
    fn replaced(&self, of: Of, run: &MovedRun) -> io::Result<Vec<(Offset, Chunk)>> {
        let range = KeyRange::chunks_from(of.group, of.generation, run.incarnation, run.start);
        let to = [&chunk_key(of, run)[..], &[0]].concat();
        let mut replaced = Vec::new();
        let range = KeyRange {
            from: range.from,
            to: to.into(),
        };
        if range.from >= range.to {
            return Ok(replaced);
        }
        each_row(&*self.index, &range, |key, value| {
            if let Key::Chunk { end, .. } = Key::decode(key).map_err(damaged)? {
                let chunk = Chunk::decode(value).map_err(damaged)?;
                if end.0.saturating_sub(chunk.len.into()) < run.start.0 {
                    return Err(io::Error::other(format!(
                        "an object was made of chunks of {} from {:?} on, and here one lies across that",
                        run.incarnation, run.start
                    )));
                }
                replaced.push((end, chunk));
            }
            Ok(())
        })?;
        Ok(replaced)
    }

    /// Notes what of a stream is in the journal from `from` on: its next chunk, if there is one.
    fn look_on(&self, state: &mut State, batch: &mut Batch, incarnation: u64, from: Offset) -> io::Result<()> {
        if !state.books.keeps {
            return Ok(());
        }
        let of = self.of(state);
        let range = KeyRange::chunks_from(of.group, of.generation, incarnation, from);
        let mut at = range.from;
        loop {
            let page = self.index.scan(&at, &range.to, 1)?;
            let Some((key, value)) = page.first() else {
                state.books.left(batch, of, incarnation);
                return Ok(());
            };
            let Key::Chunk { end, .. } = Key::decode(key).map_err(damaged)? else {
                return Err(io::Error::other("a row of another kind lies among the chunks"));
            };
            let chunk = Chunk::decode(value).map_err(damaged)?;
            if matches!(chunk.place, Place::Journal(_)) {
                let row = HotRow {
                    from: Offset(end.0.saturating_sub(chunk.len.into())),
                    // Nobody keeps when each chunk came: it is no older than this, and moves an age later at the latest.
                    since_ms: state.position.last_now_ms,
                };
                state.books.note(batch, of, incarnation, row);
                return Ok(());
            }
            at = [&key[..], &[0]].concat().into();
        }
    }
}

fn chunk_key(of: Of, run: &MovedRun) -> bytes::Bytes {
    Key::Chunk {
        group: of.group,
        generation: of.generation,
        incarnation: run.incarnation,
        end: run.end(),
    }
    .encode()
}

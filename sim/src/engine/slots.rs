//! A table of things by number. A number is never mistaken for an older one of the same place: it carries its life.

/// The number of a thing in a [`Slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    slot: u32,
    life: u32,
}

impl Key {
    /// As one number, for those who cannot hold two.
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.life) << 32 | u64::from(self.slot)
    }

    /// The reverse of [`Key::pack`].
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    pub(crate) fn unpack(packed: u64) -> Self {
        Self {
            slot: packed as u32,
            life: (packed >> 32) as u32,
        }
    }
}

/// Things by number; places are used again, the last one left first.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// Puts in the thing that is made from its number.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 things at once")
        });
        let (life, place) = &mut self.places[slot as usize];
        *life = life.wrapping_add(1);
        let key = Key { slot, life: *life };
        *place = Some(make(key));
        key
    }

    pub(crate) fn insert(&mut self, thing: T) -> Key {
        self.insert_with(|_| thing)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let (life, place) = self.places.get(key.slot as usize)?;
        place.as_ref().filter(|_| *life == key.life)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (life, place) = self.places.get_mut(key.slot as usize)?;
        place.as_mut().filter(|_| *life == key.life)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let (life, place) = self.places.get_mut(key.slot as usize)?;
        if *life != key.life {
            return None;
        }
        let thing = place.take()?;
        self.free.push(key.slot);
        Some(thing)
    }

    /// All things, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places
            .iter()
            .zip(0_u32..)
            .filter_map(|((life, thing), slot)| thing.as_ref().map(|thing| (Key { slot, life: *life }, thing)))
    }

    /// All things, in the order of their places.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.places
            .iter_mut()
            .zip(0_u32..)
            .filter_map(|((life, thing), slot)| thing.as_mut().map(|thing| (Key { slot, life: *life }, thing)))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_number_does_not_find_the_next_one_in_its_place() {
        let mut slots = Slots::default();
        let old = slots.insert('a');
        assert_eq!(slots.remove(old), Some('a'));
        let new = slots.insert('b');
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(Key::unpack(new.pack())), Some(&'b'));
    }
}

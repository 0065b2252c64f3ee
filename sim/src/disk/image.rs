//! The bytes of one file: pages, where something was written, and zeros elsewhere.
//!
//! Sparse, so that a preallocated segment costs nothing, and with shared pages, so that a whole disk can be copied.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// The unit in which room is taken on the disk, in bytes.
pub(super) const PAGE: u64 = 4096;

type Page = [u8; PAGE as usize];

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    len: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Image {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many pages hold something.
    pub(super) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// How many more pages a write to this range would take.
    pub(super) fn pages_missing(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        (pages.end - pages.start) - self.pages.range(pages).count() as u64
    }

    /// Whether anything was ever written in this range.
    pub(super) fn holds(&self, range: Range<u64>) -> bool {
        !range.is_empty()
            && self
                .pages
                .range(range.start / PAGE..range.end.div_ceil(PAGE))
                .next()
                .is_some()
    }

    /// The number of one of the pages that hold something, chosen by a number.
    pub(super) fn page_at(&self, throw: u64) -> Option<u64> {
        let chosen = throw.checked_rem(self.pages())?;
        self.pages.keys().nth(chosen as usize).copied()
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.len = self.len.max(offset + bytes.len() as u64);
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = (at % PAGE) as usize;
            let (part, after) = rest.split_at(rest.len().min(PAGE as usize - within));
            let page = self
                .pages
                .entry(at / PAGE)
                .or_insert_with(|| Arc::new([0; PAGE as usize]));
            Arc::make_mut(page)[within..within + part.len()].copy_from_slice(part);
            at += part.len() as u64;
            rest = after;
        }
    }

    /// What there is of a range: shorter at the end of the file.
    pub(super) fn read(&self, range: Range<u64>) -> Vec<u8> {
        let range = range.start.min(self.len)..range.end.min(self.len);
        if range.is_empty() {
            return Vec::new();
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        for (number, page) in self.pages.range(range.start / PAGE..range.end.div_ceil(PAGE)) {
            let begin = number * PAGE;
            let (from, to) = (begin.max(range.start), (begin + PAGE).min(range.end));
            bytes[(from - range.start) as usize..(to - range.start) as usize]
                .copy_from_slice(&page[(from - begin) as usize..(to - begin) as usize]);
        }
        bytes
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE));
            if let Some(page) = self.pages.get_mut(&(len / PAGE)) {
                // What is cut off reads as zeros should the file grow again.
                Arc::make_mut(page)[(len % PAGE) as usize..].fill(0);
            }
        }
        self.len = len;
    }

    /// Flips one bit of what is stored.
    pub(super) fn flip(&mut self, offset: u64, bit: u8) {
        if let Some(byte) = self.read(offset..offset + 1).first() {
            self.write(offset, &[byte ^ (1 << (bit % 8))]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_and_zeros_between() {
        let mut image = Image::default();
        image.write(PAGE - 2, b"abcd");
        image.write(3 * PAGE, b"x");
        assert_eq!(image.len(), 3 * PAGE + 1);
        assert_eq!(image.pages(), 3);
        assert_eq!(image.read(PAGE - 3..PAGE + 3), b"\0abcd\0");
        assert_eq!(image.read(3 * PAGE..u64::MAX), b"x");
        assert_eq!(image.read(9 * PAGE..10 * PAGE), b"");
        assert_eq!(image.pages_missing(0..4 * PAGE), 1);
        assert!(!image.holds(2 * PAGE..3 * PAGE));
        assert!(image.holds(2 * PAGE..3 * PAGE + 1));
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let mut image = Image::default();
        image.write(0, b"abcdef");
        image.set_len(2);
        image.set_len(5);
        assert_eq!(image.read(0..9), b"ab\0\0\0");
        image.set_len(0);
        assert_eq!(image.pages(), 0);
    }

    #[test]
    fn a_copy_does_not_see_later_writes() {
        let mut image = Image::default();
        image.write(0, b"old");
        let copy = image.clone();
        image.write(0, b"new");
        image.flip(0, 0);
        assert_eq!(copy.read(0..3), b"old");
        assert_eq!(image.read(0..3), b"oew");
    }
}

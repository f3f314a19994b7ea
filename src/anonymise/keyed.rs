//! Tables by keyed hash, bounded in bytes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table of two generations of at most so many entries each: a full young one becomes the old one, and what is not asked for
/// during a whole generation is forgotten.
pub(super) struct Generations<T> {
    young: Keyed<T>,
    old: Keyed<T>,
    /// Entries of a generation.
    most: usize,
    /// What the young values hold beyond one entry each, in entries.
    beyond: usize,
    /// What a value holds beyond its entry, in entries; rounded up.
    grown: fn(&T) -> usize,
}

/// The keys are keyed hashes already: hashing them again would only take time.
type Keyed<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

impl<T> Generations<T> {
    /// A table of at most `bytes` where a value takes `value_bytes`, heap included. A hash table has a power of two of places,
    /// seven eighths of them in use at most, and while it doubles both sizes are there: two generations of `places`, and half of
    /// one, are the most there ever is.
    pub(super) fn within(bytes: u64, value_bytes: usize) -> Self {
        let places = (bytes * 2 / 5 / Self::entry_bytes(value_bytes)).max(8);
        let places = 1_u64 << places.ilog2();
        Self {
            young: Keyed::default(),
            old: Keyed::default(),
            most: usize::try_from(places / 8 * 7).unwrap_or(usize::MAX),
            beyond: 0,
            grown: |_| 0,
        }
    }

    /// The same, of values that may grow beyond the bytes they were said to take.
    pub(super) fn growing(self, grown: fn(&T) -> usize) -> Self {
        Self { grown, ..self }
    }

    /// Bytes of an entry: a hash and a value, as they are aligned, and the hash table's byte of its own.
    fn entry_bytes(value_bytes: usize) -> u64 {
        let beyond = value_bytes.saturating_sub(size_of::<T>());
        (size_of::<(u64, T)>() + beyond + 1) as u64
    }

    /// The value of `hash`.
    pub(super) fn get(&mut self, hash: u64) -> Option<T>
    where
        T: Copy,
    {
        if let Some(&value) = self.young.get(&hash) {
            return Some(value);
        }
        let value = self.old.get(&hash).copied()?;
        self.insert(hash, value);
        Some(value)
    }

    /// The value of `hash`, to change it. One that may grow must be [changed](Self::change) instead.
    pub(super) fn get_mut(&mut self, hash: u64) -> Option<&mut T> {
        if !self.young.contains_key(&hash) {
            let value = self.old.remove(&hash)?;
            self.insert(hash, value);
        }
        self.young.get_mut(&hash)
    }

    /// Changes the value of `hash`, which may grow by it; whether there was one.
    pub(super) fn change(&mut self, hash: u64, change: impl FnOnce(&mut T)) -> bool {
        let grown = self.grown;
        let Some(value) = self.get_mut(hash) else {
            return false;
        };
        let before = grown(value);
        change(value);
        let after = grown(value);
        self.beyond = (self.beyond + after).saturating_sub(before);
        true
    }

    pub(super) fn insert(&mut self, hash: u64, value: T) {
        if self.young.len() + self.beyond >= self.most {
            self.old = std::mem::take(&mut self.young);
            self.beyond = 0;
        }
        self.beyond += (self.grown)(&value);
        let before = self.young.insert(hash, value);
        self.beyond -= before.as_ref().map_or(0, self.grown).min(self.beyond);
    }
}

#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// For anything but a `u64`, which never comes.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_stays_within_its_bytes() {
        let bytes = 1 << 20;
        let mut table = Generations::within(bytes, 4);
        let mut most = 0;
        for hash in 0..200_000_u64 {
            table.insert(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0_u32);
            let places = (table.young.capacity() + table.old.capacity()) as u64 * 8 / 7;
            most = most.max(places * Generations::<u32>::entry_bytes(4));
        }
        assert!(most <= bytes, "{most}");
        assert!(most > bytes / 4, "{most}: most of it would never be used");
    }

    #[test]
    fn values_that_grow_count_for_more_entries() {
        let mut table = Generations::within(10_000, 32).growing(|list: &Vec<u8>| list.len() - 1);
        let most = table.most;
        for hash in 0..40 {
            table.insert(hash, vec![0]);
            for _ in 0..most / 5 {
                assert!(table.change(hash, |list| list.push(0)));
            }
            let held: usize = table
                .young
                .values()
                .chain(table.old.values())
                .map(Vec::len)
                .sum();
            assert!(held <= 3 * most, "{held} of {most}");
        }
        assert!(!table.change(0, |_| ()), "forgotten");
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut table = Generations::within(400, 4);
        table.insert(0, 7_u32);
        table.insert(1, 8);
        for hash in 2..200 {
            table.insert(hash, 1);
            assert_eq!(table.get(0), Some(7));
            assert_eq!(table.get_mut(0), Some(&mut 7));
        }
        assert_eq!(table.get(1), None);
    }
}

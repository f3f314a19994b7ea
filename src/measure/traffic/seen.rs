use std::collections::HashMap;

/// A set of ids. Ids are mostly dense, so it is a bitmap, in pages so that a stray high id costs one page and not all below.
#[derive(Default)]
pub(super) struct SeenIds {
    pages: HashMap<u32, Box<[u64; PAGE_WORDS]>>,
    count: u64,
}

const PAGE_WORDS: usize = 64;
const PAGE_BITS: u32 = 12;

impl SeenIds {
    /// Adds an id; says whether it was new.
    pub(super) fn insert(&mut self, id: u32) -> bool {
        let page = self
            .pages
            .entry(id >> PAGE_BITS)
            .or_insert_with(|| Box::new([0; PAGE_WORDS]));
        let bit = 1_u64 << (id % 64);
        let new = match page.get_mut((id as usize / 64) % PAGE_WORDS) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        };
        self.count += u64::from(new);
        new
    }

    /// Ids in the set.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_new_once() {
        let mut seen = SeenIds::default();
        for id in (0..10_000).chain([u32::MAX, 1 << 31, 4095, 4096]) {
            let again = (4095..=4096).contains(&id) && seen.count() >= 10_000;
            assert_eq!(seen.insert(id), !again, "{id}");
            assert!(!seen.insert(id));
        }
        assert_eq!(seen.count(), 10_002);
        assert!(seen.pages.len() <= 5);
    }
}

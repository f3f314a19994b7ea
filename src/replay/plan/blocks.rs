//! Which blocks of a slice only one session used: copies of the session get words of their own for these, while blocks that several
//! used (a system prompt, tools) stay what they are, so that copies hit the cache where another session would have.

use crate::shape::BlockId;

/// Who used which block, while the slice is read: one byte for each block, in pages that exist only where blocks were seen. Bounded
/// at 256 MiB: blocks numbered beyond count as shared.
#[derive(Default)]
pub(super) struct Users {
    pages: Vec<Option<Box<[u8; PAGE]>>>,
    /// Numbers given, that is one more than the highest.
    numbers: u32,
}

const PAGE: usize = 1 << 16;
/// What is numbered beyond has no byte here, and none in the ledger of words either.
const CAPACITY: u32 = 1 << 28;
/// No session yet.
const UNUSED: u8 = 0;
/// More than one session.
const SHARED: u8 = u8::MAX;

impl Users {
    /// Notes that the session (or lone request) that `key` stands for used these blocks.
    ///
    /// A byte cannot name a session, so two sessions in 254 are taken for one. That is harmless: a block shared by a pair that was
    /// missed is still shared by the pair within each copy, and one that many sessions share is never missed.
    pub(super) fn note(&mut self, key: u64, blocks: &[BlockId]) {
        // Fibonacci hashing; the last byte's ends mean something else.
        let user =
            u8::try_from((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 254 + 1).unwrap_or(1);
        for &BlockId(id) in blocks {
            self.numbers = self.numbers.max(id.saturating_add(1));
            if id >= CAPACITY {
                continue;
            }
            let (page, slot) = (id as usize / PAGE, id as usize % PAGE);
            if self.pages.len() <= page {
                self.pages.resize_with(page + 1, || None);
            }
            if let Some(page) = self.pages.get_mut(page) {
                let page = page.get_or_insert_with(|| Box::new([UNUSED; PAGE]));
                if let Some(known) = page.get_mut(slot) {
                    *known = match *known {
                        UNUSED => user,
                        same if same == user => user,
                        _ => SHARED,
                    };
                }
            }
        }
    }

    /// What copies need to know of that: one bit for each block, and a little.
    pub(super) fn finish(self) -> OwnBlocks {
        let mut words = Vec::new();
        let mut before = Vec::new();
        let (mut own, mut shared) = (0_u32, 0_u32);
        for page in self.pages {
            let empty = [UNUSED; PAGE];
            for users in page.as_deref().unwrap_or(&empty).chunks(64) {
                let mut word = 0_u64;
                for (bit, &user) in users.iter().enumerate() {
                    word |= u64::from(user != UNUSED && user != SHARED) << bit;
                    shared += u32::from(user == SHARED);
                }
                words.push(word);
                before.push(own);
                own += word.count_ones();
            }
        }
        OwnBlocks {
            words,
            before,
            own,
            shared,
            numbers: self.numbers,
        }
    }
}

/// The blocks that only one session used, and numbers for their counterparts in copies.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnBlocks {
    /// A bit for each block.
    words: Vec<u64>,
    /// Own blocks before each word.
    before: Vec<u32>,
    own: u32,
    shared: u32,
    numbers: u32,
}

impl OwnBlocks {
    /// How many only one session used.
    pub(super) fn count(&self) -> u32 {
        self.own
    }

    /// How many several sessions used.
    pub(super) fn shared(&self) -> u32 {
        self.shared
    }

    /// How many copies can have numbers of their own; beyond, copies share them (and so their words) with earlier ones. As many as
    /// the ledger of words can keep apart, or as there are numbers.
    pub(super) fn copies(&self) -> u32 {
        let room = |end: u32| end.saturating_sub(self.numbers).checked_div(self.own);
        let kept = room(CAPACITY).unwrap_or(u32::MAX);
        if kept > 1 {
            kept
        } else {
            room(u32::MAX).unwrap_or(u32::MAX)
        }
    }

    /// Gives the blocks of a prompt the numbers that they have in copy `copy` (0 is the trace itself).
    pub(super) fn renumber(&self, blocks: &mut [BlockId], copy: u64) {
        let copies = u64::from(self.copies());
        let (Some(copy), true) = (copy.checked_sub(1), copies > 0) else {
            return;
        };
        // Below `copies`, which is a u32.
        let copy = u32::try_from(copy % copies).unwrap_or(0);
        for BlockId(id) in blocks {
            if let Some(rank) = self.rank(*id) {
                *id = self.numbers + copy * self.own + rank;
            }
        }
    }

    /// A block's number among the own ones.
    fn rank(&self, id: u32) -> Option<u32> {
        let (place, bit) = (id as usize / 64, id % 64);
        let word = *self.words.get(place)?;
        let below = word & ((1_u64 << bit) - 1);
        let before = self.before.get(place)?;
        (word >> bit & 1 == 1).then(|| before + below.count_ones())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn chain(ids: &[u32]) -> Vec<BlockId> {
        ids.iter().copied().map(BlockId).collect()
    }

    fn copied(own: &OwnBlocks, ids: &[u32], copy: u64) -> Vec<u32> {
        let mut blocks = chain(ids);
        own.renumber(&mut blocks, copy);
        blocks.into_iter().map(|block| block.0).collect()
    }

    #[test]
    fn shared_blocks_stay_and_own_ones_get_fresh_numbers() {
        let mut users = Users::default();
        users.note(1, &chain(&[0, 1, 2]));
        users.note(1, &chain(&[0, 1, 2, 3]));
        users.note(2, &chain(&[0, 4, 70_000]));
        let own = users.finish();
        assert_eq!((own.count(), own.shared()), (5, 1));
        assert_eq!(copied(&own, &[0, 1, 2, 3], 0), [0, 1, 2, 3]);
        assert_eq!(copied(&own, &[0, 1, 2, 3], 1), [0, 70_001, 70_002, 70_003]);
        assert_eq!(copied(&own, &[0, 4, 70_000], 1), [0, 70_004, 70_005]);
        assert_eq!(copied(&own, &[0, 1], 2), [0, 70_006]);
    }

    #[test]
    fn the_highest_numbers_there_can_be_are_shared() {
        let mut users = Users::default();
        users.note(1, &chain(&[5, u32::MAX]));
        let own = users.finish();
        assert_eq!(
            copied(&own, &[5, u32::MAX], 1),
            [5, u32::MAX],
            "no room for another"
        );
        assert!(own.words.len() <= PAGE / 64);
    }

    #[test]
    fn copies_beyond_the_last_number_share_with_the_first() {
        let mut users = Users::default();
        let half: Vec<u32> = (0..40).map(|n| n * (CAPACITY / 40)).collect();
        users.note(1, &chain(&half));
        let own = users.finish();
        assert!(own.copies() > 1_000);
        let first = copied(&own, &half, 1);
        assert_eq!(copied(&own, &half, 1 + u64::from(own.copies())), first);
        assert_ne!(copied(&own, &half, 2), first);
    }

    proptest! {
        #[test]
        fn copies_never_meet_each_others_own_blocks(prompts in prop::collection::vec((0_u64..20, prop::collection::vec(0_u32..3000, 0..12)), 1..60)) {
            let mut users = Users::default();
            let mut truth: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
            for (session, ids) in &prompts {
                users.note(*session, &chain(ids));
                ids.iter().for_each(|&id| { truth.entry(id).or_default().insert(*session); });
            }
            let own = users.finish();
            let ids: Vec<u32> = truth.keys().copied().collect();
            let copies: Vec<Vec<u32>> = (0..4).map(|copy| copied(&own, &ids, copy)).collect();
            let mut fresh = BTreeSet::new();
            for (i, id) in ids.iter().enumerate() {
                let one_user = truth[id].len() == 1;
                prop_assert!(!one_user || own.rank(*id).is_some());
                let numbers: BTreeSet<u32> = copies.iter().map(|copy| copy[i]).collect();
                prop_assert_eq!(numbers.len(), if own.rank(*id).is_some() { 4 } else { 1 });
                prop_assert!(numbers.into_iter().all(|number| fresh.insert(number)));
            }
        }
    }
}

use crate::shape::BlockId;

/// Which blocks this replay has sent, and how many words each was given at its first appearance: it keeps them for ever, so
/// that shared blocks give shared text.
///
/// One byte for each block, in pages that exist only where blocks were seen. Bounded at 256 MiB: blocks numbered beyond
/// [`Ledger::CAPACITY`] get the everyday number of words instead of one of their own, and count as seen when their number is
/// not above the highest so far (blocks are numbered in order of first appearance, so that is exact in a whole trace).
pub(super) struct Ledger {
    pages: Vec<Option<Box<[u8; PAGE]>>>,
    highest: Option<u32>,
}

const PAGE: usize = 1 << 16;

/// What is known of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// It was sent before.
    pub(super) seen: bool,
    /// Its words; `None` where it was not seen and may still choose.
    pub(super) words: Option<u64>,
}

impl Ledger {
    /// Blocks with a count of their own.
    const CAPACITY: u32 = 1 << 28;
    /// Most words that an entry holds; the code 0 is "not seen".
    pub(super) const MOST_WORDS: u64 = 254;

    pub(super) fn new() -> Self {
        Self {
            pages: Vec::new(),
            highest: None,
        }
    }

    /// What is known of `id`, a block that holds `bytes` bytes of text.
    pub(super) fn look(&self, id: BlockId, bytes: u64) -> Entry {
        if id.0 >= Self::CAPACITY {
            return Entry {
                seen: self.highest.is_some_and(|highest| id.0 <= highest),
                words: Some(bytes.div_ceil(4)),
            };
        }
        let (page, slot) = place(id);
        let code = self
            .pages
            .get(page)
            .and_then(Option::as_ref)
            .and_then(|page| page.get(slot))
            .copied()
            .unwrap_or(0);
        Entry {
            seen: code > 0,
            words: code.checked_sub(1).map(u64::from),
        }
    }

    /// Notes that `id` was sent with `words` words.
    pub(super) fn note(&mut self, id: BlockId, words: u64) {
        self.highest = self.highest.max(Some(id.0));
        if id.0 >= Self::CAPACITY {
            return;
        }
        let (page, slot) = place(id);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let code = u8::try_from(words.min(Self::MOST_WORDS) + 1).unwrap_or(u8::MAX);
        if let Some(page) = self.pages.get_mut(page) {
            let page = page.get_or_insert_with(|| Box::new([0; PAGE]));
            if let Some(slot) = page.get_mut(slot) {
                *slot = code;
            }
        }
    }
}

fn place(id: BlockId) -> (usize, usize) {
    let id = id.0 as usize;
    (id / PAGE, id % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_words() {
        let mut ledger = Ledger::new();
        assert_eq!(ledger.look(BlockId(70_000), 64).words, None);
        ledger.note(BlockId(70_000), 14);
        ledger.note(BlockId(3), 0);
        let entry = |id, words| (ledger.look(BlockId(id), 64), words);
        for (entry, words) in [entry(70_000, 14), entry(3, 0)] {
            assert_eq!((entry.seen, entry.words), (true, Some(words)));
        }
        assert!(!ledger.look(BlockId(4), 64).seen);
    }

    #[test]
    fn the_highest_number_there_can_be_costs_no_memory() {
        let mut ledger = Ledger::new();
        let last = BlockId(u32::MAX);
        assert!(!ledger.look(last, 64).seen);
        ledger.note(last, 20);
        assert_eq!(
            ledger.look(last, 64),
            Entry {
                seen: true,
                words: Some(16)
            }
        );
        assert!(ledger.pages.is_empty());
    }
}

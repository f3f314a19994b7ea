use std::collections::HashMap;

use super::ledger::Ledger;

/// How many words the ends of messages were given that lie in a block which has no number of its own yet, by what they are known
/// by. Two generations of [`Heads::MOST`] each, 32 MiB in all: what is not asked for in a whole one is forgotten, and then shared
/// no more.
#[derive(Default)]
pub(super) struct Heads {
    young: HashMap<u64, u8>,
    old: HashMap<u64, u8>,
}

impl Heads {
    const MOST: usize = 1 << 20;

    /// The words of a head; `None` where it was not seen and may still choose.
    pub(super) fn words(&self, head: u64) -> Option<u64> {
        let words = self.young.get(&head).or_else(|| self.old.get(&head))?;
        Some(u64::from(*words))
    }

    /// Notes that it was sent with `words` words.
    pub(super) fn note(&mut self, head: u64, words: u64) {
        if self.young.len() >= Self::MOST {
            self.old = std::mem::take(&mut self.young);
        }
        let words = u8::try_from(words.min(Ledger::MOST_WORDS)).unwrap_or(u8::MAX);
        self.young.insert(head, words);
    }
}

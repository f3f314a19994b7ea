use std::collections::HashMap;

use super::words::Words;
use crate::anonymise::PromptTokenizer;

/// The token of each word, for prompts that go out as token ids.
///
/// Without a tokenizer a word's id is its place in the list, from [`IdTable::FIRST`] on: ids that every vocabulary in use has, and
/// gives no special meaning to. What they spell is nothing, which no engine minds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::replay) struct IdTable {
    ids: HashMap<Box<str>, u32>,
    other: u32,
}

impl IdTable {
    /// Below it stand bytes and special tokens.
    const FIRST: u32 = 1000;

    pub(in crate::replay) fn new(words: &Words, tokenizer: Option<&PromptTokenizer>) -> Self {
        let token = |word: &str| match tokenizer?.tokens(&format!(" {word}"))?.as_slice() {
            [.., id] => Some(*id),
            [] => None,
        };
        let ids = (Self::FIRST + 1..)
            .zip(words.all())
            .map(|(place, word)| (word.into(), token(word).unwrap_or(place)));
        Self {
            ids: ids.collect(),
            other: Self::FIRST,
        }
    }

    /// The ids of a text that was made of these words: one for each.
    pub(in crate::replay) fn ids(&self, text: &str) -> Vec<u32> {
        let id = |word: &str| self.ids.get(word).copied().unwrap_or(self.other);
        text.split([' ', ','])
            .filter(|word| !word.is_empty())
            .map(id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_one_id_the_same_wherever_it_stands() {
        let words = Words::of(["alpha", "beta"].into_iter());
        let table = IdTable::new(&words, None);
        let ids = table.ids("alpha beta alpha");
        assert_eq!(ids.len(), 3);
        assert_eq!(ids[0], ids[2]);
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| (1000..32_000).contains(id)));
    }

    #[test]
    fn the_house_stays_within_the_smallest_vocabulary_in_use() {
        assert!(Words::house().count() + 1000 < 32_000);
    }
}

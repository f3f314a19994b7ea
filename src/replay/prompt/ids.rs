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
    /// That of the comma that fills the last byte of a text, and of whatever else is in no list.
    other: u32,
}

impl IdTable {
    /// Below it stand bytes and special tokens.
    const FIRST: u32 = 1000;

    pub(in crate::replay) fn new(words: &Words, tokenizer: Option<&PromptTokenizer>) -> Self {
        let last = |text: &str| tokenizer?.tokens(text)?.last().copied();
        let token = |word: &str| last(&format!(" {word}"));
        let ids = (Self::FIRST + 1..)
            .zip(words.all())
            .map(|(place, word)| (word.into(), token(word).unwrap_or(place)));
        Self {
            ids: ids.collect(),
            other: last(",").unwrap_or(Self::FIRST),
        }
    }

    /// The ids of a text that was made of these words: one for each, commas included (see `fill`).
    pub(in crate::replay) fn ids(&self, text: &str) -> Vec<u32> {
        let id = |word: &str| self.ids.get(word).copied().unwrap_or(self.other);
        let of_piece = |piece: &str| {
            let word = piece.trim_end_matches(',');
            let commas = std::iter::repeat_n(self.other, piece.len() - word.len());
            let of_word = (!word.is_empty()).then(|| id(word));
            of_word.into_iter().chain(commas)
        };
        text.split(' ').flat_map(of_piece).collect()
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
    fn a_tokenizers_ids_are_its_own() {
        let json = include_bytes!("../../../fixtures/tokenizer/small.json");
        let tokenizer = PromptTokenizer::from_json(json).unwrap();
        let own = |text: &str| tokenizer.tokens(text).unwrap();
        let words = Words::of(["the", "for", "not"].into_iter());
        let table = IdTable::new(&words, Some(&tokenizer));
        assert_eq!(table.ids("for the not"), own(" for the not"));
        assert_eq!(table.ids("the").len(), 1);
        // Not those of the house, which a small vocabulary lacks.
        assert!(table.ids("for the not").iter().all(|id| *id < 1200));
        assert_eq!(table.ids("the,").last(), own(",").last());
    }

    #[test]
    fn the_comma_that_fills_a_text_is_a_token_of_its_own() {
        let words = Words::of(["alpha", "beta"].into_iter());
        let ids = IdTable::new(&words, None).ids("alpha beta, alpha,");
        assert_eq!(ids.len(), 5);
        assert_eq!((ids[2], ids[4], ids[3]), (1000, 1000, ids[0]));
    }

    #[test]
    fn the_house_stays_within_the_smallest_vocabulary_in_use() {
        assert!(Words::house().count() + 1000 < 32_000);
    }
}

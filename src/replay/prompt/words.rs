use std::sync::{Arc, OnceLock};

use super::dice::Dice;

/// The longest word, in letters.
pub(super) const LONGEST: u32 = 10;

/// The words that prompts are made of, by length.
///
/// Those of the house are one token each with a leading space in the common vocabularies. Three to ten letters: fixtures/words,
/// which was checked against o200k, cl100k, GPT-2, Llama 2 and Llama 3, commonest first. One and two letters: English function
/// words, which every vocabulary holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// By their bytes; where there are none of a length, the house's stand in.
    by_length: Vec<Vec<Box<str>>>,
    everyday: Vec<Box<str>>,
}

/// Words at the head of each length's list that may open a message, where no space stands before them: the commonest words
/// are one token without it, too.
const OPENERS: u64 = 16;

/// Letters of an everyday word: with its space about as long as a token of real English.
const EVERYDAY: std::ops::RangeInclusive<usize> = 3..=6;

impl Words {
    /// The house's own.
    pub fn house() -> Arc<Self> {
        static WORDS: OnceLock<Arc<Words>> = OnceLock::new();
        Arc::clone(WORDS.get_or_init(|| {
            let short = "a of in to is it on at be as by or an we he do if so my up no us me go";
            let mut words = Words::of(short.split(' ').chain(LIST.lines()));
            words.everyday.retain(|word| EVERYDAY.contains(&word.len()));
            Arc::new(words)
        }))
    }

    /// These, commonest first; longer ones than can be placed are left out.
    pub(super) fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut by_length = vec![Vec::new(); LONGEST as usize + 1];
        let mut everyday = Vec::new();
        for word in words {
            let bucket: Option<&mut Vec<Box<str>>> = by_length.get_mut(word.len());
            if let Some(bucket) = bucket.filter(|_| !word.is_empty()) {
                bucket.push(word.into());
                everyday.push(word.into());
            }
        }
        Self {
            by_length,
            everyday,
        }
    }

    /// All of them, shortest first.
    pub(in crate::replay) fn all(&self) -> impl Iterator<Item = &str> {
        self.by_length.iter().flatten().map(AsRef::as_ref)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_length.iter().map(Vec::len).sum()
    }

    /// Those that `keep` keeps; the everyday ones among them, or all, where none of these are left.
    pub(in crate::replay) fn keeping(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = |words: &[Box<str>]| -> Vec<Box<str>> {
            words.iter().filter(|word| keep(word)).cloned().collect()
        };
        let by_length: Vec<_> = self.by_length.iter().map(|words| kept(words)).collect();
        let mut everyday = kept(&self.everyday);
        if everyday.is_empty() {
            everyday = by_length.iter().flatten().cloned().collect();
        }
        Self {
            by_length,
            everyday,
        }
    }

    /// A word of exactly `letters` letters (1 to [`LONGEST`]).
    pub(super) fn of_length(&self, letters: u32, opens: bool, dice: &mut Dice) -> &str {
        match self.by_length.get(letters as usize) {
            Some(bucket) if !bucket.is_empty() => pick(bucket, opens, dice),
            // No word of the list: letters fill the place, which some vocabularies split.
            Some(_) => {
                dice.below(1);
                "aaaaaaaaaa".get(..letters as usize).unwrap_or("a")
            }
            None => "a",
        }
    }

    /// A word of everyday length.
    pub(super) fn everyday(&self, opens: bool, dice: &mut Dice) -> &str {
        pick(&self.everyday, opens, dice)
    }
}

/// Takes one draw whether the word opens a message or not, so that what follows does not depend on it.
fn pick<'a>(bucket: &'a [Box<str>], opens: bool, dice: &mut Dice) -> &'a str {
    let all = bucket.len() as u64;
    let index = dice.below(if opens { all.min(OPENERS) } else { all });
    usize::try_from(index)
        .ok()
        .and_then(|index| bucket.get(index))
        .map_or("a", AsRef::as_ref)
}

static LIST: &str = include_str!("../../../fixtures/words/single_token_words.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_words_and_every_word_is_lower_case_letters() {
        let words = Words::house();
        for (length, bucket) in words.by_length.iter().enumerate().skip(1) {
            assert!(!bucket.is_empty(), "{length} letters");
            for word in bucket {
                assert_eq!(word.len(), length);
                assert!(word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
            }
        }
        assert_eq!(LIST.lines().count(), 6085);
    }
}

use std::sync::OnceLock;

use super::dice::Dice;

/// The longest word, in letters.
pub(super) const LONGEST: u32 = 10;

/// Words that are one token each with a leading space in the common vocabularies, by length.
///
/// Three to ten letters: fixtures/words, which was checked against o200k, cl100k, GPT-2, Llama 2 and Llama 3, commonest first.
/// One and two letters: English function words, which every vocabulary holds.
pub(super) struct Words {
    by_length: Vec<Vec<&'static str>>,
    everyday: Vec<&'static str>,
}

/// Words at the head of each length's list that may open a message, where no space stands before them: the commonest words
/// are one token without it, too.
const OPENERS: u64 = 16;

/// Letters of an everyday word: with its space about as long as a token of real English.
const EVERYDAY: std::ops::RangeInclusive<usize> = 3..=6;

impl Words {
    /// The one list there is.
    pub(super) fn get() -> &'static Self {
        static WORDS: OnceLock<Words> = OnceLock::new();
        WORDS.get_or_init(|| {
            let mut by_length = vec![Vec::new(); LONGEST as usize + 1];
            let mut everyday = Vec::new();
            let short = "a of in to is it on at be as by or an we he do if so my up no us me go";
            for word in short.split(' ').chain(LIST.lines()) {
                if let Some(bucket) = by_length.get_mut(word.len()) {
                    bucket.push(word);
                }
                if EVERYDAY.contains(&word.len()) {
                    everyday.push(word);
                }
            }
            Self {
                by_length,
                everyday,
            }
        })
    }

    /// A word of exactly `letters` letters (1 to [`LONGEST`]).
    pub(super) fn of_length(&self, letters: u32, opens: bool, dice: &mut Dice) -> &'static str {
        self.by_length
            .get(letters as usize)
            .map_or("a", |bucket| pick(bucket, opens, dice))
    }

    /// A word of everyday length.
    pub(super) fn everyday(&self, opens: bool, dice: &mut Dice) -> &'static str {
        pick(&self.everyday, opens, dice)
    }
}

/// Takes one draw whether the word opens a message or not, so that what follows does not depend on it.
fn pick(bucket: &[&'static str], opens: bool, dice: &mut Dice) -> &'static str {
    let all = bucket.len() as u64;
    let index = dice.below(if opens { all.min(OPENERS) } else { all });
    usize::try_from(index)
        .ok()
        .and_then(|index| bucket.get(index))
        .copied()
        .unwrap_or("a")
}

static LIST: &str = include_str!("../../../fixtures/words/single_token_words.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_words_and_every_word_is_lower_case_letters() {
        let words = Words::get();
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

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use super::dice::Dice;

/// The longest word, in letters.
pub(super) const LONGEST: u32 = 10;

/// The words that prompts are made of, by length.
///
/// Those of the house are one token each with a leading space in the common vocabularies. Three to ten letters: fixtures/words,
/// which tests/vocabularies holds against o200k, cl100k, GPT-2, Llama 2 and Llama 3, commonest first. One and two letters: English
/// function words, which every vocabulary holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Behind a space.
    inner: Bins,
    /// At a message's beginning, where no space stands before them: of each length some that are one token there, too, as far as that is
    /// known.
    openers: Bins,
}

/// Words of each length, commonest first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bins {
    /// By their bytes.
    by_length: Vec<Vec<Box<str>>>,
    everyday: Vec<Box<str>>,
}

/// So many words of each length may open a message.
const OPENERS: usize = 16;

/// Letters of an everyday word: with its space about as long as a token of real English.
const EVERYDAY: std::ops::RangeInclusive<usize> = 3..=6;

impl Words {
    /// The house's own.
    pub fn house() -> Arc<Self> {
        static WORDS: OnceLock<Arc<Words>> = OnceLock::new();
        Arc::clone(WORDS.get_or_init(|| {
            let short = "a of in to is it on at be as by or an we he do if so my up no us me go";
            let mut words = Words::of(short.split(' ').chain(LIST.lines()));
            let everyday = &mut words.inner.everyday;
            everyday.retain(|word| EVERYDAY.contains(&word.len()));
            let openers: HashSet<&str> = OPENING.lines().collect();
            Arc::new(words.opening(|word| openers.contains(word)))
        }))
    }

    /// These, commonest first; longer ones than can be placed are left out. The commonest may open a message.
    pub(super) fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut by_length = vec![Vec::new(); LONGEST as usize + 1];
        let mut everyday = Vec::new();
        for word in words {
            let bin: Option<&mut Vec<Box<str>>> = by_length.get_mut(word.len());
            if let Some(bin) = bin.filter(|_| !word.is_empty()) {
                bin.push(word.into());
                everyday.push(word.into());
            }
        }
        let inner = Bins {
            by_length,
            everyday,
        };
        let openers = inner.chosen(|words| head(words.iter()));
        Self { inner, openers }
    }

    /// All of them, shortest first.
    pub(in crate::replay) fn all(&self) -> impl Iterator<Item = &str> {
        self.inner.by_length.iter().flatten().map(AsRef::as_ref)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inner.by_length.iter().map(Vec::len).sum()
    }

    /// Those that `keep` keeps; the everyday ones among them, or all, where none of these are left. Openers are still openers.
    pub(in crate::replay) fn keeping(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = |words: &[Box<str>]| -> Vec<Box<str>> {
            words.iter().filter(|word| keep(word)).cloned().collect()
        };
        let mut inner = self.inner.chosen(kept);
        if inner.everyday.is_empty() {
            inner.everyday = inner.by_length.iter().flatten().cloned().collect();
        }
        let openers: HashSet<&str> = self.openers.all().collect();
        let openers = inner.openers(|word| openers.contains(word));
        Self { inner, openers }
    }

    /// The same words, of which the commonest that `opens` says may open a message.
    pub(in crate::replay) fn opening(self, opens: impl Fn(&str) -> bool) -> Self {
        let openers = self.inner.openers(opens);
        Self { openers, ..self }
    }

    /// A word of `letters` letters (1 to [`LONGEST`]), or of the nearest length that there are words of: what is sent are these words and no
    /// others.
    pub(super) fn of_length(&self, letters: u32, opens: bool, dice: &mut Dice) -> &str {
        pick(self.bins(opens).nearest(letters as usize), dice)
    }

    /// A word of everyday length.
    pub(super) fn everyday(&self, opens: bool, dice: &mut Dice) -> &str {
        pick(&self.bins(opens).everyday, dice)
    }

    /// The commonest of the shortest words: for a place that is too narrow to choose.
    pub(super) fn shortest(&self, opens: bool) -> &str {
        let shortest = self.bins(opens).nearest(1).first();
        shortest.map_or("a", AsRef::as_ref)
    }

    fn bins(&self, opens: bool) -> &Bins {
        if opens { &self.openers } else { &self.inner }
    }
}

impl Bins {
    /// What `choose` takes of each length and of the everyday ones.
    fn chosen(&self, choose: impl Fn(&[Box<str>]) -> Vec<Box<str>>) -> Self {
        Self {
            by_length: self.by_length.iter().map(|words| choose(words)).collect(),
            everyday: choose(&self.everyday),
        }
    }

    /// The commonest that `opens` says; where it says none at all, any may.
    fn openers(&self, opens: impl Fn(&str) -> bool) -> Self {
        let mut openers = self.chosen(|words| head(words.iter().filter(|word| opens(word))));
        if openers.by_length.iter().all(Vec::is_empty) {
            return self.chosen(|words| head(words.iter()));
        }
        if openers.everyday.is_empty() {
            openers.everyday = openers.by_length.iter().flatten().cloned().collect();
        }
        openers
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let all = self.by_length.iter().chain([&self.everyday]);
        all.flatten().map(AsRef::as_ref)
    }

    /// The words of the nearest length that there are any of; shorter ones before longer ones.
    fn nearest(&self, letters: usize) -> &[Box<str>] {
        let shorter = (1..=letters).rev();
        let lengths = shorter.zip(letters..).flat_map(<[usize; 2]>::from);
        let longer = letters..=LONGEST as usize;
        let mut bins = { lengths.chain(longer) }.filter_map(|length| self.by_length.get(length));
        bins.find(|bin| !bin.is_empty()).map_or(&[], Vec::as_slice)
    }
}

fn head<'a, W: Clone + 'a>(words: impl Iterator<Item = &'a W>) -> Vec<W> {
    words.take(OPENERS).cloned().collect()
}

/// Takes one draw whether the word opens a message or not, so that what follows does not depend on it.
fn pick<'a>(words: &'a [Box<str>], dice: &mut Dice) -> &'a str {
    let index = dice.below(words.len() as u64);
    usize::try_from(index)
        .ok()
        .and_then(|index| words.get(index))
        .map_or("a", AsRef::as_ref)
}

static LIST: &str = include_str!("../../../fixtures/words/single_token_words.txt");
static OPENING: &str = include_str!("../../../fixtures/words/openers.txt");

#[cfg(test)]
mod tests {
    use super::super::dice::{Cache, Salt, Subject};
    use super::*;

    #[test]
    fn every_length_has_words_and_every_word_is_lower_case_letters() {
        let words = Words::house();
        for (length, bucket) in words.inner.by_length.iter().enumerate().skip(1) {
            assert!(!bucket.is_empty(), "{length} letters");
            for word in bucket {
                assert_eq!(word.len(), length);
                assert!(word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
            }
        }
        assert_eq!(LIST.lines().count(), 6085);
    }

    #[test]
    fn what_opens_a_message_is_of_every_length_and_chosen_for_it() {
        let words = Words::house();
        let openers: Vec<&str> = words
            .openers
            .by_length
            .iter()
            .flatten()
            .map(AsRef::as_ref)
            .collect();
        // There is one word of one letter.
        assert_eq!(openers, OPENING.lines().collect::<Vec<_>>());
        assert_eq!(openers.len(), 1 + 9 * OPENERS);
        assert_eq!(words.openers.everyday.len(), OPENERS);
        // As common as they are, these are two tokens at a text's beginning.
        for split in ["includ", "possible", "understand"] {
            assert!(words.all().any(|word| word == split) && !openers.contains(&split));
        }
        let fewer = words.keeping(|word| word != "government");
        let opens = |words: &Words, word: &str| words.openers.all().any(|opener| opener == word);
        assert!(opens(&words, "government") && !opens(&fewer, "government"));
        assert!(!opens(&fewer, "understand"));
        // Of one letter there is none of these: the nearest is of two.
        let own = fewer.opening(|word| word.starts_with('s'));
        assert!(own.openers.all().all(|word| word.starts_with('s')));
        assert_eq!((own.shortest(true), own.shortest(false)), ("so", "a"));
        let none = own.opening(|_| false);
        assert_eq!(none.shortest(true), "a");
    }

    #[test]
    fn a_length_without_words_is_filled_by_the_nearest_and_by_no_others() {
        let words = Words::of(["one", "two", "eight", "seventy"].into_iter());
        let mut dice = Dice::new(Salt::new(1, Cache::Fresh, 0), Subject::Tail(0));
        let mut of = |letters| words.of_length(letters, false, &mut dice).to_owned();
        assert!([1, 2, 3].map(&mut of).iter().all(|word| word.len() == 3));
        // As near as the longer one, and shorter.
        assert!(of(4).len() == 3 && of(5) == "eight" && of(6) == "eight");
        assert!(of(7) == "seventy" && of(10) == "seventy");
        assert_eq!(words.shortest(false), "one");
        assert_eq!(Words::house().shortest(true), "a");
    }
}

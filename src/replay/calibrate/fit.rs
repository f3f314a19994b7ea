//! Costs from counts.

use crate::replay::prompt::TokenCosts;

/// Words in the probes' prompts.
pub(super) const WORDS: [u64; 4] = [1, 33, 257, 1025];
/// Messages in the probes for their cost, of [`EACH`] words each.
pub(super) const MESSAGES: [u64; 3] = [1, 3, 5];
/// Words of each of several messages.
pub(super) const EACH: u64 = 11;

/// The target's counts of the probes' prompts; `None` where it did not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// One message of each of [`WORDS`].
    pub(super) words: [Option<u32>; 4],
    /// Each number of [`MESSAGES`].
    pub(super) messages: [Option<u32>; 3],
    /// A system message and a user's, of [`EACH`] words.
    pub(super) system: Option<u32>,
}

/// Tokens per word beyond these bounds are no count of words.
const SANE_PER_WORD: std::ops::RangeInclusive<f64> = 0.5..=8.0;

/// The slope over the longest prompts that the target took and counted; what is left at a middling one; and what each further
/// message adds.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "rounded token counts"
)]
pub(super) fn fit(counts: &Counts) -> TokenCosts {
    let told: Vec<(f64, f64)> = WORDS
        .into_iter()
        .zip(counts.words)
        .filter_map(|(words, count)| Some((words as f64, f64::from(count?))))
        .collect();
    let (Some(&(fewest, least)), Some(&(most, largest))) = (told.first(), told.last()) else {
        return TokenCosts::default();
    };
    let per_word = if most > fewest {
        // From the shortest that is more than a lone word, whose token may be one of the openers that differ.
        let (from, count) = told
            .get(1)
            .copied()
            .filter(|_| told.len() > 2)
            .unwrap_or((fewest, least));
        (largest - count) / (most - from)
    } else {
        // Without a slope, one word is taken for one token.
        1.0
    };
    if !SANE_PER_WORD.contains(&per_word) {
        return TokenCosts::default();
    }
    let (at, count) = told.get(1).copied().unwrap_or((fewest, least));
    let around = (count - per_word * at).round() as i64;
    let words_of_one = per_word * EACH as f64;
    let per_message = match counts.messages {
        [Some(one), _, Some(five)] => (f64::from(five) - f64::from(one)) / 4.0 - words_of_one,
        [Some(one), Some(three), None] => (f64::from(three) - f64::from(one)) / 2.0 - words_of_one,
        _ => 0.0,
    };
    let per_message = per_message.round() as i64;
    let system = match (counts.system, counts.messages[0]) {
        (Some(with), Some(one)) => {
            let more = f64::from(with) - f64::from(one) - words_of_one;
            more.round() as i64 - per_message
        }
        _ => 0,
    };
    TokenCosts {
        fixed: around - per_message,
        per_message,
        system,
        per_word,
        measured: true,
        ..TokenCosts::default()
    }
}

/// Words of a question.
pub(super) fn words(question: &super::prober::Question) -> i64 {
    let words = question
        .messages
        .iter()
        .map(|&(_, words)| words)
        .sum::<u64>();
    i64::try_from(words).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_off_the_counts() {
        let costs = fit(&Counts {
            words: [Some(8), Some(40), Some(264), Some(1032)],
            messages: [Some(18), Some(48), Some(78)],
            system: Some(23),
        });
        let expected = TokenCosts {
            fixed: 3,
            per_message: 4,
            system: -10,
            per_word: 1.0,
            measured: true,
            ..TokenCosts::default()
        };
        assert_eq!(costs, expected);
    }

    #[test]
    fn a_target_with_a_small_window_still_has_a_slope() {
        let costs = fit(&Counts {
            words: [Some(5), Some(53), None, None],
            ..Counts::default()
        });
        assert_eq!(costs.per_word, 1.5);
        assert!(costs.measured);
    }

    #[test]
    fn a_target_that_does_not_tell_is_assumed_to_count_words() {
        assert_eq!(fit(&Counts::default()), TokenCosts::default());
        assert!(!fit(&Counts::default()).measured);
        let nonsense = Counts {
            words: [None, Some(5), Some(5), Some(5)],
            ..Counts::default()
        };
        assert!(!fit(&nonsense).measured);
    }
}

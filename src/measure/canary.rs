//! How far the answers to fixed prompts with greedy decoding stay the same: idle and idle again, idle and under load, and between targets.

use serde::{Deserialize, Serialize};

use super::quality::{EvaluatedTest, Evaluation, NAMED, float, wilson};

/// What became of a target's answers to the canary's prompts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CanarySummary {
    /// Idle, and idle again: what changes without any load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<AnswerPairs>,
    /// Idle, and under the replay's load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<AnswerPairs>,
    /// The first target's and this one's, both idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<AnswerPairs>,
}

/// Answers to the same prompts, side by side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerPairs {
    /// Prompts that were answered both times.
    pub n: u64,
    /// Of them, with the very same answer.
    pub identical: u64,
    /// Their share.
    pub identical_rate: f64,
    /// Its 95 % interval (Wilson 1927).
    pub identical_rate_ci95: (f64, f64),
    /// Mean distance of the two answers, over all pairs: edits of words that lead from one to the other (Levenshtein 1966), as a share of
    /// the longer one's words.
    pub distance_mean: f64,
    /// The largest of them.
    pub distance_max: f64,
    /// Prompts whose answers differ; at most a hundred are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// Puts a target's answers side by side; `first` is what the first target answered while it was idle, where this is another. `None` where
/// no answers were kept, as by other evaluators.
pub fn canary(
    idle: Option<&Evaluation>,
    loaded: Option<&Evaluation>,
    first: Option<&Evaluation>,
) -> Option<CanarySummary> {
    let idle = idle?;
    let of = |go: &Evaluation| pairs(idle, |id| answer(go, id)?.answer.as_deref());
    let summary = CanarySummary {
        idle: pairs(idle, |id| answer(idle, id)?.answer_again.as_deref()),
        loaded: loaded.and_then(of),
        first: first.and_then(of),
    };
    (summary != CanarySummary::default()).then_some(summary)
}

fn answer<'a>(go: &'a Evaluation, id: &str) -> Option<&'a EvaluatedTest> {
    go.tests.iter().find(|test| test.id == id)
}

fn pairs<'a>(
    idle: &'a Evaluation,
    other: impl Fn(&str) -> Option<&'a [u64]>,
) -> Option<AnswerPairs> {
    let mut pairs = AnswerPairs::default();
    let mut sum = 0.0;
    for test in &idle.tests {
        let Some((one, other)) = test.answer.as_deref().zip(other(&test.id)) else {
            continue;
        };
        pairs.n += 1;
        if one == other {
            pairs.identical += 1;
            continue;
        }
        let distance = distance(one, other);
        sum += distance;
        pairs.distance_max = pairs.distance_max.max(distance);
        if pairs.changed.len() < NAMED {
            pairs.changed.push(test.id.clone());
        }
    }
    if pairs.n == 0 {
        return None;
    }
    let n = float(pairs.n);
    pairs.identical_rate = float(pairs.identical) / n;
    pairs.identical_rate_ci95 = wilson(float(pairs.identical), n);
    pairs.distance_mean = sum / n;
    Some(pairs)
}

/// Insertions, deletions and replacements that lead from one to the other, as a share of the longer one (Levenshtein 1966, by Wagner and
/// Fischer's row at a time).
fn distance(one: &[u64], other: &[u64]) -> f64 {
    let longer = one.len().max(other.len());
    if longer == 0 {
        return 0.0;
    }
    let mut row: Vec<u64> = (0..).take(other.len() + 1).collect();
    for (word, deleted) in one.iter().zip(1..) {
        let mut before = deleted - 1;
        let mut left = deleted;
        for (cell, there) in row.iter_mut().skip(1).zip(other) {
            let above = *cell;
            let replaced = before + u64::from(word != there);
            left = replaced.min(above + 1).min(left + 1);
            before = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = deleted;
        }
    }
    row.last()
        .map_or(0.0, |edits| float(*edits) / float(longer as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prompt's id, its answer, and the second one where there was one.
    type Answers<'a> = (&'a str, &'a [u64], Option<&'a [u64]>);

    fn go(answers: &[Answers<'_>]) -> Evaluation {
        let tests = answers.iter().map(|(id, answer, again)| EvaluatedTest {
            id: (*id).to_owned(),
            answer: Some(answer.to_vec()),
            answer_again: again.map(<[u64]>::to_vec),
            ..EvaluatedTest::default()
        });
        Evaluation {
            tests: tests.collect(),
            ..Evaluation::default()
        }
    }

    #[test]
    fn a_distance_is_the_share_of_words_that_must_be_edited() {
        for (one, other, share) in [
            (&[1, 2, 3, 4][..], &[1, 2, 3, 4][..], 0.0),
            (&[1, 2, 3, 4], &[1, 9, 3, 4], 0.25),
            (&[1, 2, 3, 4], &[2, 3, 4], 0.25),
            (&[1, 2], &[3, 4, 5, 6], 1.0),
            (&[], &[3], 1.0),
            (&[], &[], 0.0),
            // kitten and sitting: three edits, as in every textbook.
            (
                &[11, 9, 20, 20, 5, 14],
                &[19, 9, 20, 20, 9, 14, 7],
                3.0 / 7.0,
            ),
        ] {
            assert!(
                (distance(one, other) - share).abs() < 1e-9,
                "{one:?} {other:?}"
            );
            assert!(
                (distance(other, one) - share).abs() < 1e-9,
                "{other:?} {one:?}"
            );
        }
    }

    #[test]
    fn answers_are_compared_where_both_were_given() {
        let idle = go(&[
            ("a", &[1, 2], Some(&[1, 2])),
            ("b", &[1, 2], Some(&[1, 3])),
            ("c", &[7], None),
        ]);
        let loaded = go(&[("a", &[1, 2], None), ("b", &[9, 8], None)]);
        let told = canary(Some(&idle), Some(&loaded), None).unwrap();
        let again = told.idle.unwrap();
        assert_eq!((again.n, again.identical, again.distance_max), (2, 1, 0.5));
        let under = told.loaded.unwrap();
        assert_eq!((under.n, under.identical), (2, 1));
        assert_eq!(
            (under.distance_mean, under.changed.join("")),
            (0.5, "b".to_owned())
        );
        assert!(under.identical_rate_ci95.0 > 0.0 && under.identical_rate_ci95.1 < 1.0);
        assert_eq!(told.first, None);
    }

    #[test]
    fn evaluators_that_keep_no_answers_have_no_canary() {
        let plain = Evaluation {
            tests: vec![EvaluatedTest::default()],
            ..Evaluation::default()
        };
        assert_eq!(canary(Some(&plain), Some(&plain), Some(&plain)), None);
        assert_eq!(canary(None, Some(&plain), None), None);
    }
}

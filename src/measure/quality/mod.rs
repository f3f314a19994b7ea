//! What an evaluator says of a target while it is idle, and again under the replay's load.

mod compare;
mod paired;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::canary::CanarySummary;
pub use paired::PairedFigure;
use paired::mean_ci95;

/// What an evaluator found in one go. It holds ids and figures, and nothing of prompts or answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// Each test.
    pub tests: Vec<EvaluatedTest>,
    /// Seconds that it took.
    pub took_s: f64,
    /// Why it tells nothing, or less than it should.
    pub problem: Option<String>,
    /// What to know of it, which holds all the same.
    pub remarks: Vec<String>,
    /// Requests that the target was sent for it, where they were counted.
    pub requests: Option<u64>,
    /// Of them, those that the target refused with 429; the evaluator repeated them by itself.
    pub refused: Option<u64>,
}

/// One test of an evaluator.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvaluatedTest {
    /// What tells it from the others, the same in every go.
    pub id: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// Its score, where it has one.
    pub score: Option<f64>,
    /// How long its answer took, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Its assertions: kind, and whether it held.
    pub checks: Vec<(String, bool)>,
    /// Hashes of its answer's words, where answers are compared.
    pub answer: Option<Vec<u64>>,
    /// The same of a second answer.
    pub answer_again: Option<Vec<u64>>,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TestOutcome {
    /// Every assertion held.
    Passed,
    /// One did not.
    Failed,
    /// There was no answer to judge.
    #[default]
    Error,
}

/// Quality of a target's answers, idle and under load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QualitySummary {
    /// Who judged: `promptfoo`, `cmd`, `canary`.
    pub evaluator: String,
    /// While nothing was replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<PhaseQuality>,
    /// While the replay ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<PhaseQuality>,
    /// Pass rate under load less that of idle, over the tests of both, as a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<f64>,
    /// Its 95 % interval, paired by test (Agresti and Min 2005).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_ci95: Option<(f64, f64)>,
    /// Tests that passed idle and did not under load; at most a hundred are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worsened: Vec<String>,
    /// Tests that passed under load only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub improved: Vec<String>,
    /// How many worsened and improved.
    pub flips: (u64, u64),
    /// Mean score of the tests that have one idle and under load; intervals are Student's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<PairedFigure>,
    /// Median of what answers took, in milliseconds, over the tests that have an answer idle and under load; absent where the target refused
    /// some. Intervals are of order statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<PairedFigure>,
    /// The same of the tests with an assertion of each kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latency_by_check_ms: BTreeMap<String, PairedFigure>,
    /// What each test's answer took, those that changed most first; at most a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latencies: Vec<TestLatency>,
    /// Share of the evaluation under load during which the replay ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<f64>,
    /// How far answers to fixed prompts stayed the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySummary>,
    /// Why there is less than there should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What to know of the figures, which hold all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// What a test's answer took, by the evaluator's own clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestLatency {
    /// The test.
    pub id: String,
    /// While nothing was replayed, in milliseconds.
    pub idle_ms: f64,
    /// Under load, in milliseconds.
    pub loaded_ms: f64,
}

/// One go of an evaluator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseQuality {
    /// Tests.
    pub n: u64,
    /// Of them, passed.
    pub passed: u64,
    /// Of them, failed an assertion.
    pub failed: u64,
    /// Of them, got no answer that could be judged. They count as not passed.
    pub errors: u64,
    /// Share that passed.
    pub pass_rate: f64,
    /// Its 95 % interval (Wilson 1927).
    pub pass_rate_ci95: (f64, f64),
    /// Mean of the scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_mean: Option<f64>,
    /// Its 95 % interval (Student's); absent of a single score, and of scores that are all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_mean_ci95: Option<(f64, f64)>,
    /// Median of what its answers took, in milliseconds, by the evaluator's own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<f64>,
    /// The largest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_max_ms: Option<f64>,
    /// Assertions by kind: how many, and how many held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<String, (u64, u64)>,
    /// Seconds that it took.
    pub took_s: f64,
    /// Requests that the target was sent for it, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Of them, those that the target refused with 429. The evaluator sent them again by itself, so its latencies hold the waits and are
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

/// Puts the goes of an evaluator side by side. `overlap`: the share of the one under load during which the replay ran.
pub fn quality(
    evaluator: &str,
    idle: Option<&Evaluation>,
    loaded: Option<&Evaluation>,
    overlap: Option<f64>,
) -> QualitySummary {
    let mut summary = QualitySummary {
        evaluator: evaluator.to_owned(),
        idle: idle.and_then(phase),
        loaded: loaded.and_then(phase),
        overlap: overlap.filter(|_| loaded.is_some()),
        ..QualitySummary::default()
    };
    for (go, when) in [(idle, "idle"), (loaded, "under load")] {
        let problem = go.and_then(|go| go.problem.as_ref());
        summary
            .problems
            .extend(problem.map(|problem| format!("{when}: {problem}")));
        let remarks = go.into_iter().flat_map(|go| &go.remarks);
        summary
            .remarks
            .extend(remarks.map(|remark| format!("{when}: {remark}")));
        let refused = go.and_then(|go| go.refused.filter(|refused| *refused > 0));
        summary.remarks.extend(refused.map(|refused| {
            format!(
                "{when}: the target refused {refused} requests (429), which the evaluator repeated by itself; its latencies hold the waits, and so do its assertions on latency"
            )
        }));
    }
    if let (Some(idle), Some(loaded)) = (idle, loaded) {
        compare::compare(&mut summary, idle, loaded);
    }
    if let Some(overlap) = overlap.filter(|overlap| *overlap < ENOUGH && loaded.is_some()) {
        summary.problems.push(format!(
            "under load: the replay ran during {:.0} % of it; a longer trace or --loop-for covers it",
            overlap * 100.0
        ));
    }
    summary
}

/// Whether the target refused some of its requests, so that its latencies hold waits.
fn waited(evaluation: &Evaluation) -> bool {
    evaluation.refused.is_some_and(|refused| refused > 0)
}

/// `None` where no test was run.
fn phase(evaluation: &Evaluation) -> Option<PhaseQuality> {
    let tests = &evaluation.tests;
    if tests.is_empty() {
        return None;
    }
    let count = |outcome| {
        let of_it = tests.iter().filter(|test| test.outcome == outcome);
        of_it.count() as u64
    };
    let (n, passed) = (tests.len() as u64, count(TestOutcome::Passed));
    let scores: Vec<f64> = tests.iter().filter_map(|test| test.score).collect();
    let waited = waited(evaluation);
    let latencies = tests.iter().filter_map(|test| test.latency_ms);
    let mut latencies: Vec<f64> = latencies.filter(|_| !waited).collect();
    latencies.sort_by(f64::total_cmp);
    let mut checks: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (kind, held) in tests.iter().flat_map(|test| &test.checks) {
        let of_kind = checks.entry(kind.clone()).or_default();
        of_kind.0 += 1;
        of_kind.1 += u64::from(*held);
    }
    Some(PhaseQuality {
        n,
        passed,
        failed: count(TestOutcome::Failed),
        errors: count(TestOutcome::Error),
        pass_rate: float(passed) / float(n),
        pass_rate_ci95: wilson(float(passed), float(n)),
        score_mean: (!scores.is_empty())
            .then(|| scores.iter().sum::<f64>() / float(scores.len() as u64)),
        score_mean_ci95: mean_ci95(&scores),
        latency_p50_ms: latencies
            .get(latencies.len().saturating_sub(1) / 2)
            .copied(),
        latency_max_ms: latencies.last().copied(),
        checks,
        took_s: evaluation.took_s,
        requests: evaluation.requests,
        refused: evaluation.refused,
    })
}

/// The 95 % score interval of a share (Wilson, *JASA* 22, 1927).
pub(super) fn wilson(passed: f64, n: f64) -> (f64, f64) {
    let (share, z2) = (passed / n, Z * Z);
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

const Z: f64 = 1.959_964;
/// Tests that are named.
pub(super) const NAMED: usize = 100;
/// An evaluation of which the replay covered less was not one under load.
const ENOUGH: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(outcomes: &[(&str, TestOutcome)]) -> Evaluation {
        let test = |&(id, outcome): &(&str, TestOutcome)| EvaluatedTest {
            id: id.to_owned(),
            outcome,
            latency_ms: Some(10.0),
            checks: vec![("contains".to_owned(), outcome == TestOutcome::Passed)],
            ..EvaluatedTest::default()
        };
        Evaluation {
            tests: outcomes.iter().map(test).collect(),
            took_s: 1.0,
            ..Evaluation::default()
        }
    }

    use TestOutcome::{Error, Failed, Passed};

    #[test]
    fn what_flipped_is_named_and_errors_are_not_passes() {
        let idle = evaluation(&[("a", Passed), ("b", Passed), ("c", Failed), ("d", Passed)]);
        let loaded = evaluation(&[("a", Passed), ("b", Error), ("c", Passed), ("d", Failed)]);
        let told = quality("promptfoo", Some(&idle), Some(&loaded), Some(1.0));
        assert_eq!(
            (told.worsened.join(""), told.improved.join("")),
            ("bd".to_owned(), "c".to_owned())
        );
        assert_eq!(told.flips, (2, 1));
        assert_eq!(told.change, Some(-0.25));
        let phase = told.loaded.unwrap();
        assert_eq!(
            (phase.n, phase.passed, phase.failed, phase.errors),
            (4, 2, 1, 1)
        );
        assert_eq!(phase.checks["contains"], (4, 2));
        let (low, high) = told.change_ci95.unwrap();
        assert!(low < -0.25 && high > -0.25 && low >= -1.0, "{low} {high}");
        assert!(told.problems.is_empty(), "{:?}", told.problems);
    }

    #[test]
    fn latencies_that_hold_silent_repeats_are_none() {
        let idle = evaluation(&[("a", Passed)]);
        let loaded = Evaluation {
            requests: Some(4),
            refused: Some(3),
            ..idle.clone()
        };
        let told = quality("promptfoo", Some(&idle), Some(&loaded), Some(1.0));
        assert_eq!(told.idle.unwrap().latency_p50_ms, Some(10.0));
        let phase = told.loaded.unwrap();
        assert_eq!((phase.latency_p50_ms, phase.latency_max_ms), (None, None));
        assert!(
            told.remarks[0].contains("refused 3 requests (429)"),
            "{:?}",
            told.remarks
        );
        assert!(told.problems.is_empty());
    }

    #[test]
    fn intervals_are_those_of_the_books() {
        // Wilson's for 81 of 263 (Newcombe 1998, table I): 0.2553 to 0.3662.
        let (low, high) = wilson(81.0, 263.0);
        assert!(
            (low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4,
            "{low} {high}"
        );
        assert!(wilson(10.0, 10.0).1 > 0.999_999);
    }

    #[test]
    fn what_was_not_under_load_or_not_the_same_is_told() {
        let one = evaluation(&[("a", Passed)]);
        let other = evaluation(&[("b", Passed)]);
        let told = quality("cmd", Some(&one), Some(&other), Some(0.4));
        assert_eq!(told.change, None);
        assert!(
            told.problems[0].contains("other tests"),
            "{:?}",
            told.problems
        );
        assert!(told.problems[1].contains("40 %"), "{:?}", told.problems);
        let broken = Evaluation {
            problem: Some("promptfoo is not installed".to_owned()),
            ..Evaluation::default()
        };
        let told = quality("promptfoo", Some(&broken), None, None);
        assert_eq!((told.idle, told.loaded), (None, None));
        assert_eq!(told.problems, ["idle: promptfoo is not installed"]);
    }

    #[test]
    fn tests_of_one_name_stand_beside_each_other_in_their_order() {
        let both = evaluation(&[("a", Failed), ("a", Passed)]);
        let told = quality("cmd", Some(&both), Some(&both), Some(1.0));
        assert_eq!((told.flips, told.change), ((0, 0), Some(0.0)));
        assert!(told.problems.is_empty(), "{:?}", told.problems);
        let fewer = evaluation(&[("a", Failed)]);
        let told = quality("cmd", Some(&both), Some(&fewer), Some(1.0));
        assert_eq!(told.problems.len(), 1, "{:?}", told.problems);
    }
}

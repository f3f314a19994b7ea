//! What changed from idle to load, test by test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::paired::{paired_means, paired_medians};
use super::{
    EvaluatedTest, Evaluation, NAMED, QualitySummary, TestLatency, TestOutcome, Z, float, waited,
};

/// Puts what changed from idle to load into a summary: outcomes, scores, latencies.
pub(super) fn compare(summary: &mut QualitySummary, idle: &Evaluation, loaded: &Evaluation) {
    let pairs = pairs(idle, loaded);
    if pairs.len() != idle.tests.len() || pairs.len() != loaded.tests.len() {
        let what = "the evaluator ran other tests under load than idle; those of both are compared";
        summary.problems.push(what.to_owned());
    }
    compare_outcomes(summary, &pairs);
    summary.score = paired_means(&both(&pairs, |test| test.score));
    if !waited(idle) && !waited(loaded) {
        compare_latencies(summary, &pairs);
    }
}

fn compare_outcomes(summary: &mut QualitySummary, pairs: &[(&EvaluatedTest, &EvaluatedTest)]) {
    let passed = |test: &EvaluatedTest| test.outcome == TestOutcome::Passed;
    for (idle, loaded) in pairs {
        let (names, flips) = match (passed(idle), passed(loaded)) {
            (true, false) => (&mut summary.worsened, &mut summary.flips.0),
            (false, true) => (&mut summary.improved, &mut summary.flips.1),
            _ => continue,
        };
        *flips += 1;
        if names.len() < NAMED {
            names.push(loaded.id.clone());
        }
    }
    if !pairs.is_empty() {
        let n = float(pairs.len() as u64);
        let (worse, better) = (float(summary.flips.0), float(summary.flips.1));
        summary.change = Some((better - worse) / n);
        summary.change_ci95 = Some(paired_interval(better, worse, n));
    }
}

/// The tests of both goes. Of several of one name, the n-th of one go stands beside the n-th of the other.
fn pairs<'a>(
    idle: &'a Evaluation,
    loaded: &'a Evaluation,
) -> Vec<(&'a EvaluatedTest, &'a EvaluatedTest)> {
    let mut before: BTreeMap<&str, VecDeque<&EvaluatedTest>> = BTreeMap::new();
    for test in &idle.tests {
        before.entry(&test.id).or_default().push_back(test);
    }
    let tests = loaded.tests.iter();
    tests
        .filter_map(|test| Some((before.get_mut(test.id.as_str())?.pop_front()?, test)))
        .collect()
}

/// A figure of those tests that have it idle and under load.
fn both(
    pairs: &[(&EvaluatedTest, &EvaluatedTest)],
    figure: impl Fn(&EvaluatedTest) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let pairs = pairs.iter();
    pairs
        .filter_map(|(idle, loaded)| figure(idle).zip(figure(loaded)))
        .collect()
}

fn compare_latencies(summary: &mut QualitySummary, pairs: &[(&EvaluatedTest, &EvaluatedTest)]) {
    // What an error took is no answer's time.
    let answered = |test: &EvaluatedTest| {
        let answered = test.outcome != TestOutcome::Error;
        test.latency_ms.filter(|_| answered)
    };
    summary.latency_ms = paired_medians(&both(pairs, answered));
    let kinds: BTreeSet<&str> = pairs
        .iter()
        .flat_map(|(_, test)| test.checks.iter().map(|(kind, _)| kind.as_str()))
        .collect();
    for kind in kinds {
        let of_kind = |test: &EvaluatedTest| {
            let has = test.checks.iter().any(|(one, _)| one == kind);
            answered(test).filter(|_| has)
        };
        if let Some(figure) = paired_medians(&both(pairs, of_kind)) {
            summary.latency_by_check_ms.insert(kind.to_owned(), figure);
        }
    }
    let latencies = pairs.iter().filter_map(|(idle, loaded)| {
        Some(TestLatency {
            id: loaded.id.clone(),
            idle_ms: answered(idle)?,
            loaded_ms: answered(loaded)?,
        })
    });
    summary.latencies = latencies.collect();
    let change = |test: &TestLatency| (test.loaded_ms - test.idle_ms).abs();
    summary
        .latencies
        .sort_by(|a, b| change(b).total_cmp(&change(a)));
    summary.latencies.truncate(NAMED);
}

/// The 95 % interval of a difference of two paired shares: half a test is added to each of the four cells, then Wald's
/// (Agresti and Min, *Statistics in Medicine* 24, 2005).
fn paired_interval(better: f64, worse: f64, n: f64) -> (f64, f64) {
    let (better, worse, n) = (better + 0.5, worse + 0.5, n + 2.0);
    let change = (better - worse) / n;
    let half = Z * ((better + worse) / n - change * change).max(0.0).sqrt() / n.sqrt();
    ((change - half).max(-1.0), (change + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::quality;

    #[test]
    fn scores_and_latencies_are_compared_test_by_test() {
        let go = |factor: f64, late: f64, n: u32| {
            let tests = (0..n)
                .map(|i| EvaluatedTest {
                    id: format!("t{i}"),
                    outcome: match i {
                        9 => TestOutcome::Error,
                        _ => TestOutcome::Passed,
                    },
                    score: Some(factor * f64::from(i % 3)),
                    latency_ms: Some(10.0 * f64::from(i) + late * f64::from(i + 1)),
                    checks: vec![(if i < 8 { "contains" } else { "latency" }.to_owned(), true)],
                    ..EvaluatedTest::default()
                })
                .collect();
            Evaluation {
                tests,
                ..Evaluation::default()
            }
        };
        let (idle, loaded) = (go(1.0, 0.0, 12), go(0.5, 5.0, 12));
        let told = quality("promptfoo", Some(&idle), Some(&loaded), Some(1.0));
        let score = told.score.unwrap();
        assert_eq!(
            (score.n, score.idle, score.loaded, score.change),
            (12, 1.0, 0.5, -0.5)
        );
        let (low, high) = score.change_ci95.unwrap();
        assert!(low < -0.5 && -0.5 < high && high < 0.0, "{low} {high}");
        assert!(told.loaded.unwrap().score_mean_ci95.is_some());
        let latency = told.latency_ms.unwrap();
        assert_eq!(latency.n, 11, "an error has no latency");
        assert_eq!(
            (latency.idle, latency.loaded, latency.change),
            (50.0, 80.0, 30.0)
        );
        let (low, high) = latency.change_ci95.unwrap();
        assert!(
            low >= 5.0 && (low..=60.0).contains(&high) && low < 30.0 && high > 30.0,
            "{low} {high}"
        );
        let kinds = &told.latency_by_check_ms;
        assert_eq!(kinds["contains"].n, 8);
        assert_eq!(
            (kinds["latency"].n, kinds["latency"].change_ci95),
            (3, None)
        );
        assert_eq!(
            (told.latencies[0].id.as_str(), told.latencies.len()),
            ("t11", 11)
        );

        let refused = Evaluation {
            refused: Some(1),
            ..loaded
        };
        let told = quality("promptfoo", Some(&idle), Some(&refused), Some(1.0));
        assert!(told.latency_ms.is_none() && told.latencies.is_empty());
        assert!(told.latency_by_check_ms.is_empty() && told.score.is_some());
    }

    #[test]
    fn no_flip_is_still_an_interval() {
        let (low, high) = paired_interval(0.0, 0.0, 20.0);
        assert!(low < 0.0 && high > 0.0 && high < 0.15, "{low} {high}");
    }
}

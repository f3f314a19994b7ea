//! Two targets beside each other: ratios of quantiles with intervals, the whole shift, and whether the comparison is one at all.

mod bootstrap;
mod decision;
mod load;
mod sample;
mod shift;
#[cfg(test)]
mod simulation;
mod strata;

use std::collections::BTreeMap;

use serde::Serialize;

use bootstrap::Column;
use decision::Ratio;
use sample::Values;

pub use decision::ComparisonVerdict;
pub use load::LoadRatio;
pub use sample::RunSample;
pub use shift::ShiftPoint;
pub use strata::Stratum;

/// One side of a comparison: its name and its runs, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its name in results.
    pub name: &'a str,
    /// Its runs; the n-th is compared with the n-th of the other side.
    pub runs: &'a [RunSample],
}

/// How two targets are compared; declared before the runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompareOptions {
    /// A ratio within 1 ± this is no difference.
    pub margin: f64,
    /// What resampling draws with.
    pub seed: u64,
    /// Resamples.
    pub resamples: usize,
    /// Whether both sides must have been under the same load; production's own figures are not held to that.
    pub same_load: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            margin: 0.05,
            seed: 0,
            resamples: 2000,
            same_load: true,
        }
    }
}

/// One target beside the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The target.
    pub target: String,
    /// What it is compared with.
    pub baseline: String,
    /// Runs of each that were compared.
    pub runs: u64,
    /// Requests that both answered or failed, over all runs.
    pub pairs: u64,
    /// The tolerance, declared beforehand: a ratio within 1 ± this is no difference.
    pub margin: f64,
    /// What the intervals speak of.
    pub scope: String,
    /// The load that the two were under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadRatio>,
    /// By metric and statistic, `ttft.p99` and the like.
    pub metrics: BTreeMap<String, MetricComparison>,
    /// By metric: how much each quantile is shifted.
    pub shift: BTreeMap<String, Vec<ShiftPoint>>,
    /// Paired differences by prompt size and concurrency, where the baseline is production.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strata: Vec<Stratum>,
}

/// One figure of two targets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricComparison {
    /// The baseline's, in milliseconds; absent where it lies among its failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_ms: Option<f64>,
    /// The target's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ms: Option<f64>,
    /// Target over baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// 95 % interval of the ratio: paired bootstrap over conversations nested in runs. No upper end where it reaches into the target's
    /// failures; absent where all of it lies there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_ci95: Option<(f64, Option<f64>)>,
    /// What the interval says against the margin.
    pub verdict: ComparisonVerdict,
    /// How many more runs of each would decide, where it is not decided and some number would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_runs: Option<u64>,
}

/// One of a request's values.
type Figure = fn(&Values) -> Option<f32>;

/// The metrics that are compared, as objectives name them.
const METRICS: [(&str, Figure); 4] = [
    ("ttft", |values| values.ttft),
    ("tpot", |values| values.tpot),
    ("e2e", |values| values.e2e),
    ("stall", |values| values.stall),
];

/// The quantiles that are looked at, rising: deciles for the shift, the tail for verdicts.
const QUANTILES: [f64; 11] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
/// Those of them that get a verdict: (label, index).
const JUDGED: [(&str, usize); 3] = [("p50", 4), ("p95", 9), ("p99", 10)];

/// Compares a target with the baseline over the requests that both have, run by run (the n-th with the n-th).
///
/// A failed request is infinitely late and never drops out. With one run of each the intervals speak of this trace and this run
/// alone: requests that wait in one queue are correlated, and only further runs show how much a figure varies
/// (docs/comparing.md).
pub fn compare(baseline: Side<'_>, target: Side<'_>, options: &CompareOptions) -> Comparison {
    let runs = baseline.runs.len().min(target.runs.len());
    let load = options
        .same_load
        .then(|| LoadRatio::of(baseline.runs, target.runs))
        .flatten();
    let unlike = load.as_ref().is_some_and(|load| load.differs);
    let (mut metrics, mut shift) = (BTreeMap::new(), BTreeMap::new());
    let mut pairs = 0;
    for (name, value) in METRICS {
        let column = column(baseline.runs, target.runs, value);
        pairs = pairs.max(column.pairs());
        let Some(resampled) = column.resample(&QUANTILES, options.resamples, options.seed) else {
            continue;
        };
        for (label, index) in JUDGED {
            let (Some(&observed), Some(resamples)) = (
                resampled.observed.get(index),
                resampled.resamples.get(index),
            ) else {
                continue;
            };
            let ratio = Ratio::of(observed, resamples, runs);
            metrics.insert(
                format!("{name}.{label}"),
                metric(observed, ratio, runs, options.margin, unlike),
            );
        }
        shift.insert(name.to_owned(), shift::points(&QUANTILES, &resampled, runs));
    }
    Comparison {
        target: target.name.to_owned(),
        baseline: baseline.name.to_owned(),
        runs: runs as u64,
        pairs: pairs as u64,
        margin: options.margin,
        scope: match runs {
            0 | 1 => "this trace, this run".to_owned(),
            runs => format!("this trace, {runs} runs of each"),
        },
        load,
        metrics,
        shift,
        strata: Vec::new(),
    }
}

/// Compares a target with what production felt when the trace was recorded, request by request with its twin; also by prompt size and by concurrency.
pub fn compare_with_recorded(
    recorded: &[RunSample],
    target: Side<'_>,
    options: &CompareOptions,
) -> Comparison {
    let baseline = Side {
        name: RECORDED,
        runs: recorded,
    };
    let options = CompareOptions {
        same_load: false,
        ..*options
    };
    let mut comparison = compare(baseline, target, &options);
    comparison.strata = strata::strata(recorded, target.runs, &options);
    comparison
}

/// The name of production's own figures among targets.
pub const RECORDED: &str = "recorded";

fn metric(
    (baseline, target): (f64, f64),
    ratio: Ratio,
    runs: usize,
    margin: f64,
    unlike: bool,
) -> MetricComparison {
    let finite = |value: f64| value.is_finite().then_some(value);
    MetricComparison {
        baseline_ms: finite(baseline),
        target_ms: finite(target),
        ratio: finite(ratio.value),
        ratio_ci95: finite(ratio.low).map(|low| (low, finite(ratio.high))),
        verdict: if unlike {
            ComparisonVerdict::UnlikeLoad
        } else {
            ratio.verdict(margin)
        },
        more_runs: if unlike {
            None
        } else {
            ratio.more_runs(margin, runs)
        },
    }
}

/// One latency of both sides over the requests that both have, conversation by conversation, run by run.
fn column(baseline: &[RunSample], target: &[RunSample], value: Figure) -> Column {
    let mut column = Column::default();
    for (baseline, target) in baseline.iter().zip(target) {
        column.open_run();
        let mut clusters: BTreeMap<u64, Vec<(f32, f32)>> = BTreeMap::new();
        for (index, target) in &target.values {
            let both = baseline
                .values
                .get(index)
                .and_then(|baseline| Some((value(baseline)?, value(target)?)));
            if let Some(pair) = both {
                clusters.entry(target.cluster).or_default().push(pair);
            }
        }
        for pairs in clusters.values() {
            column.add(pairs);
        }
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::target::tests::outcome;
    use crate::replay::{FailureKind, SendResult};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const OPTIONS: CompareOptions = CompareOptions {
        margin: 0.05,
        seed: 9,
        resamples: 400,
        same_load: true,
    };

    fn sample(factor: f64, seed: u64) -> RunSample {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut sample = RunSample::default();
        for i in 0..2000 {
            let base = 100_000.0 + f64::from(i as u32 % 97) * 1000.0;
            let noise = 1.0 + 0.02 * rng.random::<f64>();
            sample.record(&outcome(i, i * 1000, (base * factor * noise) as u64));
        }
        sample
    }

    fn compared(baseline: &RunSample, target: &RunSample) -> Comparison {
        let side = |name, run| Side {
            name,
            runs: std::slice::from_ref(run),
        };
        compare(side("a", baseline), side("b", target), &OPTIONS)
    }

    #[test]
    fn a_target_against_itself_is_not_worse_and_a_slower_one_is() {
        let baseline = sample(1.0, 1);
        let same = compared(&baseline, &sample(1.0, 2));
        assert_eq!(same.pairs, 2000);
        let not_worse = |metric: &MetricComparison| metric.verdict == ComparisonVerdict::NotWorse;
        assert!(same.metrics.values().all(not_worse), "{same:#?}");
        let slower = compared(&baseline, &sample(1.2, 2));
        let worse = |metric: &MetricComparison| metric.verdict == ComparisonVerdict::Worse;
        assert!(slower.metrics.values().all(worse), "{slower:#?}");
        let close = compared(&baseline, &sample(1.05, 2));
        let (low, high) = close.metrics["e2e.p50"].ratio_ci95.unwrap();
        let high = high.unwrap();
        assert!(low < 1.05 && high > 1.04 && high < 1.08, "{low} {high}");
    }

    #[test]
    fn failures_are_worse_than_any_value() {
        let baseline = sample(1.0, 1);
        let mut failing = RunSample::default();
        for i in 0..2000 {
            let mut outcome = outcome(i, i * 1000, 100_000);
            if i % 10 == 0 {
                outcome.result = SendResult::Failed(FailureKind::Reset);
            }
            failing.record(&outcome);
        }
        let compared = compared(&baseline, &failing);
        let p99 = &compared.metrics["e2e.p99"];
        assert_eq!(
            (p99.verdict, p99.target_ms),
            (ComparisonVerdict::Worse, None)
        );
    }

    #[test]
    fn a_target_that_fails_was_under_the_same_load() {
        let baseline = sample(1.0, 1);
        let mut failing = RunSample::default();
        for i in 0..2000 {
            let mut outcome = outcome(i, i * 1000, 100_000);
            if i % 10 == 0 {
                // It took no connection, or told nothing.
                outcome.sent_us = outcome.sent_us.filter(|_| i % 20 == 0);
                outcome.result = SendResult::Failed(FailureKind::Connect);
                (outcome.prompt_tokens, outcome.output_tokens) = (None, None);
            }
            failing.record(&outcome);
        }
        let compared = compared(&baseline, &failing);
        let load = compared.load.as_ref().unwrap();
        assert!(!load.differs, "{load:?}");
        assert_eq!(
            compared.metrics["e2e.p99"].verdict,
            ComparisonVerdict::Worse
        );
    }

    #[test]
    fn targets_under_different_load_get_no_verdict() {
        let baseline = sample(1.0, 1);
        // As many requests, spread over a longer time: a slow target slows its own conversations down.
        let mut spread = RunSample::default();
        for i in 0..2000 {
            spread.record(&outcome(i, i * 1030, 100_000));
        }
        let compared = compared(&baseline, &spread);
        assert!(compared.load.as_ref().unwrap().differs);
        let unlike = |metric: &MetricComparison| metric.verdict == ComparisonVerdict::UnlikeLoad;
        assert!(compared.metrics.values().all(unlike), "{compared:#?}");
    }
}

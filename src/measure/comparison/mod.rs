//! Two targets beside each other: ratios of quantiles with intervals, the whole shift, and whether the comparison is one at all.

mod bootstrap;
mod decision;
mod gaps;
mod load;
mod sample;
mod shift;
#[cfg(test)]
mod simulation;
mod strata;

use std::collections::BTreeMap;

use serde::Serialize;

use bootstrap::{Both, Column};
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
    /// Requests (of gaps between tokens: gaps) that an interval takes, where there are fewer, and so none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs_needed: Option<u64>,
    /// What the interval says against the margin.
    pub verdict: ComparisonVerdict,
    /// How many more runs of each would decide, where it is not decided and some number would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_runs: Option<u64>,
}

/// One of a request's values.
type Figure = fn(&Values) -> Option<f32>;

/// The metrics that are compared, as objectives name them, of which a request has one value. Gaps between tokens (`itl`), which are many to a
/// request, come beside them.
const METRICS: [(&str, Figure); 4] = [
    ("ttft", |values| values.ttft),
    ("tpot", |values| values.tpot),
    ("e2e", |values| values.e2e),
    ("stall", |values| values.stall),
];

/// The quantiles that are looked at, rising: deciles for the shift, the tail for verdicts.
const QUANTILES: [f64; 12] = [
    0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999,
];
/// So many of them make the shift function: few runs have requests enough for the last.
const SHIFT: usize = 11;
/// The figures that get a verdict: (label, index among the quantiles and, after them, the mean).
const JUDGED: [(&str, usize); 6] = [
    ("p50", 4),
    ("p90", 8),
    ("p95", 9),
    ("p99", 10),
    ("p99.9", 11),
    ("mean", 12),
];

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
    let columns = METRICS
        .map(|(name, value)| (name, column(baseline.runs, target.runs, value)))
        .into_iter()
        .chain([("itl", gap_column(baseline.runs, target.runs))]);
    for (name, column) in columns {
        let (has, clusters) = (column.pairs(), column.clusters());
        if name != "itl" {
            pairs = pairs.max(has);
        }
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
            // No request was answered on both sides.
            if observed.0.is_nan() || observed.1.is_nan() {
                continue;
            }
            let needed = pairs_needed(QUANTILES.get(index).copied(), has, clusters);
            let figures = metric(
                observed,
                Ratio::of(observed, resamples, runs),
                needed,
                runs,
                options.margin,
                unlike,
            );
            metrics.insert(format!("{name}.{label}"), figures);
        }
        let points = shift::points(&QUANTILES[..SHIFT], &resampled, runs);
        shift.insert(name.to_owned(), points);
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

/// Where requests are too few for an interval: how many it takes. Below 1 / (1 − q) of them, a quantile is the largest of them all, and resampling cannot
/// know what lies beyond: an interval of a nominal 95 % then leaves the truth out to either side in 6 to 8 cases of a hundred (independent
/// log-normal values), and from there on in 2 to 4. Below six conversations, no interval of a median reaches 95 % (0.5^5 > 2.5 %).
fn pairs_needed(quantile: Option<f64>, has: usize, clusters: usize) -> Option<u64> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 / (1 - q) is at most 1,000"
    )]
    let least = quantile.map_or(1, |q| (1.0 / (1.0 - q)).round() as u64);
    let (has, clusters) = (has as u64, clusters as u64);
    let least = if clusters < FEWEST_CLUSTERS {
        // As many more as it takes to have so many conversations of this size.
        least.max((FEWEST_CLUSTERS * has).div_ceil(clusters.max(1)))
    } else {
        least
    };
    (has < least).then_some(least)
}

const FEWEST_CLUSTERS: u64 = 6;

fn metric(
    (baseline, target): (f64, f64),
    ratio: Ratio,
    needed: Option<u64>,
    runs: usize,
    margin: f64,
    unlike: bool,
) -> MetricComparison {
    let finite = |value: f64| value.is_finite().then_some(value);
    // That all of the interval lies among failures needs no interval.
    let pairs_needed = needed.filter(|_| ratio.low.is_finite());
    let verdict = match (unlike, pairs_needed) {
        (true, _) => ComparisonVerdict::UnlikeLoad,
        (false, Some(_)) => ComparisonVerdict::Inconclusive,
        (false, None) => ratio.verdict(margin),
    };
    let interval = finite(ratio.low).map(|low| (low, finite(ratio.high)));
    MetricComparison {
        baseline_ms: finite(baseline),
        target_ms: finite(target),
        ratio: finite(ratio.value),
        ratio_ci95: interval.filter(|_| pairs_needed.is_none()),
        pairs_needed,
        verdict,
        more_runs: if unlike || pairs_needed.is_some() {
            None
        } else {
            ratio.more_runs(margin, runs)
        },
    }
}

/// One latency of both sides over the requests that both have, conversation by conversation, run by run.
fn column(baseline: &[RunSample], target: &[RunSample], value: Figure) -> Column {
    clustered(baseline, target, |baseline, target| {
        let both = target.values.iter().filter_map(|(index, now)| {
            let before = value(baseline.values.get(index)?)?;
            Some((now.cluster, ([before], [value(now)?])))
        });
        both.collect()
    })
}

/// The gaps between the tokens of the requests that both have.
fn gap_column(baseline: &[RunSample], target: &[RunSample]) -> Column {
    clustered(baseline, target, |baseline, target| {
        gaps::paired(baseline, target).collect()
    })
}

/// A column of what `paired` finds in each run: a cluster, and both sides' values, for each request.
fn clustered<T: AsRef<[f32]>>(
    baseline: &[RunSample],
    target: &[RunSample],
    paired: impl Fn(&RunSample, &RunSample) -> Vec<(u64, (T, T))>,
) -> Column {
    let mut column = Column::default();
    for (baseline, target) in baseline.iter().zip(target) {
        column.open_run();
        let mut clusters: BTreeMap<u64, Vec<Both<'_>>> = BTreeMap::new();
        let requests = paired(baseline, target);
        for (cluster, (before, now)) in &requests {
            let cluster = clusters.entry(*cluster).or_default();
            cluster.push((before.as_ref(), now.as_ref()));
        }
        for requests in clusters.values() {
            column.add(requests);
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
    fn gaps_between_tokens_are_compared_and_so_are_means_and_every_quantile() {
        let slower = compared(&sample(1.0, 1), &sample(1.2, 2));
        for figure in ["p50", "p90", "p95", "p99", "p99.9", "mean"] {
            for metric in ["ttft", "itl", "tpot", "e2e", "stall"] {
                let one = &slower.metrics[&format!("{metric}.{figure}")];
                assert_eq!(one.verdict, ComparisonVerdict::Worse, "{metric}.{figure}");
                let (low, high) = one.ratio_ci95.unwrap();
                assert!(low > 1.15 && high.unwrap() < 1.25, "{metric}.{figure}");
            }
        }
        assert_eq!(slower.pairs, 2000, "requests, and not gaps");
    }

    #[test]
    fn too_few_requests_have_no_interval_and_say_how_many_it_takes() {
        let few = |factor: f64, requests: u64| {
            let mut sample = RunSample::default();
            for i in 0..requests {
                let took = (100_000.0 + i as f64 * 100.0) * factor;
                sample.record(&outcome(i, i * 1000, took as u64));
            }
            sample
        };
        let twice = compared(&few(1.0, 60), &few(2.0, 60));
        let of = |figure: &str| twice.metrics[&format!("e2e.{figure}")].clone();
        assert_eq!(of("p50").verdict, ComparisonVerdict::Worse);
        assert_eq!(of("p95").verdict, ComparisonVerdict::Worse);
        for (figure, needs) in [("p99", 100), ("p99.9", 1000)] {
            let none = of(figure);
            assert_eq!(none.verdict, ComparisonVerdict::Inconclusive, "{figure}");
            assert_eq!((none.ratio_ci95, none.pairs_needed), (None, Some(needs)));
            assert!(none.ratio.is_some());
        }
        let tiny = compared(&few(1.0, 5), &few(2.0, 5));
        assert_eq!(tiny.metrics["e2e.p50"].pairs_needed, Some(6));
        // That every request failed needs no interval.
        let mut failing = RunSample::default();
        for i in 0..5 {
            let mut outcome = outcome(i, i * 1000, 100_000);
            outcome.result = SendResult::Failed(FailureKind::Reset);
            failing.record(&outcome);
        }
        let failed = compared(&few(1.0, 5), &failing);
        assert_eq!(failed.metrics["e2e.p50"].verdict, ComparisonVerdict::Worse);
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

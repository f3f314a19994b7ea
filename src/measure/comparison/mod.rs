//! Two targets beside each other: ratios of quantiles with intervals, the whole shift, and whether the comparison is one at all.

mod bootstrap;
mod cores;
mod decision;
mod gaps;
mod load;
mod sample;
mod scope;
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
pub use gaps::{GapSample, OfAnotherRun};
pub use load::{LoadRatio, Scaling};
pub use sample::RunSample;
pub use scope::Scope;
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
    /// Both were sent live traffic: there is no trace, and it does not come again.
    pub live: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            margin: 0.05,
            seed: 0,
            resamples: 2000,
            live: false,
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
    pub scope: Scope,
    /// The load that the two were under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadRatio>,
    /// What to know of it beside the figures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
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
    /// Target over baseline; absent where the target's lies among its failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// 95 % interval of the ratio: paired bootstrap over conversations nested in runs. No upper end where it reaches into the target's
    /// failures; absent where all of it lies there, or where both figures do.
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

impl MetricComparison {
    /// [`more_runs`](Self::more_runs) for another margin than the comparison's, such as that of a relative objective, of which so many
    /// `runs` were compared.
    pub fn more_runs_for(&self, margin: f64, runs: u64) -> Option<u64> {
        let (low, high) = self.ratio_ci95?;
        let ratio = Ratio {
            value: self.ratio?,
            low,
            high: high.unwrap_or(f64::INFINITY),
        };
        ratio.more_runs(margin, usize::try_from(runs).ok()?)
    }
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
    let load = LoadRatio::of(baseline.runs, target.runs);
    under(load, baseline, target, options)
}

/// The same under a load that is known.
fn under(
    load: Option<LoadRatio>,
    baseline: Side<'_>,
    target: Side<'_>,
    options: &CompareOptions,
) -> Comparison {
    let runs = baseline.runs.len().min(target.runs.len());
    let unlike = load.as_ref().is_some_and(|load| load.differs);
    let (mut metrics, mut shift) = (BTreeMap::new(), BTreeMap::new());
    let mut pairs = 0;
    // The longest first, so that it is not the last one at work.
    let columns = [("itl", None)]
        .into_iter()
        .chain(METRICS.map(|(name, value)| (name, Some(value))));
    let columns = cores::each(columns, |(name, value)| {
        let column = match value {
            Some(value) => column(baseline.runs, target.runs, value),
            None => gap_column(baseline.runs, target.runs),
        };
        let (has, clusters) = (column.pairs(), column.clusters());
        let resampled = column.resample(&QUANTILES, options.resamples, options.seed);
        (name, has, clusters, resampled)
    });
    for (name, has, clusters, resampled) in columns {
        if name != "itl" {
            pairs = pairs.max(has);
        }
        let Some(resampled) = resampled else {
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
        scope: Scope::of(options.live, runs),
        load,
        remarks: Vec::new(),
        metrics,
        shift,
        strata: Vec::new(),
    }
}

/// Compares a target with what production felt when the trace was recorded, request by request with its twin; also by prompt size and by
/// concurrency. `scaling` is what the plan made of production's load.
pub fn compare_with_recorded(
    recorded: &[RunSample],
    target: Side<'_>,
    scaling: Scaling,
    options: &CompareOptions,
) -> Comparison {
    let baseline = Side {
        name: RECORDED,
        runs: recorded,
    };
    let load = LoadRatio::of_production(target.runs, scaling);
    let mut comparison = under(load, baseline, target, options);
    comparison.strata = strata::strata(recorded, target.runs, options);
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
    // Two that are infinite have no ratio: the one may lie there for one failure of a hundred, the other for half of them.
    let comparable = baseline.is_finite() || target.is_finite();
    // That all of the interval lies among failures needs no interval.
    let pairs_needed = needed.filter(|_| comparable && ratio.low.is_finite());
    let decides = comparable && pairs_needed.is_none();
    let verdict = match (unlike, decides) {
        (true, _) => ComparisonVerdict::UnlikeLoad,
        (false, false) => ComparisonVerdict::Inconclusive,
        (false, true) => ratio.verdict(margin),
    };
    let interval = finite(ratio.low).map(|low| (low, finite(ratio.high)));
    MetricComparison {
        baseline_ms: finite(baseline),
        target_ms: finite(target),
        ratio: finite(ratio.value).filter(|_| comparable),
        ratio_ci95: interval.filter(|_| decides),
        pairs_needed,
        verdict,
        more_runs: if unlike || !decides {
            None
        } else {
            ratio.more_runs(margin, runs)
        },
    }
}

/// One latency of both sides over the requests that both have, conversation by conversation, run by run; none where a run does not tell it.
fn column(baseline: &[RunSample], target: &[RunSample], value: Figure) -> Column {
    if !all_tell(baseline, target, value) {
        return Column::default();
    }
    clustered(baseline, target, |baseline, target| {
        let both = target.values.iter().filter_map(|(index, now)| {
            let before = value(baseline.values.get(index)?)?;
            Some((now.cluster, ([before], [value(now)?])))
        });
        both.collect()
    })
}

/// Whether every run of both sides tells a latency.
fn all_tell(baseline: &[RunSample], target: &[RunSample], value: Figure) -> bool {
    baseline.iter().chain(target).all(|run| run.tells(value))
}

/// The gaps between the tokens of the requests that both have; none where a run does not tell its own.
fn gap_column(baseline: &[RunSample], target: &[RunSample]) -> Column {
    if !baseline.iter().chain(target).all(RunSample::tells_gaps) {
        return Column::default();
    }
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
mod tests;

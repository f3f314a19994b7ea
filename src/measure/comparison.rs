use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::latency::tpot_us;
use crate::replay::{RequestOutcome, SendResult};

/// Latencies of single requests, kept to compare two targets that were sent the same requests. Bounded: beyond
/// 20,000 requests every second one is left out, then every second of those left, and so on, by index alone, so two targets keep the same.
#[derive(Debug, Default)]
pub struct PairedSample {
    values: BTreeMap<u64, Values>,
    /// Only indexes that are multiples of this are kept.
    stride_log2: u32,
}

/// Milliseconds; a failure is infinite, and what was not measured is absent.
#[derive(Debug, Clone, Copy)]
struct Values {
    ttft: Option<f32>,
    tpot: Option<f32>,
    e2e: Option<f32>,
}

impl PairedSample {
    /// Adds one request; a cancelled one has nothing to compare.
    pub fn record(&mut self, outcome: &RequestOutcome) {
        if outcome.index & ((1 << self.stride_log2) - 1) != 0
            || outcome.result == SendResult::Cancelled
        {
            return;
        }
        let since = |moment: u64| milliseconds(moment.saturating_sub(outcome.intended_us));
        let failed = matches!(outcome.result, SendResult::Failed(_));
        let miss = |value: Option<f32>| if failed { Some(f32::INFINITY) } else { value };
        let streamed = |value: Option<f32>| if outcome.stream { miss(value) } else { None };
        let values = Values {
            ttft: streamed(outcome.first_token_us.map(since)),
            tpot: streamed(tpot_us(outcome).map(milliseconds)),
            e2e: miss(Some(since(outcome.end_us))),
        };
        self.values.insert(outcome.index, values);
        if self.values.len() > MOST {
            self.stride_log2 += 1;
            let mask = (1 << self.stride_log2) - 1;
            self.values.retain(|index, _| index & mask == 0);
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
    /// Requests that both answered or failed.
    pub pairs: u64,
    /// The tolerance: a ratio within 1 ± this is no difference.
    pub margin: f64,
    /// What the intervals speak of.
    pub scope: &'static str,
    /// By metric and statistic, `ttft.p99` and the like.
    pub metrics: BTreeMap<String, MetricComparison>,
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
    /// 95 % interval of the ratio: paired bootstrap over requests. No upper end where it reaches into the target's failures; absent
    /// where all of it lies there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_ci95: Option<(f64, Option<f64>)>,
    /// What the interval says against the margin.
    pub verdict: ComparisonVerdict,
}

/// What an interval says against a margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonVerdict {
    /// All of the interval is above the margin.
    Worse,
    /// All of the interval is at or below the margin.
    NotWorse,
    /// The interval holds the margin.
    Inconclusive,
}

/// Compares a target with the baseline over the requests that both have, by a seeded paired bootstrap of 1,000 resamples
/// (Efron and Tibshirani 1993, chapter 13). The interval speaks of this trace and these two runs: requests in a queue
/// are correlated, so repeat runs before generalising (docs/metrics.md).
pub fn compare(
    (baseline_name, baseline): (&str, &PairedSample),
    (target_name, target): (&str, &PairedSample),
    margin: f64,
    seed: u64,
) -> Comparison {
    let pairs: Vec<(Values, Values)> = target
        .values
        .iter()
        .filter_map(|(index, target)| Some((*baseline.values.get(index)?, *target)))
        .collect();
    let mut metrics = BTreeMap::new();
    for (name, value) in [
        (
            "ttft",
            (|values: &Values| values.ttft) as fn(&Values) -> Option<f32>,
        ),
        ("tpot", |values| values.tpot),
        ("e2e", |values| values.e2e),
    ] {
        let column: Vec<(f32, f32)> = pairs
            .iter()
            .filter_map(|(baseline, target)| Some((value(baseline)?, value(target)?)))
            .collect();
        if column.is_empty() {
            continue;
        }
        for (label, q) in [("p50", 0.5), ("p99", 0.99)] {
            metrics.insert(
                format!("{name}.{label}"),
                compare_column(&column, q, margin, seed),
            );
        }
    }
    Comparison {
        target: target_name.to_owned(),
        baseline: baseline_name.to_owned(),
        pairs: pairs.len() as u64,
        margin,
        scope: "this trace, this run",
        metrics,
    }
}

fn compare_column(column: &[(f32, f32)], q: f64, margin: f64, seed: u64) -> MetricComparison {
    let rank = rank_index(column.len(), q);
    let sides = |column: &[(f32, f32)]| {
        let mut baseline: Vec<f32> = column.iter().map(|pair| pair.0).collect();
        let mut target: Vec<f32> = column.iter().map(|pair| pair.1).collect();
        (nth(&mut baseline, rank), nth(&mut target, rank))
    };
    let (baseline, target) = sides(column);
    let finite = |value: f64| value.is_finite().then_some(value);
    let ratio_of = |(baseline, target): (f64, f64)| match (finite(baseline), finite(target)) {
        (Some(baseline), Some(target)) => target / baseline.max(f64::MIN_POSITIVE),
        (Some(_), None) => f64::INFINITY,
        (None, Some(_)) => 0.0,
        (None, None) => 1.0,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut resample = Vec::with_capacity(column.len());
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            resample.clear();
            let draws =
                (0..column.len()).filter_map(|_| column.get(rng.random_range(0..column.len())));
            resample.extend(draws);
            ratio_of(sides(&resample))
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| {
        ratios
            .get(rank_index(ratios.len(), share))
            .copied()
            .unwrap_or(1.0)
    };
    let interval = (at(0.025), at(0.975));
    let verdict = if interval.0 > 1.0 + margin {
        ComparisonVerdict::Worse
    } else if interval.1 <= 1.0 + margin {
        ComparisonVerdict::NotWorse
    } else {
        ComparisonVerdict::Inconclusive
    };
    MetricComparison {
        baseline_ms: finite(baseline),
        target_ms: finite(target),
        ratio: finite(ratio_of((baseline, target))),
        ratio_ci95: finite(interval.0).map(|low| (low, finite(interval.1))),
        verdict,
    }
}

/// Index of the `q` quantile among `count` rising values: nearest rank.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped"
)]
fn rank_index(count: usize, q: f64) -> usize {
    ((count as f64 * q).ceil() as usize).clamp(1, count.max(1)) - 1
}

fn nth(values: &mut [f32], index: usize) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let index = index.min(values.len() - 1);
    let (_, value, _) = values.select_nth_unstable_by(index, f32::total_cmp);
    f64::from(*value)
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a sample of 24 bits is enough to compare"
)]
fn milliseconds(us: u64) -> f32 {
    (us as f64 / 1000.0) as f32
}

const MOST: usize = 20_000;
const RESAMPLES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::target::tests::outcome;

    fn sample(factor: f64, seed: u64) -> PairedSample {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut sample = PairedSample::default();
        for i in 0..2000 {
            let base = 100_000.0 + f64::from(i as u32 % 97) * 1000.0;
            let noise = 1.0 + 0.02 * rng.random::<f64>();
            sample.record(&outcome(i, i * 1000, (base * factor * noise) as u64));
        }
        sample
    }

    #[test]
    fn a_target_against_itself_is_not_worse_and_a_slower_one_is() {
        let baseline = sample(1.0, 1);
        let same = compare(("a", &baseline), ("b", &sample(1.0, 2)), 0.05, 9);
        assert_eq!(same.pairs, 2000);
        assert!(
            same.metrics
                .values()
                .all(|metric| metric.verdict == ComparisonVerdict::NotWorse),
            "{same:#?}"
        );
        let slower = compare(("a", &baseline), ("b", &sample(1.2, 2)), 0.05, 9);
        assert!(
            slower
                .metrics
                .values()
                .all(|metric| metric.verdict == ComparisonVerdict::Worse),
            "{slower:#?}"
        );
        let close = compare(("a", &baseline), ("b", &sample(1.05, 2)), 0.05, 9);
        let (low, high) = close.metrics["e2e.p50"].ratio_ci95.unwrap();
        let high = high.unwrap();
        assert!(low < 1.05 && high > 1.04 && high < 1.08, "{low} {high}");
    }

    #[test]
    fn failures_are_worse_than_any_value() {
        let baseline = sample(1.0, 1);
        let mut failing = PairedSample::default();
        for i in 0..2000 {
            let mut outcome = outcome(i, i * 1000, 100_000);
            if i % 10 == 0 {
                outcome.result = SendResult::Failed(crate::replay::FailureKind::Reset);
            }
            failing.record(&outcome);
        }
        let compared = compare(("a", &baseline), ("b", &failing), 0.05, 9);
        let p99 = &compared.metrics["e2e.p99"];
        assert_eq!(
            (p99.verdict, p99.target_ms),
            (ComparisonVerdict::Worse, None)
        );
    }

    #[test]
    fn a_large_sample_is_thinned_alike_on_both_sides() {
        let mut sample = PairedSample::default();
        for i in 0..100_000 {
            sample.record(&outcome(i, i, 1000));
        }
        assert!(sample.values.len() <= MOST);
        assert!(sample.values.keys().all(|index| index % 8 == 0));
    }
}

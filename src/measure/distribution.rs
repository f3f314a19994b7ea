//! One latency's values, and the figures that a result has of them.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::interval::quantile_ranks;

/// One latency's values of one target: a histogram of the successes (microseconds, 3 significant digits, up to
/// a day), and a count of the misses, which lie above all of them.
#[derive(Debug, Clone)]
pub struct Distribution {
    pub(super) histogram: Histogram<u64>,
    pub(super) misses: u64,
    pub(super) sum_us: u128,
    /// Values beyond the first of a group whose values depend on each other.
    pub(super) dependent: u64,
}

/// One latency's figures in a result document. Milliseconds. A quantile is absent where it lies among the misses (or where
/// there is nothing at all): no finite figure would be true.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Values measured.
    pub count: u64,
    /// Requests that failed, and so have no value: each counts as infinite.
    pub misses: u64,
    /// Mean of the values measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Smallest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90: Option<f64>,
    /// 95th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// 99.9th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_9: Option<f64>,
    /// Largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// 95 % intervals of the quantiles by order statistics, this trace, this run; an upper end is null where the sample is too
    /// small to have one (below 368 for a P99) or the end lies among the misses. Absent where there is no lower end either (a median of
    /// fewer than six).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ci95: Option<(f64, Option<f64>)>,
    /// Of the 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90_ci95: Option<(f64, Option<f64>)>,
    /// Of the 95th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ci95: Option<(f64, Option<f64>)>,
    /// Of the 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ci95: Option<(f64, Option<f64>)>,
    /// Of the 99.9th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_9_ci95: Option<(f64, Option<f64>)>,
}

impl LatencySummary {
    /// Takes the intervals away, where the values are not of one run and so not what the intervals speak of.
    pub(super) fn without_intervals(&mut self) {
        self.p50_ci95 = None;
        self.p90_ci95 = None;
        self.p95_ci95 = None;
        self.p99_ci95 = None;
        self.p99_9_ci95 = None;
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

impl Distribution {
    /// An empty one.
    pub fn new() -> Self {
        Self::with_digits(DIGITS)
    }

    /// An empty one of two significant digits, in an eighth of the memory: for charts.
    pub(super) fn coarse() -> Self {
        Self::with_digits(COARSE_DIGITS)
    }

    fn with_digits(digits: u8) -> Self {
        #[allow(
            clippy::expect_used,
            reason = "constants: 1 >= 1, MAX_US >= 2, and the digits are within 0..=5"
        )]
        let histogram =
            Histogram::new_with_bounds(1, MAX_US, digits).expect("the bounds are sound");
        Self {
            histogram,
            misses: 0,
            sum_us: 0,
            dependent: 0,
        }
    }

    /// A value.
    pub fn record(&mut self, us: u64) {
        self.histogram.saturating_record(us.max(1));
        self.sum_us += u128::from(us);
    }

    /// Values that depend on each other, as the gaps of one answer do: together they tell of the others as much as one does.
    pub fn record_group(&mut self, values_us: impl IntoIterator<Item = u64>) {
        let before = self.count();
        values_us.into_iter().for_each(|us| self.record(us));
        self.dependent += (self.count() - before).saturating_sub(1);
    }

    /// A request without a value, because it failed.
    pub fn miss(&mut self) {
        self.misses += 1;
    }

    /// Adds another's values, losslessly.
    pub fn add(&mut self, other: &Self) {
        // Same bounds and digits on both sides, so this cannot fail.
        let _ = self.histogram.add(&other.histogram);
        self.misses += other.misses;
        self.sum_us += other.sum_us;
        self.dependent += other.dependent;
    }

    /// Its values, in microseconds.
    pub(super) fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// Values measured.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Values and misses together.
    pub fn total(&self) -> u64 {
        self.count() + self.misses
    }

    /// How many of these are independent of each other: of each group one.
    pub(super) fn independent(&self) -> u64 {
        self.total() - self.dependent
    }

    /// The `q` quantile in milliseconds over values and misses; `None` where it lies among the misses.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let total = self.total();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rank = ((total as f64 * q).ceil() as u64).clamp(1, total.max(1));
        self.at_rank_ms(rank)
    }

    /// The `rank`-th smallest (from 1), in milliseconds.
    fn at_rank_ms(&self, rank: u64) -> Option<f64> {
        let count = self.count();
        if rank == 0 || rank > count {
            return None;
        }
        if rank == count {
            return Some(ms(self.histogram.max()));
        }
        #[allow(clippy::cast_precision_loss, reason = "ranks stay below 2^53")]
        let quantile = (rank as f64 - 0.5) / count as f64;
        Some(ms(self.histogram.value_at_quantile(quantile)))
    }

    /// The 95 % interval of the `q` quantile in milliseconds, by order statistics; an upper end is `None` where there are too few values for
    /// one or it lies among the misses, and all of it is where there is no lower end. Of a group one value counts, and the others are held to be
    /// as it: each that counts stands for as many.
    pub(super) fn interval_ms(&self, q: f64) -> Option<(f64, Option<f64>)> {
        let (total, independent) = (self.total(), self.independent());
        let ranks = quantile_ranks(independent, q)?;
        // The first of those that the lower one stands for, and the last of those that the upper one does.
        let before = |rank: u64| {
            let rank = u128::from(rank) * u128::from(total) / u128::from(independent);
            u64::try_from(rank).unwrap_or(total)
        };
        let lower = self.at_rank_ms(before(ranks.lower - 1) + 1)?;
        let upper = ranks.upper.and_then(|upper| self.at_rank_ms(before(upper)));
        Some((lower, upper))
    }

    /// The figures for a result document; `None` where nothing was recorded at all.
    pub fn summary(&self) -> Option<LatencySummary> {
        let (count, total) = (self.count(), self.total());
        if total == 0 {
            return None;
        }
        let interval = |q| self.interval_ms(q);
        #[allow(
            clippy::cast_precision_loss,
            reason = "a mean needs no more than 53 bits"
        )]
        let mean = (count > 0).then(|| self.sum_us as f64 / count as f64 / 1000.0);
        Some(LatencySummary {
            count,
            misses: self.misses,
            mean,
            min: (count > 0).then(|| ms(self.histogram.min())),
            p50: self.quantile_ms(0.5),
            p90: self.quantile_ms(0.9),
            p95: self.quantile_ms(0.95),
            p99: self.quantile_ms(0.99),
            p99_9: self.quantile_ms(0.999),
            max: self.quantile_ms(1.0),
            p50_ci95: interval(0.5),
            p90_ci95: interval(0.9),
            p95_ci95: interval(0.95),
            p99_ci95: interval(0.99),
            p99_9_ci95: interval(0.999),
        })
    }

    /// (upper edge in milliseconds, values) of logarithmic buckets, eight to the decade.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let mut buckets = Vec::new();
        let mut edge = 10.0_f64;
        for value in self.histogram.iter_recorded() {
            #[allow(clippy::cast_precision_loss, reason = "values stay below 2^53")]
            let us = value.value_iterated_to() as f64;
            while us > edge {
                edge *= 10_f64.powf(0.125);
            }
            match buckets.last_mut() {
                Some((last, count)) if *last == edge / 1000.0 => {
                    *count += value.count_since_last_iteration();
                }
                _ => buckets.push((edge / 1000.0, value.count_since_last_iteration())),
            }
        }
        buckets
    }
}

#[allow(clippy::cast_precision_loss, reason = "values stay below 2^53")]
fn ms(us: u64) -> f64 {
    // Three significant digits were kept; more decimals would only look exact.
    (us as f64 / 1000.0 * 1000.0).round() / 1000.0
}

/// Above this, values count as this: a day.
const MAX_US: u64 = 24 * 3600 * 1_000_000;
const DIGITS: u8 = 3;
const COARSE_DIGITS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn failures_stand_above_every_value() {
        let mut latency = Distribution::new();
        (1..=98).for_each(|i| latency.record(i * 1000));
        latency.miss();
        latency.miss();
        let summary = latency.summary().unwrap();
        assert_eq!((summary.count, summary.misses), (98, 2));
        assert!(
            (summary.p50.unwrap() - 50.0).abs() <= 0.05
                && (summary.p95.unwrap() - 95.0).abs() <= 0.1
        );
        assert_eq!(summary.p99, None, "rank 99 of 100 is a failure");
        assert_eq!(summary.max, None);
        assert_eq!(Distribution::new().summary(), None);
    }

    #[test]
    fn a_small_sample_has_no_upper_end() {
        let mut latency = Distribution::new();
        (1..=200).for_each(|i| latency.record(i * 1000));
        let (lower, upper) = latency.summary().unwrap().p99_ci95.unwrap();
        assert!(lower > 190.0 && upper.is_none());
        (201..=1000).for_each(|i| latency.record(i * 1000));
        let (lower, upper) = latency.summary().unwrap().p99_ci95.unwrap();
        assert!(
            (lower - 983.0).abs() <= 1.0 && (upper.unwrap() - 997.0).abs() <= 1.0,
            "{lower} {upper:?}"
        );
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_thousandth_of_the_sorted_sample(
            values in prop::collection::vec(1_u64..100_000_000, 1..400), misses in 0_u64..20,
        ) {
            let mut latency = Distribution::new();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            values.iter().for_each(|&us| latency.record(us));
            (0..misses).for_each(|_| latency.miss());
            for q in [0.5, 0.9, 0.99] {
                let rank = (latency.total() as f64 * q).ceil() as usize;
                match latency.quantile_ms(q) {
                    None => prop_assert!(rank > sorted.len()),
                    Some(found) => {
                        let truth = sorted[rank - 1] as f64 / 1000.0;
                        prop_assert!((found - truth).abs() <= truth * 0.001 + 0.001, "{} for {}", found, truth);
                    }
                }
            }
        }

        #[test]
        fn halves_add_up_to_the_whole(values in prop::collection::vec(1_u64..10_000_000, 2..200), cut in 0_usize..200) {
            let cut = cut.min(values.len());
            let fill = |values: &[u64]| {
                let mut latency = Distribution::new();
                values.iter().for_each(|&us| latency.record(us));
                latency
            };
            let mut halves = fill(&values[..cut]);
            halves.add(&fill(&values[cut..]));
            prop_assert_eq!(halves.summary(), fill(&values).summary());
        }
    }
}

//! A latency percentile by percentile, for a chart.

use serde::Serialize;

use super::distribution::Distribution;

/// A point of a latency's percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Share of requests at or below.
    pub share: f64,
    /// Milliseconds.
    pub ms: f64,
    /// Its 95 % interval by order statistics, in milliseconds, this trace, this run; an upper end is null where there are too few values for
    /// one or it lies among the failed requests. Absent where there is no lower end either, or none was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<(f64, Option<f64>)>,
}

impl Distribution {
    /// The whole curve, denser towards the tail: at most 60 points. It ends where the misses begin.
    pub fn percentile_curve(&self) -> Vec<CurvePoint> {
        self.curve(|_| None)
    }

    /// The same, each point with its interval.
    pub fn percentile_curve_with_intervals(&self) -> Vec<CurvePoint> {
        self.curve(|share| self.interval_ms(share))
    }

    fn curve(&self, ci95: impl Fn(f64) -> Option<(f64, Option<f64>)>) -> Vec<CurvePoint> {
        #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let total = self.total() as f64;
        let mut shares: Vec<f64> = (1..20).map(|i| f64::from(i) / 20.0).collect();
        let mut tail = 0.04;
        while tail * total >= 0.5 && shares.len() < MOST {
            shares.push(1.0 - tail);
            tail /= 1.6;
        }
        let point = |share| {
            Some(CurvePoint {
                share,
                ms: self.quantile_ms(share)?,
                ci95: ci95(share),
            })
        };
        shares.into_iter().filter_map(point).collect()
    }
}

/// Points of a curve; a chart has no more room.
const MOST: usize = 60;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::measure::Latencies;
    use crate::replay::{RequestOutcome, SendResult};

    #[test]
    fn a_point_has_the_interval_that_the_summary_has() {
        let mut latency = Distribution::new();
        (1..=1000).for_each(|i| latency.record(i * 1000));
        let curve = latency.percentile_curve_with_intervals();
        let summary = latency.summary().unwrap();
        let at = |share: f64| curve.iter().find(|p| (p.share - share).abs() < 1e-9);
        assert_eq!(at(0.5).unwrap().ci95, summary.p50_ci95);
        assert_eq!(at(0.9).unwrap().ci95, summary.p90_ci95);
        for point in &curve {
            let (low, high) = point.ci95.unwrap();
            assert!(low <= point.ms && high.is_none_or(|high| high >= point.ms));
        }
        assert_eq!(curve.last().unwrap().ci95.unwrap().1, None, "of 1,000");
        assert!(latency.percentile_curve().iter().all(|p| p.ci95.is_none()));
    }

    #[test]
    fn a_curve_ends_where_the_failures_begin_and_has_no_upper_end_before() {
        let mut latency = Distribution::new();
        (1..=900).for_each(|i| latency.record(i * 1000));
        (0..100).for_each(|_| latency.miss());
        let curve = latency.percentile_curve_with_intervals();
        let last = curve.last().unwrap();
        assert!((last.share - 0.9).abs() < 1e-9, "{last:?}");
        assert_eq!(last.ci95.unwrap().1, None);
    }

    /// Of an answer whose gaps are all alike each tells no more than one does: their number would make an interval that holds the truth in a
    /// quarter of the cases. Those of an answer whose client went away are as good.
    #[test]
    fn an_interval_of_gaps_counts_answers() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let (mut held, mut held_by_number) = (0, 0);
        // Uniform from 1 to 101 ms: its 90th percentile is 91.
        let holds = |ends: Option<(f64, Option<f64>)>| {
            ends.is_some_and(|(low, high)| low <= 91.0 && high.is_none_or(|high| high >= 91.0))
        };
        for _ in 0..400 {
            let (mut latencies, mut by_number) = (Latencies::default(), Distribution::new());
            for answer in 0..200 {
                let gap = rng.random_range(1_000..101_000);
                latencies.record(&RequestOutcome {
                    stream: true,
                    result: match answer % 2 {
                        0 => SendResult::Ok,
                        _ => SendResult::Cancelled,
                    },
                    first_token_us: Some(1000),
                    gaps_us: vec![gap; 40],
                    ..RequestOutcome::default()
                });
                (0..40).for_each(|_| by_number.record(gap.into()));
            }
            assert_eq!(latencies.itl.independent(), 200);
            held += u32::from(holds(latencies.itl.interval_ms(0.9)));
            held_by_number += u32::from(holds(by_number.interval_ms(0.9)));
        }
        assert!(held >= 374, "{held} of 400");
        assert!(held_by_number < 200, "{held_by_number} of 400");
    }
}

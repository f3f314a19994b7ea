use hdrhistogram::Histogram;
use serde::Serialize;

/// A distribution. Quantiles are within 0.1 % of the true ones; mean, least and largest are exact.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// Gathers values in a histogram of fixed size.
pub(super) struct Sample {
    histogram: Option<Histogram<u64>>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Sample {
    /// Values beyond this count as it in the quantiles: 2^46 µs are two years.
    const HIGHEST: u64 = 1 << 46;
    const MOST: u64 = 1 << 60;

    pub(super) fn new() -> Self {
        Self {
            // Fixed, valid bounds: this never fails.
            histogram: Histogram::new_with_bounds(1, Self::HIGHEST, 3).ok(),
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    pub(super) fn add(&mut self, value: u64) {
        self.add_n(value, 1);
    }

    pub(super) fn add_n(&mut self, value: u64, count: u64) {
        // The histogram adds counts up without looking: more than this cannot be seen in a lifetime.
        let count = count.min(Self::MOST.saturating_sub(self.count));
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record_n(value, count);
        }
        self.count += count;
        self.sum = self
            .sum
            .saturating_add(u128::from(value) * u128::from(count));
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// The distribution in units of `unit`; `None` where there were no values.
    #[allow(clippy::cast_precision_loss, reason = "for display")]
    pub(super) fn finish(self, unit: f64) -> Option<Quantiles> {
        let histogram = self.histogram.filter(|_| self.count > 0)?;
        let at = |quantile| {
            let value = histogram.value_at_quantile(quantile);
            value.clamp(self.min, self.max) as f64 / unit
        };
        Some(Quantiles {
            count: self.count,
            mean: self.sum as f64 / self.count as f64 / unit,
            min: self.min as f64 / unit,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max: self.max as f64 / unit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close_and_ends_exact() {
        let mut sample = Sample::new();
        for value in 1..=100_000 {
            sample.add(value);
        }
        let quantiles = sample.finish(1000.0).unwrap();
        assert_eq!(
            (quantiles.min, quantiles.max, quantiles.count),
            (0.001, 100.0, 100_000)
        );
        assert!((quantiles.mean - 50.0005).abs() < 1e-9);
        for (found, true_value) in [
            (quantiles.p50, 50.0),
            (quantiles.p90, 90.0),
            (quantiles.p99, 99.0),
        ] {
            assert!((found - true_value).abs() < true_value * 0.001, "{found}");
        }
        assert_eq!(Sample::new().finish(1.0), None);
    }

    #[test]
    fn extreme_values_are_taken() {
        let mut sample = Sample::new();
        sample.add_n(u64::MAX, u64::MAX);
        sample.add(0);
        assert_eq!(sample.finish(1.0).unwrap().min, 0.0);
    }
}

/// Counts of values in logarithmic buckets, eight to the decade: bucket `k` holds what is above 10^((k − 1) / 8) and at most
/// 10^(k / 8); bucket 0 holds 0 and 1. Values of 64 bits have 155 buckets.
#[derive(Debug, Clone)]
pub(super) struct LogBuckets {
    counts: [u64; BUCKETS],
}

const PER_DECADE: f64 = 8.0;
const BUCKETS: usize = 156;

impl Default for LogBuckets {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
        }
    }
}

impl LogBuckets {
    /// Adds a value `count` times.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 155 from a logarithm of at least 0"
    )]
    pub(super) fn add(&mut self, value: u64, count: u64) {
        // A hair less, so that an edge falls into the bucket that it closes whatever the last bit of its logarithm.
        let bucket = PER_DECADE * (value.max(1) as f64).log10() - 1e-9;
        if let Some(slot) = self.counts.get_mut(bucket.ceil().max(0.0) as usize) {
            *slot = slot.saturating_add(count);
        }
    }

    /// (upper edge in units of `unit`, values) by rising edge, empty buckets left out.
    pub(super) fn finish(&self, unit: f64) -> Vec<(f64, u64)> {
        (0_u32..)
            .zip(self.counts)
            .filter(|&(_, count)| count > 0)
            .map(|(bucket, count)| (10_f64.powf(f64::from(bucket) / PER_DECADE) / unit, count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(value in any::<u64>(), count in 1_u64..1000) {
            let mut buckets = LogBuckets::default();
            buckets.add(value, count);
            let found = buckets.finish(1.0);
            prop_assert_eq!(found.len(), 1);
            let (upper, counted) = found[0];
            prop_assert_eq!(counted, count);
            let value = value.max(1) as f64;
            prop_assert!(value <= upper * 1.000_001 && value > upper / 10_f64.powf(0.125) * 0.999_999 || value == 1.0);
        }
    }

    #[test]
    fn an_edge_closes_its_bucket_and_nothing_is_lost() {
        let mut buckets = LogBuckets::default();
        for value in [0, 1, 10, 100, 1000, 1001] {
            buckets.add(value, 1);
        }
        let edges: Vec<_> = buckets.finish(1.0);
        assert_eq!(edges.iter().map(|&(_, count)| count).sum::<u64>(), 6);
        assert_eq!(edges[0], (1.0, 2));
        assert!((edges[3].0 - 1000.0).abs() < 1e-6 && edges[4].0 > 1300.0);
    }
}

use serde::{Deserialize, Serialize};

use super::buckets::Buckets;
use super::counts::Counts;

/// Gaps between successive token events of one answer, as counts in log-linear buckets: 32 to the octave, so a value read
/// back is within 1.6 % of the true one. Every single gap in order would be a fingerprint of the text (see docs/privacy.md);
/// counts are not.
///
/// Bucket `b` below 32 holds the gap of exactly `b` µs. From there on, bucket `32 * (e - 4) + m` holds gaps of `e + 1`
/// significant bits whose five bits after the leading one are `m`. Integer arithmetic only, so every machine agrees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GapSketch {
    buckets: Counts,
    /// The longest gap, exact.
    longest_us: u64,
}

/// 32 buckets to the octave.
const SCALE: Buckets = Buckets::of_bits(5);

/// A list of buckets that no sketch can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "gap buckets must rise, be below {} and have counts above 0",
    GapSketch::BUCKETS
)]
pub struct GapSketchError;

impl GapSketch {
    /// Buckets there can be: gaps of up to 64 bits.
    pub const BUCKETS: u16 = SCALE.count();

    /// Counts one gap.
    pub fn record(&mut self, gap_us: u64) {
        self.longest_us = self.longest_us.max(gap_us);
        self.buckets.add(SCALE.of(gap_us), 1);
    }

    /// Rebuilds a sketch from its parts.
    ///
    /// # Errors
    /// When the buckets do not rise, are out of range, or hold a zero count.
    pub fn from_parts(buckets: Vec<(u16, u32)>, longest_us: u64) -> Result<Self, GapSketchError> {
        let buckets = Counts::of(buckets, Self::BUCKETS).ok_or(GapSketchError)?;
        Ok(Self {
            buckets,
            longest_us,
        })
    }

    /// A sketch of `count` gaps in the same proportions, and the same longest one.
    #[must_use]
    pub fn of_count(self, count: u64) -> Self {
        Self {
            buckets: self.buckets.of_total(count),
            ..self
        }
    }

    /// The bucket of a gap, and of its own middle.
    pub fn bucket_of(gap_us: u64) -> u16 {
        SCALE.of(gap_us)
    }

    /// (bucket, count) pairs by rising bucket.
    pub fn buckets(&self) -> &[(u16, u32)] {
        self.buckets.pairs()
    }

    /// The longest gap in microseconds, exact; 0 where there was none.
    pub fn longest_us(&self) -> u64 {
        self.longest_us
    }

    /// The same; `None` where there was none.
    pub fn longest_gap_us(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.longest_us)
    }

    /// How many gaps.
    pub fn count(&self) -> u64 {
        self.buckets.total()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.buckets().is_empty()
    }

    /// (gap in microseconds, count) pairs by rising gap; each gap is its bucket's middle.
    pub fn values(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.buckets()
            .iter()
            .map(|&(bucket, count)| (SCALE.middle(bucket), count))
    }

    /// The gap in microseconds that stands for a bucket: its middle.
    #[inline]
    pub fn middle_us(bucket: u16) -> u64 {
        SCALE.middle(bucket.min(Self::BUCKETS - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_gap_reads_back_within_1_6_percent(us in any::<u64>()) {
            let mut sketch = GapSketch::default();
            sketch.record(us);
            let (value, count) = sketch.values().next().unwrap();
            prop_assert_eq!(count, 1);
            prop_assert!(value.abs_diff(us) as f64 <= us as f64 * 0.016, "{} read back as {}", us, value);
            prop_assert_eq!(sketch.longest_us(), us);
        }

        #[test]
        fn a_sketch_is_scaled_to_any_count(gaps in prop::collection::vec(0..1_000_000_u64, 1..200), count in 1..1000_u64) {
            let mut sketch = GapSketch::default();
            gaps.iter().for_each(|&gap| sketch.record(gap));
            let longest = sketch.longest_us();
            let scaled = sketch.of_count(count);
            prop_assert_eq!((scaled.count(), scaled.longest_us()), (count, longest));
            prop_assert_eq!(scaled.buckets().last().map(|&(bucket, _)| bucket), Some(SCALE.of(longest)));
            prop_assert!(GapSketch::from_parts(scaled.buckets().to_vec(), longest).is_ok());
        }

        #[test]
        fn buckets_rise_with_gaps(a in any::<u64>(), b in any::<u64>()) {
            prop_assert!(SCALE.of(a.min(b)) <= SCALE.of(a.max(b)));
            prop_assert!(SCALE.of(a) < GapSketch::BUCKETS);
        }

        #[test]
        fn parts_rebuild_the_sketch(gaps in prop::collection::vec(any::<u64>(), 0..200)) {
            let mut sketch = GapSketch::default();
            for &gap in &gaps {
                sketch.record(gap);
            }
            prop_assert_eq!(sketch.count(), gaps.len() as u64);
            let again = GapSketch::from_parts(sketch.buckets().to_vec(), sketch.longest_us()).unwrap();
            prop_assert_eq!(again, sketch);
        }
    }

    #[test]
    fn impossible_parts_are_refused() {
        for parts in [
            vec![(3, 1), (3, 1)],
            vec![(5, 1), (2, 1)],
            vec![(GapSketch::BUCKETS, 1)],
            vec![(1, 0)],
        ] {
            assert_eq!(GapSketch::from_parts(parts, 0), Err(GapSketchError));
        }
    }
}

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use super::distribution::Distribution;

/// A distribution as a file has it: nothing of it is lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredDistribution {
    /// The values in microseconds: `HdrHistogram`'s V2 encoding, uncompressed, which other tools read.
    pub hdr_v2: Vec<u8>,
    /// Requests without a value.
    pub misses: u64,
    /// Sum of the values, in microseconds.
    pub sum_us: u64,
    /// Values beyond the first of a group whose values depend on each other, as the gaps of one answer do.
    pub dependent: u64,
}

impl Distribution {
    /// What a file has of it.
    pub fn store(&self) -> StoredDistribution {
        let mut hdr_v2 = Vec::new();
        // Writing to a vector cannot fail, and counts fit.
        let _ = V2Serializer::new().serialize(&self.histogram, &mut hdr_v2);
        StoredDistribution {
            hdr_v2,
            misses: self.misses,
            sum_us: u64::try_from(self.sum_us).unwrap_or(u64::MAX),
            dependent: self.dependent,
        }
    }

    /// Back from a file; `None` where the bytes are no histogram of ours.
    pub fn restore(stored: &StoredDistribution) -> Option<Self> {
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut &stored.hdr_v2[..])
            .ok()?;
        let mut restored = Self::new();
        // One of other digits would lose something on the way.
        if read.sigfig() != restored.histogram.sigfig() {
            return None;
        }
        restored.histogram.add(&read).ok()?;
        restored.misses = stored.misses;
        restored.sum_us = u128::from(stored.sum_us);
        restored.dependent = stored.dependent;
        // Of each group one is not.
        let others = restored.count().saturating_sub(1);
        (restored.dependent <= others).then_some(restored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_stored_comes_back_and_is_stored_the_same(values in prop::collection::vec(0_u64..100_000_000_000, 0..60), misses in 0_u64..9) {
            let mut distribution = Distribution::new();
            let (alone, together) = values.split_at(values.len() / 2);
            alone.iter().for_each(|value| distribution.record(*value));
            distribution.record_group(together.iter().copied());
            (0..misses).for_each(|_| distribution.miss());
            let stored = distribution.store();
            let restored = Distribution::restore(&stored).unwrap();
            prop_assert_eq!(restored.summary(), distribution.summary());
            prop_assert_eq!(restored.store(), stored);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Distribution::restore(&StoredDistribution { hdr_v2: bytes, ..StoredDistribution::default() });
        }
    }
}

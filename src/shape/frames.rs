use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::{GapSketch, GapTrail};

/// What is known of a WebSocket's frames beside messages and gaps: sizes of the client's frames are messages of the request, and times of
/// the server's are gaps of the response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameShape {
    /// When the client's first frame was whole, in microseconds since the exchange's arrival.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_sent_us: Option<u64>,
    /// Gaps between successive frames of the client.
    #[serde(skip_serializing_if = "GapSketch::is_empty", default)]
    pub sent_gaps: GapSketch,
    /// The same gaps in their order, where that was asked for.
    #[serde(
        rename = "sent_gaps_in_order_us",
        skip_serializing_if = "GapTrail::is_empty",
        default
    )]
    pub sent_trail: GapTrail,
    /// About how large the server's frames were, not in order.
    #[serde(skip_serializing_if = "FrameSizes::is_empty", default)]
    pub came_sizes: FrameSizes,
}

impl FrameShape {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many items its lists hold.
    pub fn list_elements(&self) -> usize {
        self.sent_gaps.buckets().len()
            + self.sent_trail.buckets().len()
            + self.came_sizes.buckets().len()
    }

    /// Bytes that it takes.
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(self.sent_gaps.buckets())
            + self.sent_trail.held_bytes()
            + size_of_val(self.came_sizes.buckets())
    }
}

/// How many frames were how large, in bytes of payload and in no order. All below a KiB are one bucket: the events of streamed text lie there,
/// and the size of one tells the word in it (docs/privacy.md). From there on each doubling is one: sound, pictures, events that hold a whole
/// answer.
///
/// Bucket 0 holds up to 1,023 bytes, bucket `b` from `512 << b` to the double of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u32)>", into = "Vec<(u64, u32)>")]
pub struct FrameSizes(Counts);

/// A list of sizes that no frames can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sizes of frames must rise from bucket to bucket and have counts above 0")]
pub struct FrameSizesError;

impl FrameSizes {
    /// Buckets there can be: sizes of up to 64 bits.
    pub const BUCKETS: u16 = 55;

    /// Counts so many frames of this size.
    pub fn record(&mut self, bytes: u64, frames: u32) {
        self.0.add(Self::bucket_of(bytes), frames);
    }

    /// Rebuilds them from (bucket, count) pairs.
    ///
    /// # Errors
    /// When the buckets do not rise, are out of range, or hold a zero count.
    pub fn from_buckets(buckets: Vec<(u16, u32)>) -> Result<Self, FrameSizesError> {
        let counts = Counts::of(buckets, Self::BUCKETS);
        counts.map(Self).ok_or(FrameSizesError)
    }

    /// Each bucket counted where its middle, rounded by `round`, lies; and `total` frames in the same proportions.
    #[must_use]
    pub fn coarser(&self, round: impl Fn(u64) -> u64, total: u64) -> Self {
        let mut coarser = Counts::default();
        for (least_bytes, frames) in self.values() {
            let middle = least_bytes.max(LEAST / 2) / 2 * 3;
            coarser.add(Self::bucket_of(round(middle)), frames);
        }
        Self(coarser.of_total(total))
    }

    /// (bucket, count) pairs by rising bucket.
    pub fn buckets(&self) -> &[(u16, u32)] {
        self.0.pairs()
    }

    /// (least size in bytes, count) pairs by rising size.
    pub fn values(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let least = |bucket: u16| match bucket {
            0 => 0,
            bucket => (LEAST / 2) << bucket.min(Self::BUCKETS - 1),
        };
        let pairs = self.buckets().iter();
        pairs.map(move |&(bucket, count)| (least(bucket), count))
    }

    /// How many frames.
    pub fn count(&self) -> u64 {
        self.0.total()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.buckets().is_empty()
    }

    fn bucket_of(bytes: u64) -> u16 {
        let bits = bytes.max(LEAST / 2).ilog2() - (LEAST / 2).ilog2();
        u16::try_from(bits).unwrap_or(u16::MAX)
    }
}

/// Frames below this are not told apart.
const LEAST: u64 = 1024;

/// As (least size, count) pairs, of which the least size may be any in its bucket.
impl TryFrom<Vec<(u64, u32)>> for FrameSizes {
    type Error = FrameSizesError;

    fn try_from(values: Vec<(u64, u32)>) -> Result<Self, FrameSizesError> {
        let buckets = values.into_iter();
        Self::from_buckets(
            buckets
                .map(|(bytes, count)| (Self::bucket_of(bytes), count))
                .collect(),
        )
    }
}

impl From<FrameSizes> for Vec<(u64, u32)> {
    fn from(sizes: FrameSizes) -> Self {
        sizes.values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(sizes: &[u64]) -> FrameSizes {
        let mut all = FrameSizes::default();
        sizes.iter().for_each(|&bytes| all.record(bytes, 1));
        all
    }

    fn values(sizes: &FrameSizes) -> Vec<(u64, u32)> {
        sizes.values().collect()
    }

    #[test]
    fn what_streamed_text_takes_is_not_told_apart() {
        assert_eq!(values(&of(&[0, 1, 180, 190, 1023])), [(0, 5)]);
        let larger = of(&[1024, 2047, 2048, 5000, u64::MAX]);
        let expected = [(1024, 2), (2048, 1), (4096, 1), (1 << 63, 1)];
        assert_eq!(values(&larger), expected);
        assert_eq!(larger.buckets().last(), Some(&(FrameSizes::BUCKETS - 1, 1)));
    }

    #[test]
    fn impossible_buckets_are_refused() {
        for buckets in [
            vec![(1, 1), (1, 1)],
            vec![(FrameSizes::BUCKETS, 1)],
            vec![(0, 0)],
        ] {
            assert_eq!(FrameSizes::from_buckets(buckets), Err(FrameSizesError));
        }
        assert!(serde_json::from_str::<FrameSizes>("[[2048,1],[1024,1]]").is_err());
    }

    #[test]
    fn rounded_sizes_tell_no_more_than_rounded_lengths() {
        let sizes = of(&[100, 1500, 3000, 9000]);
        // To thousands of tokens: what rounds to one step is in one bucket.
        let step = |bytes: u64| ((bytes + 2000) / 4000 * 4000).max(4000);
        assert_eq!(values(&sizes.coarser(step, 8)), [(2048, 6), (8192, 2)]);
        let finely = sizes.coarser(|bytes| bytes, 4);
        assert_eq!(finely, sizes);
    }

    proptest! {
        #[test]
        fn sizes_survive_json_and_their_parts(sizes in prop::collection::vec(any::<u64>(), 0..50)) {
            let sizes = of(&sizes);
            let json = serde_json::to_string(&sizes).unwrap();
            prop_assert_eq!(&serde_json::from_str::<FrameSizes>(&json).unwrap(), &sizes);
            prop_assert_eq!(FrameSizes::from_buckets(sizes.buckets().to_vec()), Ok(sizes));
        }

        #[test]
        fn any_number_of_frames_keeps_its_proportions(sizes in prop::collection::vec(any::<u64>(), 1..50), total in 1..1000_u64) {
            let coarser = of(&sizes).coarser(|bytes| bytes, total);
            prop_assert_eq!(coarser.count(), total);
        }
    }
}

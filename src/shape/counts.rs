use serde::{Deserialize, Serialize};

/// How many of something fell into which bucket: pairs of both, by rising bucket, counts above 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Counts(Vec<(u16, u32)>);

impl Counts {
    /// Rebuilds them from pairs; `None` where these do not rise, hold a zero, or name a bucket that is none of so many.
    pub(super) fn of(pairs: Vec<(u16, u32)>, buckets: u16) -> Option<Self> {
        let mut least = 0;
        let sane = pairs.iter().all(|&(bucket, count)| {
            let rises = bucket >= least;
            least = bucket.saturating_add(1);
            rises && count > 0
        });
        (sane && least <= buckets).then_some(Self(pairs))
    }

    /// Counts `more` into a bucket; none make none.
    pub(super) fn add(&mut self, bucket: u16, more: u32) {
        match self.0.binary_search_by_key(&bucket, |&(b, _)| b) {
            Ok(i) => {
                if let Some((_, count)) = self.0.get_mut(i) {
                    *count = count.saturating_add(more);
                }
            }
            Err(_) if more == 0 => {}
            Err(i) => self.0.insert(i, (bucket, more)),
        }
    }

    /// `total` in the same proportions, of which one at least stays in the highest bucket.
    pub(super) fn of_total(mut self, total: u64) -> Self {
        let now = self.total();
        if now == 0 || total == now {
            return self;
        }
        let highest = self.0.last().map(|&(bucket, _)| bucket);
        for (bucket, many) in &mut self.0 {
            let share = u128::from(*many) * u128::from(total) / u128::from(now);
            let least = u32::from(Some(*bucket) == highest && total > 0);
            *many = u32::try_from(share).unwrap_or(u32::MAX).max(least);
        }
        // What rounding down has left over goes to the usual bucket, and what keeping the highest took comes from there.
        let missing = i128::from(total) - i128::from(self.total());
        if let Some((_, many)) = self.0.iter_mut().max_by_key(|(_, many)| *many) {
            let mended = i128::from(*many) + missing;
            *many = u32::try_from(mended.max(0)).unwrap_or(u32::MAX);
        }
        self.0.retain(|&(_, many)| many > 0);
        self
    }

    pub(super) fn pairs(&self) -> &[(u16, u32)] {
        &self.0
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|&(_, count)| u64::from(count)).sum()
    }
}

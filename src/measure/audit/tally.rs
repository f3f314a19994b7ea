use std::collections::HashMap;

/// How often each value was seen, for a bounded number of values. Each that comes after is taken for one that is seen once.
pub(super) struct Tally {
    counts: HashMap<u64, u32>,
    most: usize,
    beyond: u64,
    total: u64,
}

impl Tally {
    pub(super) fn of(most: usize) -> Self {
        Self {
            counts: HashMap::new(),
            most,
            beyond: 0,
            total: 0,
        }
    }

    pub(super) fn add(&mut self, value: u64) {
        self.total += 1;
        if let Some(count) = self.counts.get_mut(&value) {
            *count = count.saturating_add(1);
        } else if self.counts.len() < self.most {
            self.counts.insert(value, 1);
        } else {
            self.beyond += 1;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.beyond == 0
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn distinct(&self) -> u64 {
        self.counts.len() as u64 + self.beyond
    }

    /// Exchanges whose value nobody else has.
    pub(super) fn unique(&self) -> u64 {
        self.in_classes_below(2)
    }

    /// Exchanges in classes of fewer than `few`.
    pub(super) fn in_classes_below(&self, few: u32) -> u64 {
        let counted = self.counts.values().filter(|&&count| count < few);
        counted.map(|&count| u64::from(count)).sum::<u64>() + self.beyond
    }

    /// Classes of fewer than `few`.
    pub(super) fn classes_below(&self, few: u32) -> u64 {
        let counted = self.counts.values().filter(|&&count| count < few);
        counted.count() as u64 + self.beyond
    }

    /// Exchanges in the smallest class; 0 where there is none.
    pub(super) fn smallest(&self) -> u64 {
        match self.beyond {
            0 => self.counts.values().min().map_or(0, |&count| count.into()),
            _ => 1,
        }
    }

    /// Shannon's: bits that a value tells on average.
    #[allow(clippy::cast_precision_loss, reason = "counts")]
    pub(super) fn entropy_bits(&self) -> f64 {
        let total = self.total as f64;
        let bits = |count: f64| count / total * (total / count).log2();
        let beyond = match self.beyond {
            0 => 0.0,
            beyond => beyond as f64 * bits(1.0),
        };
        // Summed in order, so that the same counts give the same bits to the last digit.
        let mut counts: Vec<_> = self.counts.values().copied().collect();
        counts.sort_unstable();
        counts
            .into_iter()
            .map(|count| bits(count.into()))
            .sum::<f64>()
            + beyond
    }

    #[allow(clippy::cast_precision_loss, reason = "a share")]
    pub(super) fn share(&self, exchanges: u64) -> f64 {
        match self.total {
            0 => 0.0,
            total => exchanges as f64 / total as f64,
        }
    }
}

use crate::shape::{GapSketch, GapTrail};

/// Moments at which something came of which nothing else is read: the gaps between them.
#[derive(Default)]
pub(super) struct Pace {
    last_us: Option<u64>,
    /// How many gaps of which length.
    pub(super) gaps: GapSketch,
    /// Each in its order, where that was asked for.
    pub(super) trail: GapTrail,
}

impl Pace {
    /// Something came at `at_us`. `every_gap` keeps the gap before it in its order.
    pub(super) fn beat(&mut self, at_us: u64, every_gap: bool) {
        let Some(last) = self.last_us.replace(at_us) else {
            return;
        };
        let gap = at_us.saturating_sub(last);
        self.gaps.record(gap);
        if every_gap {
            self.trail.record(gap);
        }
    }

    /// Bytes that it holds beyond its own.
    pub(super) fn held_bytes(&self) -> usize {
        size_of_val(self.gaps.buckets()) + self.trail.held_bytes()
    }
}

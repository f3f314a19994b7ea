/// How much of one thing there was for one of another in the exchanges before: two sums, in which each counts for an eighth less
/// than the next.
#[derive(Debug, Default)]
pub(super) struct Ratio {
    of: u64,
    per: u64,
}

impl Ratio {
    /// About how much there is of the one for so many of the other; 0 where nothing is known. Cut to 64 bits, which both sides do.
    #[allow(clippy::cast_possible_truncation, reason = "part of the format")]
    pub(super) fn expected(&self, per: u64) -> u64 {
        let of = u128::from(per) * u128::from(self.of);
        of.checked_div(u128::from(self.per)).unwrap_or(0) as u64
    }

    /// Learns how much there was.
    pub(super) fn learn(&mut self, per: u64, of: u64) {
        self.of = (self.of - self.of / 8).saturating_add(of);
        self.per = (self.per - self.per / 8).saturating_add(per);
    }
}

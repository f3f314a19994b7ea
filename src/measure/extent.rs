/// From the first of some moments to the last, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Extent {
    first_us: Option<u64>,
    last_us: u64,
}

impl Extent {
    pub(super) fn add(&mut self, us: u64) {
        self.first_us = Some(self.first_us.map_or(us, |first| first.min(us)));
        self.last_us = self.last_us.max(us);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first_us.is_none()
    }

    #[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
    pub(super) fn seconds(&self) -> f64 {
        (self.last_us - self.first_us.unwrap_or(self.last_us)) as f64 / 1e6
    }
}

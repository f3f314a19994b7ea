//! When a plan is at its full load: a ramp that has just begun, or the quiet before a spike, is not it.

/// How the arrivals of a plan are spread over its length, whatever that is: counts in bins that grow with it.
#[derive(Debug)]
pub(super) struct Course {
    width_us: u64,
    counts: Vec<u64>,
}

impl Course {
    pub(super) const fn new() -> Self {
        Self {
            width_us: FIRST_WIDTH_US,
            counts: Vec::new(),
        }
    }

    /// A request is to be sent then.
    pub(super) fn add(&mut self, at_us: u64) {
        while at_us / self.width_us >= MOST_BINS {
            self.width_us = self.width_us.saturating_mul(2);
            self.counts = self.counts.chunks(2).map(|two| two.iter().sum()).collect();
        }
        let bin = usize::try_from(at_us / self.width_us).unwrap_or(0);
        if bin >= self.counts.len() {
            self.counts.resize(bin + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bin) {
            *count += 1;
        }
    }

    /// How many requests the plan has before the first stretch, of ten or as few as have [`FEWEST`] requests each, whose rate is at least
    /// [`FULL`] of the busiest's.
    pub(super) fn before_full(&self) -> u64 {
        let planned: u64 = self.counts.iter().sum();
        let bins = self.counts.len();
        let fitting = usize::try_from(planned / FEWEST).unwrap_or(usize::MAX);
        let stretches = fitting.min(MOST_STRETCHES).min(bins);
        if stretches < 2 {
            return 0;
        }
        let sums: Vec<(u64, f64)> = (0..stretches)
            .map(|stretch| {
                let (from, to) = (stretch * bins / stretches, (stretch + 1) * bins / stretches);
                let sum = self.counts.get(from..to).unwrap_or_default().iter().sum();
                (sum, rate(sum, to - from))
            })
            .collect();
        let most = sums.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        sums.iter()
            .take_while(|(_, rate)| *rate < FULL * most)
            .map(|(sum, _)| sum)
            .sum()
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn rate(sum: u64, bins: usize) -> f64 {
    sum as f64 / bins as f64
}

const FIRST_WIDTH_US: u64 = 1024;
const MOST_BINS: u64 = 512;
const MOST_STRETCHES: usize = 10;
/// Fewer requests are a rate by chance.
const FEWEST: u64 = 25;
/// Chance alone makes the busiest of ten even stretches busier than the others by a fifth.
const FULL: f64 = 0.75;

#[cfg(test)]
mod tests {
    use super::*;

    fn before(arrivals: impl IntoIterator<Item = u64>) -> u64 {
        let mut course = Course::new();
        for at_us in arrivals {
            course.add(at_us);
        }
        course.before_full()
    }

    #[test]
    fn an_even_plan_is_at_full_load_at_once() {
        assert_eq!(before((0..1000).map(|i| i * 30_000)), 0);
        assert_eq!(before((0..5_000_000).map(|i| i * 7)), 0);
        assert_eq!(before([]), 0);
        assert_eq!(before([0; 400]), 0);
    }

    #[test]
    fn too_few_requests_tell_nothing() {
        assert_eq!(before((0..40).map(|i| i * i * 1000)), 0);
    }

    #[test]
    fn a_ramp_is_at_full_load_late() {
        // Arrivals at the root of their number: the rate rises in a straight line from 0.
        let ramp = (0..10_000_u32).map(|i| (f64::from(i).sqrt() * 1e6) as u64);
        let sent = before(ramp);
        // 0.7 of the time, and so half of the requests.
        assert!((4_000..6_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_spike_is_waited_for() {
        let quiet = |from: u64| (0..200).map(move |i| from + i * 100_000);
        let spike = (0..2000).map(|i| 20_000_000 + i * 2_000);
        let sent = before(quiet(0).chain(spike).chain(quiet(24_000_000)));
        assert!((150..1000).contains(&sent), "{sent}");
    }
}

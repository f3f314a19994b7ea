use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a source's rounds go by.
pub(super) trait Clock {
    fn now(&self) -> Instant;

    /// Waits for an instant; `false` where it is to stop before.
    fn wait(&self, until: Instant) -> bool;
}

/// The real one, on a thread that is unparked when it is to stop.
pub(super) struct Parked<'a> {
    pub(super) stop: &'a AtomicBool,
}

impl Clock for Parked<'_> {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&self, until: Instant) -> bool {
        while !self.stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::park_timeout(left);
        }
        false
    }
}

/// Asks a source at `first`, and then again as long after each time as that time says; `None` ends it. When it is to stop, the source is
/// asked once more, and told that this is the last time.
pub(super) fn rounds(
    clock: &impl Clock,
    first: Instant,
    mut ask: impl FnMut(bool) -> Option<Duration>,
) {
    let mut next = first;
    loop {
        let last = !clock.wait(next);
        match ask(last) {
            Some(period) if !last => next = next_round(next, period, clock.now()),
            _ => return,
        }
    }
}

/// When a source is asked next that was to be asked at `asked_at`, and has answered by `now`. One that takes longer than the period is left
/// alone for as long: who asks without end holds what the engine needs, be it the driver's lock or its own interpreter's.
fn next_round(asked_at: Instant, period: Duration, now: Instant) -> Instant {
    let next = asked_at + period;
    if next > now { next } else { now + period }
}

/// A clock on which time passes only where somebody waits, or an answer takes some; it is to stop at an instant.
#[cfg(test)]
pub(super) struct Virtual {
    now: std::cell::Cell<Instant>,
    ends: Instant,
}

#[cfg(test)]
impl Virtual {
    pub(super) fn lasting(run: Duration) -> Self {
        let began = Instant::now();
        Self {
            now: began.into(),
            ends: began + run,
        }
    }

    pub(super) fn pass(&self, took: Duration) {
        self.now.set(self.now.get() + took);
    }
}

#[cfg(test)]
impl Clock for Virtual {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn wait(&self, until: Instant) -> bool {
        self.now.set(self.now.get().max(until.min(self.ends)));
        self.now.get() < self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::GpuSampler;

    const MS: Duration = Duration::from_millis(1);

    /// How often a source that takes so long to answer is asked in a minute, the last time included.
    fn asked(period: Duration, takes: Duration) -> u32 {
        let clock = Virtual::lasting(60_000 * MS);
        let mut asked = 0;
        rounds(&clock, clock.now(), |_| {
            asked += 1;
            clock.pass(takes);
            Some(period)
        });
        asked
    }

    #[test]
    fn rounds_keep_to_their_clock_and_leave_a_slow_source_alone() {
        assert_eq!(asked(1_000 * MS, Duration::ZERO), 61);
        assert_eq!(asked(1_000 * MS, 300 * MS), 61);
        assert_eq!(asked(1_000 * MS, 1_000 * MS), 31);
        assert_eq!(asked(1_000 * MS, 5_000 * MS), 11);
    }

    #[test]
    fn a_gpu_of_this_machine_is_sampled_ten_times_a_second() {
        assert_eq!(asked(GpuSampler::PERIOD, 3 * MS), 601);
    }

    #[test]
    fn the_last_time_is_told_and_a_source_may_end_it_before() {
        let clock = Virtual::lasting(10 * MS);
        let mut told = Vec::new();
        rounds(&clock, clock.now(), |last| {
            told.push(last);
            Some(4 * MS)
        });
        assert_eq!(told, [false, false, false, true]);
        let mut asked = 0;
        let clock = Virtual::lasting(10 * MS);
        rounds(&clock, clock.now(), |_| {
            asked += 1;
            (asked < 2).then_some(4 * MS)
        });
        assert_eq!(asked, 2);
    }
}

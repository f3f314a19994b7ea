//! From the trace's time to the run's.

use super::extent::Extent;
use super::options::PlanOptions;
use super::shape::Shape;

/// Where arrivals go in time.
///
/// Three clocks: the trace's (microseconds since the slice's first arrival, pass after pass in a loop), that divided by the speed,
/// and the run's, which a shape bends. By session, all this happens to the beginnings of conversations, and later turns keep their
/// distance from the first.
pub(super) struct Clock {
    by_session: bool,
    speed: f64,
    think_speed: f64,
    shape: Option<Bent>,
    /// From one pass of a loop to the next, of the trace's time.
    period_us: f64,
    /// From the first beginning to the last.
    starts_us: u64,
    /// From a conversation's first turn to its last, at most.
    longest_us: u64,
    /// By how much a copy may be moved.
    reach_us: u64,
}

/// A shape over a run of known length.
struct Bent {
    shape: Shape,
    /// Of the run, in microseconds.
    run_us: f64,
    /// The same without the shape.
    plain_us: f64,
}

/// A request's instant, and that of its conversation's first turn, in microseconds of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instants {
    pub(super) own_us: u64,
    pub(super) start_us: u64,
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "exact below 2^53 us = 285 years, and the casts saturate"
)]
impl Clock {
    pub(super) fn new(options: &PlanOptions, extent: &Extent) -> Self {
        let speed = options.speed;
        let arrivals_us = match options.by_session {
            true => extent.starts_us(),
            false => extent.arrivals_us(),
        } as f64;
        let shape = options.shape.map(|shape| {
            let (run_us, plain_us) = match options.loop_for_us {
                Some(run_us) => (run_us as f64, run_us as f64 * shape.mean()),
                None => (arrivals_us / speed / shape.mean(), arrivals_us / speed),
            };
            Bent {
                shape,
                run_us,
                plain_us,
            }
        });
        // The last arrival of a pass is followed by the first of the next as arrivals are on average.
        let arrivals = extent.arrivals(options.by_session) as f64;
        let period_us = arrivals_us * arrivals / (arrivals - 1.0).max(1.0);
        Self {
            by_session: options.by_session,
            speed,
            think_speed: options.think_speed(),
            shape,
            period_us,
            starts_us: extent.starts_us(),
            longest_us: extent.longest_us(),
            reach_us: if options.rate_scale > 1.0 {
                options.copy_shift_us
            } else {
                0
            },
        }
    }

    /// When a request is sent whose conversation began `start_us` after the slice did and waits `later_us` after that, of which its
    /// user thought `thought_us`.
    pub(super) fn instants(
        &self,
        pass: u64,
        start_us: u64,
        later_us: u64,
        thought_us: u64,
    ) -> Instants {
        if !self.by_session {
            let own_us = self.run_us(pass, start_us.saturating_add(later_us) as f64);
            return Instants {
                own_us,
                start_us: own_us,
            };
        }
        let start_us = self.run_us(pass, start_us as f64);
        let later_us = if self.think_speed == 1.0 {
            later_us
        } else {
            let thought_us = thought_us as f64;
            let saved_us = thought_us - thought_us / self.think_speed;
            (later_us as f64 - saved_us).round() as u64
        };
        Instants {
            own_us: start_us.saturating_add(later_us),
            start_us,
        }
    }

    /// A think time as the run has it.
    pub(super) fn think_us(&self, think_us: u64) -> u64 {
        if self.think_speed == 1.0 {
            think_us
        } else {
            (think_us as f64 / self.think_speed).round() as u64
        }
    }

    /// Moves a beginning by `shift_us`, and mirrors it at the slice's ends: so copies neither thin out nor pile up there, and the
    /// rate stays even.
    pub(super) fn moved(&self, start_us: u64, shift_us: i64) -> u64 {
        let (span, double) = (i128::from(self.starts_us), 2 * i128::from(self.starts_us));
        if shift_us == 0 || span == 0 {
            return start_us;
        }
        let around = (i128::from(start_us) + i128::from(shift_us)).rem_euclid(double);
        let mirrored = if around > span {
            double - around
        } else {
            around
        };
        u64::try_from(mirrored).unwrap_or(0)
    }

    /// No request that came `since_us` after the slice's beginning, or later, in this pass is sent before this.
    pub(super) fn not_before_us(&self, pass: u64, since_us: u64) -> u64 {
        let reach = |us: u64| self.run_us(pass, us.saturating_sub(self.reach_us) as f64);
        let earliest = if !self.by_session {
            return reach(since_us);
        } else {
            // The instant is run(start) + distance, so it depends on how the run's time goes beside the trace's.
            let last_start_us = since_us.min(self.starts_us);
            let first_start_us = since_us.saturating_sub(self.longest_us);
            let distance = if self.think_speed > 1.0 {
                1.0 / self.think_speed
            } else {
                1.0
            };
            let (slowest, fastest) = self
                .shape
                .as_ref()
                .map_or((1.0, 1.0), |bent| bent.shape.extremes());
            let after = |start_us: u64| {
                let least_us = (since_us - start_us) as f64 * distance;
                reach(start_us).saturating_add(least_us as u64)
            };
            if 1.0 / (self.speed * slowest) <= distance {
                after(last_start_us)
            } else if 1.0 / (self.speed * fastest) >= distance {
                // Copies of whatever began within their reach can all be moved to the beginning: of those, what began last is sent first.
                after(
                    self.reach_us
                        .clamp(first_start_us.min(last_start_us), last_start_us),
                )
            } else {
                reach(first_start_us.min(last_start_us))
            }
        };
        // What rounding may have moved.
        earliest.saturating_sub(2)
    }

    /// When a pass of a loop begins.
    pub(super) fn pass_begins_us(&self, pass: u64) -> u64 {
        self.run_us(pass, 0.0)
    }

    fn run_us(&self, pass: u64, since_us: f64) -> u64 {
        let plain_us = (pass as f64 * self.period_us + since_us) / self.speed;
        let run_us = match &self.shape {
            Some(bent) if bent.plain_us > 0.0 => {
                bent.shape.place(plain_us / bent.plain_us) * bent.run_us
            }
            _ => plain_us,
        };
        run_us.round() as u64
    }
}

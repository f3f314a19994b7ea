//! The measured window apart from what comes before it and after it.

use serde::Serialize;

use crate::replay::{RequestOutcome, SendResult};

/// Where a run's measured window lies. Requests that the plan *issues* in it are measured, also those that end after it; nothing is drained
/// between the prelude and it, so it begins under load. A turn that a slow answer held up counts to where the plan has it, so that the
/// same requests are measured of every target.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MeasuredWindow {
    /// How long the prelude was: sent like everything else, in no figure but the timeline and the fidelity.
    pub prelude_s: f64,
    /// Requests of the prelude.
    pub prelude_requests: u64,
    /// From the prelude's end to the last intended send.
    pub measured_s: f64,
    /// From the last intended send to the last answer's end.
    pub drain_s: f64,
    /// Answers that ended inside the window, a second: what `throughput`, which goes to the end of the drain, would be without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<f64>,
    /// Output tokens of those answers, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_s: Option<f64>,
}

/// Adds up where the window lies. Answers that end after the last send are told from those before it only at the end, so
/// those of each of the run's seconds are kept (eight bytes each, up to 36 hours).
#[derive(Debug, Default)]
pub(super) struct Span {
    prelude_us: u64,
    prelude_requests: u64,
    last_intended_us: Option<u64>,
    last_end_us: u64,
    ended: Vec<(u32, u32)>,
}

impl Span {
    pub(super) fn after(prelude_us: u64) -> Self {
        Self {
            prelude_us,
            ..Self::default()
        }
    }

    /// Adds a request; says whether it is measured.
    pub(super) fn record(&mut self, outcome: &RequestOutcome) -> bool {
        self.last_intended_us = self.last_intended_us.max(Some(outcome.intended_us));
        self.last_end_us = self.last_end_us.max(outcome.end_us);
        if outcome.result == SendResult::Ok && outcome.end_us >= self.prelude_us {
            let second = usize::try_from(outcome.end_us / 1_000_000).unwrap_or(usize::MAX);
            if second < MOST_SECONDS {
                if second >= self.ended.len() {
                    self.ended.resize(second + 1, (0, 0));
                }
                if let Some(counts) = self.ended.get_mut(second) {
                    counts.0 += 1;
                    counts.1 = counts.1.saturating_add(outcome.output_tokens.unwrap_or(0));
                }
            }
        }
        let measured = outcome.planned_us >= self.prelude_us;
        self.prelude_requests += u64::from(!measured);
        measured
    }

    pub(super) fn finish(&self) -> MeasuredWindow {
        let last = self.last_intended_us.unwrap_or(0);
        // Whole seconds between the prelude and the last send: an answer's second is all that is known of it.
        let from = usize::try_from(self.prelude_us.div_ceil(1_000_000)).unwrap_or(usize::MAX);
        let to = usize::try_from(last / 1_000_000).unwrap_or(usize::MAX);
        let inside = self.ended.get(from..to.min(self.ended.len()));
        let whole_s = to.saturating_sub(from);
        let per_s = |count: fn(&(u32, u32)) -> u32| {
            let inside = inside.filter(|_| whole_s >= FEWEST_SECONDS)?;
            let sum: u64 = inside.iter().map(|second| u64::from(count(second))).sum();
            Some(float(sum) / float(whole_s as u64))
        };
        MeasuredWindow {
            prelude_s: float(self.prelude_us) / 1e6,
            prelude_requests: self.prelude_requests,
            measured_s: float(last.saturating_sub(self.prelude_us)) / 1e6,
            drain_s: float(self.last_end_us.saturating_sub(last)) / 1e6,
            requests_per_s: per_s(|second| second.0),
            output_tokens_per_s: per_s(|second| second.1),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

const MOST_SECONDS: usize = 1 << 17;
/// A rate over less is the drain's accident.
const FEWEST_SECONDS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::target::tests::outcome;

    #[test]
    fn requests_issued_in_the_window_count_and_the_drain_skews_no_rate() {
        let mut span = Span::after(5_000_000);
        let mut measured = 0;
        // Ten a second for 25 s, each of a second; the last takes a minute.
        for i in 0..250_u64 {
            let took = if i == 249 { 60_000_000 } else { 1_000_000 };
            measured += u64::from(span.record(&outcome(i, i * 100_000, took)));
        }
        let told = span.finish();
        assert_eq!((measured, told.prelude_requests), (200, 50));
        assert!((told.measured_s - 19.9).abs() < 1e-9);
        assert!((told.drain_s - 60.0).abs() < 1e-9);
        assert_eq!(told.requests_per_s, Some(10.0));
    }

    #[test]
    fn the_same_requests_are_measured_of_a_target_that_holds_up_its_own_turns() {
        let measured = |slip_us: u64| {
            let mut span = Span::after(5_000_000);
            let of_each = (0..100_u64).map(|i| {
                let mut turn = outcome(i, i * 100_000 + slip_us, 1000);
                turn.planned_us = i * 100_000;
                span.record(&turn)
            });
            of_each.collect::<Vec<_>>()
        };
        assert_eq!(measured(0), measured(3_000_000));
        assert_eq!(measured(0).iter().filter(|measured| **measured).count(), 50);
    }
}

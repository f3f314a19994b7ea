use serde::Serialize;

use crate::replay::RequestOutcome;

/// What refused requests were asked to wait before they came again (`retry-after`). Noted, never obeyed: a replay that waited
/// would send less than was meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RetryAfter {
    /// Answers that asked for it.
    pub requests: u64,
    /// Seconds, all of them together.
    pub sum_s: u64,
    /// Seconds, the longest.
    pub max_s: u64,
}

impl RetryAfter {
    /// Counts what an answer asked for.
    pub(super) fn record(&mut self, outcome: &RequestOutcome) {
        if let Some(seconds) = outcome.retry_after_s {
            self.add(&Self {
                requests: 1,
                sum_s: seconds,
                max_s: seconds,
            });
        }
    }

    /// Takes another run's in. A header may name any number, so a sum stops at the largest there is.
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.sum_s = self.sum_s.saturating_add(other.sum_s);
        self.max_s = self.max_s.max(other.max_s);
    }

    /// Whether no answer asked for anything.
    pub(super) fn is_none(&self) -> bool {
        self.requests == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_summed_their_longest_is_kept_and_no_sum_overflows() {
        let mut asked = RetryAfter::default();
        let outcome = |retry_after_s| RequestOutcome {
            retry_after_s,
            ..RequestOutcome::default()
        };
        asked.record(&outcome(None));
        assert!(asked.is_none());
        for seconds in [7, 0, 30] {
            asked.record(&outcome(Some(seconds)));
        }
        assert_eq!((asked.requests, asked.sum_s, asked.max_s), (3, 37, 30));
        asked.record(&outcome(Some(u64::MAX)));
        assert_eq!((asked.requests, asked.sum_s), (4, u64::MAX));
    }
}

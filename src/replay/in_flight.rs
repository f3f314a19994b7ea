use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::plan::PlannedRequest;

/// How many requests of a plan would be open at once, if each took as long as it did when it was recorded.
#[derive(Default)]
pub(super) struct InFlight {
    /// When those that are open end.
    ends_us: BinaryHeap<Reverse<u64>>,
    peak: usize,
}

/// Beyond it the peak is only "more than that": 8 MiB.
const MOST: usize = 1 << 20;

impl InFlight {
    /// Adds a request; they must come in order of their instants.
    pub(super) fn add(&mut self, planned: &PlannedRequest) {
        let exchange = &planned.exchange;
        let response = &exchange.response;
        let Some(took_us) = response.end_us.or(exchange.outcome.at_us()) else {
            return;
        };
        while self
            .ends_us
            .peek()
            .is_some_and(|Reverse(end_us)| *end_us <= planned.intended_us)
        {
            self.ends_us.pop();
        }
        if self.ends_us.len() < MOST {
            let end_us = planned.intended_us.saturating_add(took_us);
            self.ends_us.push(Reverse(end_us));
        }
        self.peak = self.peak.max(self.ends_us.len());
    }

    /// The most so far; `None` where the trace tells no end.
    pub(super) fn peak(&self) -> Option<u64> {
        (self.peak > 0).then_some(self.peak as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::plan::Turn;
    use crate::replay::testing::exchange;

    #[test]
    fn requests_are_open_as_long_as_they_were() {
        let mut in_flight = InFlight::default();
        assert_eq!(in_flight.peak(), None);
        for (at_us, took_us) in [(0, 100), (10, 20), (20, 5), (30, 1), (40, 60), (100, 1)] {
            let mut exchange = exchange(at_us);
            exchange.response.end_us = Some(took_us);
            in_flight.add(&PlannedRequest {
                index: 0,
                intended_us: at_us,
                turn: Turn::default(),
                exchange,
            });
        }
        assert_eq!(in_flight.peak(), Some(3));
    }
}

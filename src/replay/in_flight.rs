use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::idle::IdleConnections;
use super::plan::PlannedRequest;
use crate::shape::Outcome;

/// How many requests of a plan would be open at once, if each took as long as it did when it was recorded, and how many connections idle.
#[derive(Default)]
pub(super) struct InFlight {
    /// When those that are open end, and whether their connections are of use then.
    ends: BinaryHeap<Reverse<(u64, bool)>>,
    peak: usize,
    idle: IdleConnections,
    /// Of some it is not told how long they took.
    endless: bool,
}

/// Beyond it the peak is only "more than that": 16 MiB.
const MOST: usize = 1 << 20;

impl InFlight {
    /// Adds a request; they must come in order of their instants.
    pub(super) fn add(&mut self, planned: &PlannedRequest) {
        let exchange = &planned.exchange;
        let response = &exchange.response;
        let is_over = |end: &Reverse<(u64, bool)>| end.0.0 <= planned.intended_us;
        while self.ends.peek().is_some_and(is_over) {
            if let Some(Reverse((_, true))) = self.ends.pop() {
                self.idle.give_back();
            }
        }
        self.idle.take(exchange.new_connection == Some(true));
        let Some(took_us) = response.end_us.or(exchange.outcome.at_us()) else {
            self.endless = true;
            return;
        };
        if self.ends.len() >= MOST {
            // Its connection will not be seen to come back.
            self.endless = true;
        } else {
            let end_us = planned.intended_us.saturating_add(took_us);
            // Who leaves an answer closes the connection.
            let left = matches!(exchange.outcome, Outcome::ClientCancelled { .. });
            self.ends.push(Reverse((end_us, !left)));
        }
        self.peak = self.peak.max(self.ends.len());
    }

    /// Idle connections that its clients come back to at most; `None` where the trace does not tell every end.
    pub(super) fn idle_connections(&self) -> Option<u64> {
        (!self.endless).then(|| self.idle.needed())
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

    #[test]
    fn as_many_connections_idle_as_are_used_again() {
        let mut in_flight = InFlight::default();
        let left = Outcome::ClientCancelled { at_us: 5 };
        for (at_us, begins, outcome) in [
            (0, true, Outcome::Completed),
            (20, true, Outcome::Completed),
            (40, true, left),
            (60, false, Outcome::Completed),
            (61, false, Outcome::Completed),
            // The one that its client closed cannot be used again.
            (62, false, Outcome::Completed),
        ] {
            let mut exchange = exchange(at_us);
            exchange.new_connection = Some(begins);
            exchange.response.end_us = Some(10);
            exchange.outcome = outcome;
            in_flight.add(&PlannedRequest {
                index: 0,
                intended_us: at_us,
                turn: Turn::default(),
                exchange,
            });
        }
        assert_eq!(in_flight.idle_connections(), Some(2));
        in_flight.add(&PlannedRequest {
            index: 0,
            intended_us: 80,
            turn: Turn::default(),
            exchange: exchange(80),
        });
        assert_eq!(in_flight.idle_connections(), None);
    }
}

use std::collections::HashMap;

use serde::Serialize;

use super::super::quantiles::{Quantiles, Sample};
use super::buckets::LogBuckets;
use crate::shape::{Exchange, SessionId};

/// Turns of sessions, and the times between them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionTurns {
    /// Exchanges of no known session.
    pub without_session: u64,
    /// Exchanges of a session.
    pub turns: Quantiles,
    /// (upper edge, sessions) by turns, eight buckets to the decade.
    pub turns_histogram: Vec<(f64, u64)>,
    /// From the end of a turn to the arrival of the next one of its session; absent where ends are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think_ms: Option<Quantiles>,
    /// (upper edge in milliseconds, turns) by think time, eight buckets to the decade.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub think_histogram: Vec<(f64, u64)>,
    /// From the arrival of a turn to that of the next one of its session; absent where no session has two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_arrivals_ms: Option<Quantiles>,
    /// Turns that arrived before the one before them had ended (parallel requests of one session): they have no think time.
    pub overlapping: u64,
    /// Sessions that had to be let go to keep memory bounded, those that were idle the longest first. A turn after that
    /// counts as the first of another session.
    pub let_go: u64,
}

/// Gathers [`SessionTurns`].
pub(super) struct TurnMeter {
    live: HashMap<SessionId, Session>,
    without_session: u64,
    overlapping: u64,
    let_go: u64,
    turns: Sample,
    turns_histogram: LogBuckets,
    think: Sample,
    think_histogram: LogBuckets,
    between_arrivals: Sample,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    turns: u64,
    arrived_us: u64,
    ended_us: Option<u64>,
}

/// Sessions that are followed at once, in about 4 MiB.
const MOST: usize = 1 << 16;

impl Default for TurnMeter {
    fn default() -> Self {
        Self {
            live: HashMap::new(),
            without_session: 0,
            overlapping: 0,
            let_go: 0,
            turns: Sample::new(),
            turns_histogram: LogBuckets::default(),
            think: Sample::new(),
            think_histogram: LogBuckets::default(),
            between_arrivals: Sample::new(),
        }
    }
}

impl TurnMeter {
    /// Adds an exchange; they must come in order of arrival.
    pub(super) fn add(&mut self, exchange: &Exchange) {
        let Some(id) = exchange.session else {
            self.without_session += 1;
            return;
        };
        let at_us = exchange.at.us();
        let lasted_us = exchange.response.end_us.or(exchange.outcome.at_us());
        let ended_us = lasted_us.map(|lasted_us| at_us.saturating_add(lasted_us));
        if let Some(session) = self.live.get_mut(&id) {
            self.between_arrivals
                .add(at_us.saturating_sub(session.arrived_us));
            match session.ended_us.map(|ended_us| at_us.checked_sub(ended_us)) {
                Some(Some(think_us)) => {
                    self.think.add(think_us);
                    self.think_histogram.add(think_us, 1);
                }
                Some(None) => self.overlapping += 1,
                None => {}
            }
            session.turns += 1;
            session.arrived_us = at_us;
            session.ended_us = ended_us.max(session.ended_us);
            return;
        }
        if self.live.len() >= MOST {
            self.let_idle_go();
        }
        let session = Session {
            turns: 1,
            arrived_us: at_us,
            ended_us,
        };
        self.live.insert(id, session);
    }

    /// Lets go of the half that was idle the longest.
    fn let_idle_go(&mut self) {
        let mut arrivals: Vec<_> = self
            .live
            .iter()
            .map(|(&id, session)| (session.arrived_us, id))
            .collect();
        arrivals.sort_unstable();
        for (_, id) in arrivals.into_iter().take(MOST / 2) {
            if let Some(session) = self.live.remove(&id) {
                self.let_go += 1;
                self.close(session);
            }
        }
    }

    fn close(&mut self, session: Session) {
        self.turns.add(session.turns);
        self.turns_histogram.add(session.turns, 1);
    }

    /// `None` where no exchange has a session.
    pub(super) fn finish(mut self) -> Option<SessionTurns> {
        for session in std::mem::take(&mut self.live).into_values() {
            self.close(session);
        }
        Some(SessionTurns {
            without_session: self.without_session,
            turns: self.turns.finish(1.0)?,
            turns_histogram: self.turns_histogram.finish(1.0),
            think_ms: self.think.finish(1000.0),
            think_histogram: self.think_histogram.finish(1000.0),
            between_arrivals_ms: self.between_arrivals.finish(1000.0),
            overlapping: self.overlapping,
            let_go: self.let_go,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, Method, TraceTime};

    fn turn(session: u32, at_us: u64, lasted_us: Option<u64>) -> Exchange {
        let mut exchange = Exchange::bare(
            TraceTime::from_us(at_us),
            Endpoint::ChatCompletions,
            Method::Post,
        );
        exchange.session = Some(SessionId(session));
        exchange.response.end_us = lasted_us;
        exchange
    }

    fn turns(exchanges: impl IntoIterator<Item = Exchange>) -> Option<SessionTurns> {
        let mut meter = TurnMeter::default();
        for exchange in exchanges {
            meter.add(&exchange);
            assert!(meter.live.len() <= MOST);
        }
        meter.finish()
    }

    #[test]
    fn think_time_runs_from_the_end_of_a_turn_to_the_next_arrival() {
        let found = turns([
            turn(0, 0, Some(1_000_000)),
            turn(1, 500_000, Some(1)),
            turn(0, 5_000_000, Some(2_000_000)),
            turn(0, 8_000_000, Some(1)),
        ])
        .unwrap();
        assert_eq!((found.turns.count, found.turns.max), (2, 3.0));
        let think = found.think_ms.unwrap();
        assert_eq!((think.count, think.min, think.max), (2, 1000.0, 4000.0));
        assert_eq!(found.between_arrivals_ms.unwrap().max, 5000.0);
        assert_eq!(found.overlapping, 0);
    }

    #[test]
    fn a_turn_beside_another_has_no_think_time() {
        let found = turns([
            turn(0, 0, Some(10_000_000)),
            turn(0, 1_000_000, Some(1_000)),
            turn(0, 2_000_000, Some(1_000)),
        ])
        .unwrap();
        // The third arrived while the first was still open, though the second had ended.
        assert_eq!((found.overlapping, found.think_ms), (2, None));
    }

    #[test]
    fn where_no_end_is_known_the_arrivals_still_are() {
        let found = turns([turn(0, 0, None), turn(0, 3_000, None)]).unwrap();
        assert_eq!(found.think_ms, None);
        assert_eq!(found.between_arrivals_ms.unwrap().p50, 3.0);
        let mut lone = turn(0, 0, None);
        lone.session = None;
        assert_eq!(turns([lone]), None);
    }

    #[test]
    fn of_too_many_sessions_those_idle_the_longest_are_let_go_and_counted() {
        let all = (0..MOST as u32 + 1).map(|id| turn(id, u64::from(id), Some(1)));
        let found = turns(all).unwrap();
        assert_eq!(found.let_go, MOST as u64 / 2);
        assert_eq!(found.turns.count, MOST as u64 + 1);
    }
}

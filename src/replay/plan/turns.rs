//! Which exchanges are turns of one conversation, and how long its user took between them.

use std::collections::HashMap;

use crate::shape::Exchange;

/// Where one exchange stands in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// When the conversation began, in microseconds of the trace.
    pub(super) start_us: u64,
    /// The ordinal of the exchange that began it.
    pub(super) start_ordinal: u64,
    /// Its turns before this one.
    pub(super) number: u32,
    /// From the end of the turn before to this one; `None` for a first turn and where the turn before was still open.
    pub(super) think_us: Option<u64>,
    /// The sum of these, this one included.
    pub(super) thought_us: u64,
}

/// Where every conversation stands.
///
/// Bounded: a conversation is forgotten once so many others have had a turn that two generations of [`GENERATION`] have passed
/// over it. Should it go on after that, it goes on as a new one.
#[derive(Default)]
pub(super) struct Turns {
    young: HashMap<u32, Last>,
    old: HashMap<u32, Last>,
}

/// Conversations in a generation: some 15 MiB.
const GENERATION: usize = 1 << 18;

/// A conversation's last turn so far.
#[derive(Clone, Copy)]
struct Last {
    start_us: u64,
    start_ordinal: u64,
    number: u32,
    ended_us: u64,
    thought_us: u64,
}

impl Turns {
    /// Takes in the next exchange, which arrived at `at_us` and is the trace's number `ordinal`; exchanges without a
    /// conversation are each one of their own.
    pub(super) fn place(&mut self, exchange: &Exchange, at_us: u64, ordinal: u64) -> Place {
        let first = Place {
            start_us: at_us,
            start_ordinal: ordinal,
            number: 0,
            think_us: None,
            thought_us: 0,
        };
        let Some(session) = exchange.session else {
            return first;
        };
        let place = match self.take(session.0) {
            None => first,
            Some(last) => {
                let think_us = at_us.checked_sub(last.ended_us);
                Place {
                    start_us: last.start_us,
                    start_ordinal: last.start_ordinal,
                    number: last.number.saturating_add(1),
                    think_us,
                    thought_us: last.thought_us.saturating_add(think_us.unwrap_or(0)),
                }
            }
        };
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let last = Last {
            start_us: place.start_us,
            start_ordinal: place.start_ordinal,
            number: place.number,
            ended_us: at_us.saturating_add(took_us(exchange)),
            thought_us: place.thought_us,
        };
        self.young.insert(session.0, last);
        place
    }

    fn take(&mut self, session: u32) -> Option<Last> {
        let young = self.young.remove(&session);
        young.or_else(|| self.old.remove(&session))
    }
}

/// From an exchange's arrival to its end. Where the trace does not tell (most imports), 0: the next turn's whole distance then
/// counts as think time, which for the formats that give a delay between turns is what it is.
pub(in crate::replay) fn took_us(exchange: &Exchange) -> u64 {
    let response = &exchange.response;
    let end = response.end_us.or(exchange.outcome.at_us());
    end.or(response.last_token_us).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing::exchange;
    use crate::shape::{Outcome, SessionId};

    fn turn(session: u32, at_us: u64, took_us: u64) -> Exchange {
        let mut exchange = exchange(at_us);
        exchange.session = Some(SessionId(session));
        exchange.response.end_us = Some(took_us);
        exchange
    }

    fn places(trace: &[Exchange]) -> Vec<Place> {
        let mut turns = Turns::default();
        let numbered = trace.iter().zip(0..);
        numbered
            .map(|(exchange, n)| turns.place(exchange, exchange.at.us(), n))
            .collect()
    }

    #[test]
    fn a_turn_knows_its_number_its_start_and_the_time_since_the_answer_before() {
        let placed = places(&[
            turn(7, 100, 50),
            turn(8, 120, 10),
            turn(7, 400, 20),
            turn(7, 420, 5),
        ]);
        let told: Vec<_> = placed
            .iter()
            .map(|p| (p.start_us, p.number, p.think_us, p.thought_us))
            .collect();
        assert_eq!(
            told,
            [
                (100, 0, None, 0),
                (120, 0, None, 0),
                (100, 1, Some(250), 250),
                (100, 2, Some(0), 250)
            ]
        );
        assert_eq!(placed[3].start_ordinal, 0);
    }

    #[test]
    fn a_turn_that_came_while_the_one_before_was_open_waited_for_nothing() {
        let placed = places(&[turn(1, 0, 1000), turn(1, 500, 10), turn(1, 600, 10)]);
        assert_eq!(placed[1].think_us, None);
        // By the turn before, not by the one before that.
        assert_eq!(placed[2].think_us, Some(90));
    }

    #[test]
    fn a_turn_that_broke_off_ended_when_it_did() {
        let mut cancelled = turn(1, 0, 0);
        cancelled.response.end_us = None;
        cancelled.outcome = Outcome::ClientCancelled { at_us: 30 };
        let mut untold = turn(1, 100, 0);
        untold.response.end_us = None;
        let placed = places(&[cancelled, untold, turn(1, 150, 10)]);
        assert_eq!(placed[1].think_us, Some(70));
        assert_eq!(placed[2].think_us, Some(50), "an end that nobody knows");
    }

    #[test]
    fn lone_requests_are_first_turns() {
        let placed = places(&[exchange(0), exchange(10)]);
        assert!(placed.iter().all(|p| p.number == 0 && p.think_us.is_none()));
        assert_eq!(placed[1].start_us, 10);
    }

    #[test]
    fn memory_is_bounded_and_who_goes_on_is_remembered() {
        let mut turns = Turns::default();
        let mut at = 0;
        let most = u32::try_from(GENERATION).unwrap();
        turns.place(&turn(0, 0, 1), 0, 0);
        for session in 1..most * 3 {
            at += 1;
            turns.place(&turn(session, at, 1), at, at);
            if session % most == most / 2 {
                let again = turns.place(&turn(0, at, 1), at, at);
                assert_eq!(again.number, session / most + 1);
            }
        }
        assert!(turns.young.len() + turns.old.len() <= 2 * GENERATION);
        assert_eq!(
            turns.place(&turn(1, at, 1), at, at).number,
            0,
            "forgotten, so new"
        );
    }
}

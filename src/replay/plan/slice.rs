//! Which exchanges of the trace are in the plan.

use super::options::PlanOptions;
use super::skip::{SkipReason, Skipped, skip};
use super::turns::{Place, Turns};
use crate::replay::source::Source;
use crate::shape::Exchange;
use crate::trace::TraceError;

/// An exchange that is in the plan, and where it stands in the trace.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// When it came, in microseconds of the trace; never before the arrival before it.
    pub(super) at_us: u64,
    /// Its number among all requests of the trace.
    pub(super) ordinal: u64,
    /// What stands for its conversation, or for itself where it has none, in draws: the same whatever the slice.
    pub(super) key: u64,
    /// Where it stands in its conversation.
    pub(super) place: Place,
    /// What was recorded.
    pub(super) exchange: Exchange,
}

/// The arrivals of a slice, in order.
///
/// By session, those conversations are in it whose first turn is, with all their turns, however late: the slice is of beginnings.
/// One that began before is left out and counted, since its turns would ask for a cache that nobody filled. Otherwise the slice
/// is of arrivals.
pub(super) struct Slice<S> {
    source: S,
    by_session: bool,
    from_us: u64,
    to_us: u64,
    turns: Turns,
    latest_at_us: u64,
    ordinal: u64,
    /// Lone requests so far at the instant of the last one.
    ties: (u64, u64),
    first_pass: bool,
    over: bool,
    left_out: LeftOut,
}

/// What is not in a slice, or not in its place.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftOut {
    /// Exchanges of the slice that are not sent.
    pub(super) skipped: Skipped,
    /// Exchanges that were earlier than one before them: they are sent at once.
    pub(super) out_of_order: u64,
}

impl<S: Source> Slice<S> {
    pub(super) fn new(source: S, options: &PlanOptions) -> Self {
        Self {
            source,
            by_session: options.by_session,
            from_us: options.from_us.unwrap_or(0),
            to_us: options.to_us.unwrap_or(u64::MAX),
            turns: Turns::default(),
            latest_at_us: 0,
            ordinal: 0,
            ties: (0, 0),
            first_pass: true,
            over: false,
            left_out: LeftOut::default(),
        }
    }

    /// What has been left out so far, in one pass.
    pub(super) fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Goes back to the slice's beginning; `false` where the source cannot.
    pub(super) fn again(&mut self) -> bool {
        if !self.source.again() {
            return false;
        }
        self.turns = Turns::default();
        self.latest_at_us = 0;
        self.ordinal = 0;
        self.ties = (0, 0);
        self.first_pass = false;
        self.over = false;
        true
    }

    /// The exchange as an arrival, if the slice has it.
    fn admit(&mut self, exchange: Exchange) -> Option<Arrival> {
        let is_late = exchange.at.us() < self.latest_at_us;
        let at_us = exchange.at.us().max(self.latest_at_us);
        self.latest_at_us = at_us;
        let is_inside = (self.from_us..self.to_us).contains(&at_us);
        if let Some(reason) = skip(&exchange) {
            if is_inside {
                self.count(reason);
            }
            return None;
        }
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let key = self.key(&exchange, at_us);
        let place = self.turns.place(&exchange, at_us, ordinal);
        let counts_us = if self.by_session {
            place.start_us
        } else {
            at_us
        };
        if !(self.from_us..self.to_us).contains(&counts_us) {
            if is_inside {
                self.count(SkipReason::BegunBefore);
            }
            return None;
        }
        if is_late && self.first_pass {
            self.left_out.out_of_order += 1;
        }
        Some(Arrival {
            at_us,
            ordinal,
            key,
            place,
            exchange,
        })
    }

    fn count(&mut self, reason: SkipReason) {
        if self.first_pass {
            *self.left_out.skipped.entry(reason).or_default() += 1;
        }
    }

    /// A session's number. A lone request has none, so its instant stands for it, and its place among those of that instant.
    fn key(&mut self, exchange: &Exchange, at_us: u64) -> u64 {
        match exchange.session {
            Some(session) => u64::from(session.0),
            None => {
                let (last_us, ties) = self.ties;
                self.ties = (at_us, if last_us == at_us { ties + 1 } else { 0 });
                LONE | (at_us << 12).wrapping_add(self.ties.1)
            }
        }
    }
}

impl<S: Source> Iterator for Slice<S> {
    type Item = Result<Arrival, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            match self.source.next_exchange() {
                Some(Ok(exchange)) if !self.by_session && exchange.at.us() >= self.to_us => {
                    self.over = true;
                }
                Some(Ok(exchange)) => {
                    if let Some(arrival) = self.admit(exchange) {
                        return Some(Ok(arrival));
                    }
                }
                Some(Err(error)) => {
                    self.over = true;
                    return Some(Err(error));
                }
                None => self.over = true,
            }
        }
        None
    }
}

const LONE: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing::exchange;
    use crate::shape::{Endpoint, Outcome, SessionId};

    fn of(session: Option<u32>, at_us: u64) -> Exchange {
        let mut exchange = exchange(at_us);
        exchange.session = session.map(SessionId);
        exchange
    }

    fn cut(trace: &[Exchange], options: &PlanOptions) -> (Vec<u64>, LeftOut) {
        let mut slice = Slice::new(trace.iter().cloned().map(Ok), options);
        let at = slice
            .by_ref()
            .map(|arrival| arrival.unwrap().at_us)
            .collect();
        (at, slice.left_out().clone())
    }

    #[test]
    fn a_conversation_that_begins_in_the_slice_runs_whole_and_one_that_began_before_is_left_out() {
        let trace = [
            of(Some(1), 50),
            of(Some(2), 100),
            of(None, 150),
            of(Some(1), 200),
            of(Some(3), 300),
            of(Some(2), 900),
            of(None, 950),
        ];
        let options = PlanOptions {
            by_session: true,
            from_us: Some(100),
            to_us: Some(300),
            ..PlanOptions::default()
        };
        let (at, left_out) = cut(&trace, &options);
        assert_eq!(at, [100, 150, 900]);
        assert_eq!(left_out.skipped, [(SkipReason::BegunBefore, 1)].into());
        let by_arrival = PlanOptions {
            by_session: false,
            ..options
        };
        assert_eq!(cut(&trace, &by_arrival).0, [100, 150, 200]);
    }

    #[test]
    fn only_what_a_model_worked_on_is_sent_again() {
        let status = |status| {
            let mut refused = exchange(0);
            refused.response.status = status;
            refused.outcome = Outcome::Rejected;
            refused
        };
        let mut metrics = exchange(0);
        metrics.endpoint = Endpoint::Metrics;
        let trace = [metrics, status(400), status(429), status(503)];
        let (at, left_out) = cut(&trace, &PlanOptions::default());
        assert_eq!(at.len(), 2);
        assert_eq!(
            left_out.skipped,
            [(SkipReason::NotInference, 1), (SkipReason::BadRequest, 1)].into()
        );
    }

    #[test]
    fn an_exchange_out_of_order_comes_at_once_and_is_counted() {
        let trace = [10, 30, 20, 40].map(|at| of(None, at));
        let (at, left_out) = cut(&trace, &PlanOptions::default());
        assert_eq!(at, [10, 30, 30, 40]);
        assert_eq!(left_out.out_of_order, 1);
    }

    #[test]
    fn a_key_is_the_same_whatever_the_slice() {
        let trace = [
            of(None, 5),
            of(None, 9),
            of(None, 9),
            of(Some(4), 9),
            of(None, 20),
        ];
        let keys = |from_us| {
            let options = PlanOptions {
                from_us,
                ..PlanOptions::default()
            };
            let slice = Slice::new(trace.iter().cloned().map(Ok), &options);
            slice
                .map(|arrival| arrival.unwrap().key)
                .collect::<Vec<_>>()
        };
        let whole = keys(None);
        assert_eq!(keys(Some(9)), whole[1..]);
        let mut different = whole.clone();
        different.dedup();
        assert_eq!(different, whole);
    }
}

mod skip;
mod turns;

use serde::{Deserialize, Serialize};

use crate::shape::{Exchange, RequestShape, TokenSource, TraceTime};
use crate::trace::TraceError;

pub use skip::{SkipReason, Skipped};

use super::survey::{PlanSummary, text_bytes};
use skip::skip;
use turns::Turns;
pub(super) use turns::took_us;

/// Which part of a trace is replayed, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PlanOptions {
    /// Divides every gap between arrivals.
    pub speed: f64,
    /// Arrivals from this moment of the trace on.
    pub from_us: Option<u64>,
    /// Arrivals before this moment of the trace.
    pub to_us: Option<u64>,
    /// At most this many requests.
    pub limit: Option<u64>,
    /// What prompts whose tokens were only estimated are counted by: bytes that make a token. Prompts that share a beginning
    /// must agree on its tokens, so an estimate has to go by the ratio of those that were counted.
    pub bytes_per_token: Option<f64>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            speed: 1.0,
            from_us: None,
            to_us: None,
            limit: None,
            bytes_per_token: None,
        }
    }
}

impl PlanOptions {
    /// The moment before which nothing of the trace is needed.
    pub fn from(&self) -> TraceTime {
        TraceTime::from_us(self.from_us.unwrap_or(0))
    }
}

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRequest {
    /// Position in the plan, from 0.
    pub index: u64,
    /// When to send it, in microseconds since the run's start; for a later turn of a linked conversation, when it would have been
    /// sent by the trace alone.
    pub intended_us: u64,
    /// Where it stands in its conversation.
    pub turn: Turn,
    /// What was recorded.
    pub exchange: Exchange,
}

/// Where a request stands in its conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The conversation, where the trace has one: an id of the plan (copies of a session have ids of their own).
    pub session: Option<u64>,
    /// From 0.
    pub number: u32,
    /// From the end of the turn before (as recorded) to this one's arrival: the time that the user, or the agent's tools, took.
    /// Absent for a first turn, and where the turn before was still open when this one came.
    pub think_us: Option<u64>,
}

/// A trace turned into a plan, exchange by exchange: it holds one at a time, so a trace of any length plans in constant memory.
///
/// The plan starts with its first request: `intended_us = (at - first at) / speed`, in the order of the trace, ties included.
/// An exchange that is out of time order (a damaged or foreign trace) is sent at once and counted.
pub struct Planner<I> {
    exchanges: I,
    options: PlanOptions,
    first_at_us: Option<u64>,
    latest_at_us: u64,
    turns: Turns,
    over: bool,
    summary: PlanSummary,
}

impl<I> Planner<I>
where
    I: Iterator<Item = Result<Exchange, TraceError>>,
{
    /// A plan over `exchanges`, which come in order of arrival.
    pub fn new(exchanges: I, options: PlanOptions) -> Self {
        Self {
            exchanges,
            options,
            first_at_us: None,
            latest_at_us: 0,
            turns: Turns::default(),
            over: false,
            summary: PlanSummary::default(),
        }
    }

    /// What has been planned so far.
    pub fn summary(&self) -> &PlanSummary {
        &self.summary
    }

    /// Runs through the whole plan and says what is in it.
    ///
    /// # Errors
    /// When the trace cannot be read.
    pub fn survey(mut self) -> Result<PlanSummary, TraceError> {
        for planned in &mut self {
            planned?;
        }
        Ok(self.summary)
    }

    fn plan(&mut self, mut exchange: Exchange) -> PlannedRequest {
        if let Some(ratio) = self.options.bytes_per_token {
            recount(&mut exchange.request, ratio);
        }
        let at_us = exchange.at.us();
        if at_us < self.latest_at_us {
            self.summary.out_of_order += 1;
        }
        self.latest_at_us = self.latest_at_us.max(at_us);
        let first_at_us = *self.first_at_us.get_or_insert(at_us);
        let intended_us = scaled(self.latest_at_us - first_at_us, self.options.speed);
        let ordinal = self.summary.planned;
        let place = self.turns.place(&exchange, self.latest_at_us, ordinal);
        let planned = PlannedRequest {
            index: ordinal,
            intended_us,
            turn: Turn {
                session: exchange.session.map(|session| u64::from(session.0)),
                number: place.number,
                think_us: place.think_us,
            },
            exchange,
        };
        self.summary.add(&planned);
        planned
    }
}

impl<I> Iterator for Planner<I>
where
    I: Iterator<Item = Result<Exchange, TraceError>>,
{
    type Item = Result<PlannedRequest, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            if self
                .options
                .limit
                .is_some_and(|limit| self.summary.planned >= limit)
            {
                self.over = true;
                break;
            }
            let exchange = match self.exchanges.next() {
                Some(Ok(exchange)) => exchange,
                Some(Err(error)) => {
                    self.over = true;
                    return Some(Err(error));
                }
                None => {
                    self.over = true;
                    break;
                }
            };
            let at_us = exchange.at.us();
            if self.options.to_us.is_some_and(|to| at_us >= to) {
                self.over = true;
                break;
            }
            if self.options.from_us.is_some_and(|from| at_us < from) {
                continue;
            }
            if let Some(reason) = skip(&exchange) {
                *self.summary.skipped.entry(reason).or_default() += 1;
                continue;
            }
            return Some(Ok(self.plan(exchange)));
        }
        None
    }
}

/// Replaces an estimated count of prompt tokens by one that goes by `bytes_per_token`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an estimate, and the cast saturates"
)]
fn recount(request: &mut RequestShape, bytes_per_token: f64) {
    let bytes = text_bytes(request);
    if let Some(tokens) = &mut request.prompt_tokens
        && tokens.source == TokenSource::Estimated
        && bytes > 0
    {
        tokens.count = (bytes as f64 / bytes_per_token).ceil() as u32;
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "exact below 2^53 us = 285 years, and the cast saturates"
)]
fn scaled(us: u64, speed: f64) -> u64 {
    if speed == 1.0 {
        us
    } else {
        (us as f64 / speed).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing::exchange;
    use crate::shape::{Endpoint, MessageShape, Outcome, Role, TokenCount};
    use proptest::prelude::*;

    #[test]
    fn estimates_go_by_the_counts_that_are_known() {
        let prompt = |source, count| {
            let mut exchange = exchange(0);
            exchange.request.messages = vec![MessageShape {
                role: Role::User,
                bytes: 600,
                tokens: None,
            }];
            exchange.request.prompt_tokens = Some(TokenCount { count, source });
            exchange
        };
        let trace = || {
            [
                prompt(TokenSource::Usage, 100),
                prompt(TokenSource::Estimated, 150),
            ]
            .into_iter()
            .map(Ok)
        };
        let survey = Planner::new(trace(), PlanOptions::default())
            .survey()
            .unwrap();
        assert_eq!(survey.bytes_per_token(), Some(6.0));
        let options = PlanOptions {
            bytes_per_token: survey.bytes_per_token(),
            ..PlanOptions::default()
        };
        let counts: Vec<u32> = Planner::new(trace(), options)
            .map(|planned| {
                planned
                    .unwrap()
                    .exchange
                    .request
                    .prompt_tokens
                    .unwrap()
                    .count
            })
            .collect();
        assert_eq!(counts, [100, 100]);
    }

    fn plan(at_us: &[u64], options: PlanOptions) -> Vec<(u64, u64)> {
        let exchanges = at_us.iter().map(|&at| Ok(exchange(at)));
        Planner::new(exchanges, options)
            .map(|planned| {
                let planned = planned.unwrap();
                (planned.index, planned.intended_us)
            })
            .collect()
    }

    #[test]
    fn the_plan_starts_with_its_first_request_and_keeps_ties_and_order() {
        let options = PlanOptions::default();
        assert_eq!(
            plan(&[500, 500, 800, 2000], options),
            [(0, 0), (1, 0), (2, 300), (3, 1500)]
        );
    }

    #[test]
    fn speed_divides_gaps() {
        let faster = PlanOptions {
            speed: 20.0,
            ..PlanOptions::default()
        };
        assert_eq!(plan(&[0, 1000, 3000], faster), [(0, 0), (1, 50), (2, 150)]);
        let slower = PlanOptions {
            speed: 0.5,
            ..PlanOptions::default()
        };
        assert_eq!(plan(&[0, 1000], slower), [(0, 0), (1, 2000)]);
    }

    #[test]
    fn a_slice_is_from_inclusive_to_exclusive_and_limited() {
        let slice = PlanOptions {
            from_us: Some(100),
            to_us: Some(400),
            limit: Some(2),
            ..PlanOptions::default()
        };
        let at = [0, 100, 150, 399, 400];
        assert_eq!(plan(&at, slice), [(0, 0), (1, 50)]);
        let unlimited = PlanOptions {
            limit: None,
            ..slice
        };
        assert_eq!(plan(&at, unlimited), [(0, 0), (1, 50), (2, 299)]);
    }

    #[test]
    fn only_what_a_model_worked_on_is_sent_again() {
        let status = |status| {
            let mut refused = exchange(0);
            refused.response.status = status;
            refused.outcome = Outcome::Rejected;
            Ok(refused)
        };
        let mut metrics = exchange(0);
        metrics.endpoint = Endpoint::Metrics;
        let trace = [Ok(metrics), status(400), status(429), status(503)];
        let summary = Planner::new(trace.into_iter(), PlanOptions::default())
            .survey()
            .unwrap();
        assert_eq!(summary.planned, 2);
        assert_eq!(
            summary.skipped,
            [(SkipReason::NotInference, 1), (SkipReason::BadRequest, 1)].into()
        );
    }

    #[test]
    fn an_exchange_out_of_order_is_sent_at_once_and_counted() {
        let trace = [10, 30, 20, 40].map(|at| Ok(exchange(at)));
        let mut planner = Planner::new(trace.into_iter(), PlanOptions::default());
        let intended: Vec<u64> = planner.by_ref().map(|p| p.unwrap().intended_us).collect();
        assert_eq!(intended, [0, 20, 20, 30]);
        assert_eq!(planner.summary().out_of_order, 1);
    }

    proptest! {
        #[test]
        fn intended_times_rise(mut at in prop::collection::vec(0_u64..1 << 40, 0..50), speed in 0.01_f64..100.0) {
            at.sort_unstable();
            let options = PlanOptions { speed, ..PlanOptions::default() };
            let planned = plan(&at, options);
            prop_assert_eq!(planned.len(), at.len());
            prop_assert!(planned.windows(2).all(|w| w[0].1 <= w[1].1));
        }
    }
}

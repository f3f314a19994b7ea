use serde::{Deserialize, Serialize};

use crate::shape::{Endpoint, Exchange, FinishReason, GapSketch, Outcome};

/// What became of one planned request. Moments are microseconds since the target's run began, on a monotonic clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOutcome {
    /// Position in the plan, from 0.
    pub index: u64,
    /// The conversation it belongs to, where the trace has one: an id of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Its place in that conversation, from 0.
    pub turn: u32,
    /// When the trace alone would have it sent. Differs from `intended_us` where a conversation came to this turn sooner or later
    /// than production did.
    pub planned_us: u64,
    /// When it should have been sent: by the plan, or, where it waits for its conversation's turn before, by that one's end.
    pub intended_us: u64,
    /// When its first byte was handed to the connection; `None` where it never was.
    pub sent_us: Option<u64>,
    /// When the response head arrived.
    pub headers_us: Option<u64>,
    /// When the first token event arrived (streams), or the whole answer (plain bodies).
    pub first_token_us: Option<u64>,
    /// When the first token after any reasoning arrived.
    pub first_answer_us: Option<u64>,
    /// When the last token event arrived.
    pub last_token_us: Option<u64>,
    /// When it was over: last byte, failure or cancel.
    pub end_us: u64,
    /// Whether the answer was streamed (TTFT, ITL and TPOT are measured on streams only).
    pub stream: bool,
    /// How it ended.
    pub result: SendResult,
    /// HTTP status, where one arrived.
    pub status: Option<u16>,
    /// Seconds for which the target asked not to be asked again (`retry-after`); noted, not obeyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// The target refused it, or broke its answer off, and told that its memory had run out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_memory: bool,
    /// Prompt tokens in the trace.
    pub recorded_prompt_tokens: Option<u32>,
    /// Prompt tokens that the text was written for: as recorded (or estimated), times `--token-ratio`.
    pub wanted_prompt_tokens: Option<u32>,
    /// Prompt tokens as the target counted them.
    pub prompt_tokens: Option<u32>,
    /// Output tokens in the trace.
    pub recorded_output_tokens: Option<u32>,
    /// Output tokens that were asked for, over all choices; `None` where the answer's length was left to the target, or
    /// not seen whole in the trace.
    pub wanted_output_tokens: Option<u32>,
    /// Output tokens as the target counted them (or token events, where it did not).
    pub output_tokens: Option<u32>,
    /// Why the target stopped, where it told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishReason>,
    /// Prompt tokens that repeat an earlier prompt of this run, as planned: what an infinite prefix cache would hit.
    pub planned_shared_tokens: u32,
    /// Prompt tokens from the target's cache, where it told.
    pub cached_tokens: Option<u32>,
    /// Stream events with at least one token.
    pub token_events: u32,
    /// Gaps between successive token events, in order.
    #[serde(skip)]
    pub gaps_us: Vec<u32>,
    /// The answer came from a simulated server.
    pub simulated: bool,
    /// What production felt at this request.
    pub recorded: RecordedTimes,
    /// The gaps between its token events there, as counts; empty where the trace does not tell.
    #[serde(skip)]
    pub recorded_gaps: GapSketch,
}

impl RequestOutcome {
    /// Its client went away, where the recorded one had, before anything had come: an answer that its user did not live to see.
    pub fn is_abandoned(&self) -> bool {
        self.result == SendResult::Cancelled && self.first_token_us.is_none()
    }
}

/// A request's twin in the trace: what it was, and what its client felt when it was recorded. Microseconds since its arrival at the recorder; absent
/// where the trace does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedTimes {
    /// What it asked of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// When it arrived, since the trace's epoch.
    pub at_us: u64,
    /// To the first token of any kind (streams only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_us: Option<u64>,
    /// To the last token event (streams only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token_us: Option<u64>,
    /// To the last byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_us: Option<u64>,
    /// The longest gap between two token events (streams only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_gap_us: Option<u64>,
    /// Exchanges open at the recorder when it arrived.
    pub in_flight: u32,
    /// Whether its answer was seen whole.
    pub completed: bool,
    /// How it failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
}

impl RecordedTimes {
    /// Of an exchange as it was recorded.
    pub(crate) fn of(exchange: &Exchange) -> Self {
        let response = &exchange.response;
        let failure = failure(exchange);
        Self {
            endpoint: Some(exchange.endpoint),
            at_us: exchange.at.us(),
            first_token_us: response.first_token_us,
            last_token_us: response.last_token_us,
            end_us: response.end_us.or(failure.and_then(|(_, at_us)| at_us)),
            longest_gap_us: response.gaps.longest_gap_us(),
            in_flight: exchange.in_flight,
            completed: exchange.outcome == Outcome::Completed,
            failure: failure.map(|(kind, _)| kind),
        }
    }
}

/// How production failed at an exchange, and when that was seen; `None` where it did not, or nobody saw the end.
fn failure(exchange: &Exchange) -> Option<(FailureKind, Option<u64>)> {
    Some(match exchange.outcome {
        Outcome::Rejected => (FailureKind::of_status(exchange.response.status)?, None),
        Outcome::UpstreamRefused { at_us } => (FailureKind::Connect, Some(at_us)),
        Outcome::UpstreamReset { at_us } => (FailureKind::Reset, Some(at_us)),
        Outcome::UpstreamTimeout { at_us } => (FailureKind::Timeout, Some(at_us)),
        Outcome::Truncated { at_us } => (FailureKind::Truncated, Some(at_us)),
        Outcome::Completed | Outcome::ClientCancelled { .. } | Outcome::InFlight { .. } => {
            return None;
        }
    })
}

/// How a replayed request ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendResult {
    /// The answer arrived whole.
    #[default]
    Ok,
    /// It failed: a miss of every latency objective.
    Failed(FailureKind),
    /// It was cancelled where the recorded client had cancelled.
    Cancelled,
}

/// Why a replayed request failed; the keys of `requests.errors` in the result document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection.
    Connect,
    /// TLS was refused.
    Tls,
    /// The connection broke.
    Reset,
    /// No answer in time.
    Timeout,
    /// What came back is not HTTP.
    NotHttp,
    /// 429.
    RateLimited,
    /// 503.
    Overloaded,
    /// Any other 4xx.
    ClientError,
    /// Any other 5xx.
    ServerError,
    /// The stream ended early or held an error.
    Truncated,
    /// The guard on requests in flight was reached: the generator gave up, so the run is invalid.
    Dropped,
}

impl FailureKind {
    /// What an HTTP status says; `None` for success.
    pub(crate) fn of_status(status: u16) -> Option<Self> {
        match status {
            429 => Some(Self::RateLimited),
            // 529 is Anthropic's "overloaded".
            503 | 529 => Some(Self::Overloaded),
            500.. => Some(Self::ServerError),
            200..300 => None,
            // A redirect is not followed: the answer is not what was asked for.
            _ => Some(Self::ClientError),
        }
    }

    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::NotHttp => "not_http",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Truncated => "truncated",
            Self::Dropped => "dropped",
        }
    }
}

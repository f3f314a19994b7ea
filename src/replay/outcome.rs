use serde::Serialize;

/// What became of one planned request. Moments are microseconds since the target's run began, on a monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestOutcome {
    /// Position in the plan, from 0.
    pub index: u64,
    /// When it should have been sent.
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
    /// Prompt tokens in the trace.
    pub recorded_prompt_tokens: Option<u32>,
    /// Prompt tokens as the target counted them.
    pub prompt_tokens: Option<u32>,
    /// Output tokens in the trace.
    pub recorded_output_tokens: Option<u32>,
    /// Output tokens as the target counted them (or token events, where it did not).
    pub output_tokens: Option<u32>,
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
}

/// How a replayed request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SendResult {
    /// The answer arrived whole.
    Ok,
    /// It failed: a miss of every latency objective.
    Failed(FailureKind),
    /// It was cancelled where the recorded client had cancelled.
    Cancelled,
}

/// Why a replayed request failed; the keys of `requests.errors` in the result document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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

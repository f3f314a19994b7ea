//! Wire dialects, both ways: bytes → shape (observe) and shape → bytes (synthesise). No I/O.

use crate::anonymise::{ChainKey, Private, RenderedPrompt};
use crate::shape::{
    Endpoint, FinishReason, GapSketch, Method, RequestParams, Role, TokenCount, ToolsShape,
};

/// Which endpoint a request speaks to, from its method and path (query excluded).
pub fn endpoint_of(_method: Method, _path: &str) -> Endpoint {
    Endpoint::Other
}

/// What a request's body says about its load.
#[derive(Default)]
pub struct RequestSight {
    /// The model asked for.
    pub model: Option<Private>,
    /// The prompt: chain, messages, tools, media.
    pub prompt: RenderedPrompt,
    /// Parameters that set the load.
    pub params: RequestParams,
}

/// A body that is not what its dialect says. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unparsable {
    /// The body is not JSON, or not of the dialect's form.
    #[error("the body does not read as {0:?}")]
    Body(crate::shape::Dialect),
}

/// Reads a whole request body.
///
/// # Errors
/// When the body is not of the endpoint's form.
pub fn observe_request(
    _endpoint: Endpoint,
    _body: &[u8],
    _key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    todo!()
}

/// Watches one response go by, in whatever pieces it comes.
pub struct ResponseObserver {}

/// What the response head tells the observer.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: u16,
    /// The `content-type`, where there is one.
    pub content_type: Option<&'a str>,
    /// The `content-encoding`, where there is one.
    pub content_encoding: Option<&'a str>,
}

/// What an answer's body showed. Moments are on the clock of the `at_us` that the pieces were fed with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseSight {
    /// First token event of any kind (streams only).
    pub first_token_us: Option<u64>,
    /// First token event of the answer proper (streams only).
    pub first_answer_us: Option<u64>,
    /// Last token event (streams only).
    pub last_token_us: Option<u64>,
    /// Gaps between token events.
    pub gaps: GapSketch,
    /// The same gaps one by one, in order, where asked for.
    pub all_gaps_us: Vec<u32>,
    /// Prompt tokens as the server counted them (cached ones included).
    pub prompt_tokens: Option<u32>,
    /// Tokens generated over all choices, and who counted.
    pub output_tokens: Option<TokenCount>,
    /// Prompt tokens from the server's cache.
    pub cached_tokens: Option<u32>,
    /// Reasoning tokens among the output.
    pub reasoning_tokens: Option<u32>,
    /// Why generation stopped.
    pub finish: Option<FinishReason>,
    /// Tool calls in the answer.
    pub tool_calls: u16,
    /// Stream events with data.
    pub events: u32,
    /// Stream events with at least one token.
    pub token_events: u32,
    /// The dialect's own end mark was seen (`[DONE]`, `message_stop`), or a plain body was whole JSON.
    pub ended: bool,
    /// The server reported an error inside the body.
    pub error: bool,
    /// A piece did not parse.
    pub unparsable: bool,
}

impl ResponseObserver {
    /// An observer for one response. `keep_gaps` also keeps every gap in order.
    pub fn new(
        _endpoint: Endpoint,
        _params: &RequestParams,
        _head: ResponseHead<'_>,
        _keep_gaps: bool,
    ) -> Self {
        Self {}
    }

    /// Takes the next piece of the body, which arrived at `at_us`.
    pub fn data(&mut self, _at_us: u64, _bytes: &[u8]) {}

    /// Stream events with at least one token so far.
    pub fn token_events(&self) -> u32 {
        0
    }

    /// What was seen.
    pub fn finish(self) -> ResponseSight {
        ResponseSight::default()
    }
}

/// A request to be written, in no dialect yet.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The endpoint to write it for.
    pub endpoint: Endpoint,
    /// The model to ask for.
    pub model: &'a str,
    /// The messages: role and text.
    pub messages: &'a [(Role, String)],
    /// Tools to offer: how many, and their bytes in all. (Their text is the same for the same shape.)
    pub tools: ToolsShape,
    /// Parameters as recorded.
    pub params: RequestParams,
    /// How long the answer shall be.
    pub output: OutputLength,
}

/// How long an answer shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputLength {
    /// Exactly this many tokens, where the engine can (`min_tokens`, `ignore_eos`, `max_tokens`).
    Exact(u32),
    /// At most this many.
    Cap(u32),
    /// As the recorded request said.
    Free,
}

/// A request in a dialect's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireRequest {
    /// Path below the target's base URL.
    pub path: &'static str,
    /// Headers beyond host, length and credentials.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Writes a draft in its endpoint's dialect.
pub fn synthesise(_draft: &Draft<'_>) -> WireRequest {
    todo!()
}

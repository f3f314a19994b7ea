//! Wire dialects, both ways: bytes → shape (observe) and shape → bytes (synthesise). A folder for each family of APIs (`request`
//! and `answer` observe, `synthesise` writes); beside them what all share: how a path tells the dialect (`detect`), how bodies are cut
//! (`framing`), pieces of JSON (`json`), what is counted (`answer`), what is to be said (`draft`). No I/O.
//!
//! Reading keeps lengths, counts and moments; the text itself goes into a [`PromptRender`],
//! which hashes and forgets it. No error quotes a body.

mod answer;
mod anthropic;
mod cohere;
mod detect;
mod draft;
mod framing;
mod gemini;
mod json;
mod kserve;
mod media;
mod memory;
mod ollama;
mod openai;
mod tgi;
mod words;

#[cfg(fuzzing)]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

pub use answer::{AnswerReader, AnswerText, ResponseObserver};
pub use detect::{
    Detected, DialectRule, RuleError, Told, detect, endpoint_of, endpoint_of_body, model_in_path,
};
pub use draft::{Draft, DraftMedia, Forcing, OutputLength, WireRequest};
pub use framing::grpc::http_status as http_status_of_grpc;
pub use framing::{Coded, Coding, Decoder, Undecodable, is_stream, media_type};
pub use memory::tells_of_memory;

use self::draft::Rare;
use crate::anonymise::{ChainKey, Private, PromptRender, RenderedPrompt};
use crate::shape::{Dialect, Endpoint, FinishReason, GapSketch, RequestParams, TokenCount};

/// What a request's body says about its load.
#[derive(Clone, Default)]
pub struct RequestSight {
    /// The model asked for.
    pub model: Option<Private>,
    /// The prompt: chain, messages, tools, media.
    pub prompt: RenderedPrompt,
    /// Parameters that set the load.
    pub params: RequestParams,
}

impl RequestSight {
    fn new(params: RequestParams, model: Option<json::Text<'_>>, prompt: PromptRender) -> Self {
        Self {
            model: model.map(|model| Private::new(model.0)),
            prompt: prompt.finish(),
            params,
        }
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        self.prompt.held_bytes() + self.model.as_ref().map_or(0, Private::held_bytes)
    }
}

/// A body that is not what its dialect says. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unparsable {
    /// The body is not JSON, or not of the dialect's form.
    #[error("the body does not read as {0:?}")]
    Body(Dialect),
    /// There is more in it than is read.
    #[error("the body's lists hold more items, or take more memory, than is read")]
    TooMany(Dialect),
}

impl Unparsable {
    fn new(dialect: Dialect, refused: json::Refused) -> Self {
        match refused {
            json::Refused::Malformed => Self::Body(dialect),
            json::Refused::TooMany => Self::TooMany(dialect),
        }
    }
}

/// Reads a whole request body. An endpoint without a dialect has nothing to read.
///
/// # Errors
/// When the body is not of the endpoint's form.
pub fn observe_request(
    endpoint: Endpoint,
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    let dialect = endpoint.dialect();
    let sight = match dialect {
        Dialect::OpenAiChat => openai::chat::observe(body, key),
        Dialect::OpenAiCompletions => openai::completions::observe(body, key),
        Dialect::AnthropicMessages => anthropic::observe(body, key),
        Dialect::OpenAiResponses => openai::responses::observe(body, key),
        Dialect::OpenAiEmbeddings => openai::embeddings::observe(body, key),
        Dialect::OllamaGenerate => ollama::observe_generate(body, key),
        Dialect::OllamaChat => ollama::observe_chat(body, key),
        Dialect::OllamaEmbed => ollama::observe_embed(body, key),
        Dialect::Tgi => tgi::observe(endpoint, body, key),
        Dialect::CohereChat => cohere::observe(body, key),
        Dialect::Gemini => gemini::observe(endpoint, body, key),
        Dialect::Triton => kserve::triton::observe(endpoint, body, key),
        Dialect::Kserve => kserve::rest::observe(body, key),
        Dialect::KserveGrpc => kserve::grpc::observe(body, key),
        Dialect::Realtime | Dialect::Generic => Ok(RequestSight::default()),
    }?;
    if sight.prompt.overfull {
        return Err(Unparsable::TooMany(dialect));
    }
    Ok(sight)
}

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
    /// Gaps between token events; with several choices, of their merged stream.
    pub gaps: GapSketch,
    /// The same gaps one by one, in order, where asked for.
    pub all_gaps_us: Vec<u32>,
    /// Prompt tokens as the server counted them (cached ones included).
    pub prompt_tokens: Option<u32>,
    /// Tokens generated over all choices, and who counted.
    pub output_tokens: Option<TokenCount>,
    /// Tokens of the answer's text by the local tokenizer: of a plain answer, where there is a tokenizer and the server told no count.
    pub answer_tokens: Option<u32>,
    /// Prompt tokens from the server's cache.
    pub cached_tokens: Option<u32>,
    /// Reasoning tokens among the output.
    pub reasoning_tokens: Option<u32>,
    /// Why generation stopped.
    pub finish: Option<FinishReason>,
    /// Tool calls in the answer.
    pub tool_calls: u16,
    /// Bytes of the answer's text as a next turn would repeat it, of the first choice: reasoning left out.
    pub answer_bytes: u64,
    /// What the server calls the answer, where a later request may go on from it by that name.
    pub answer_name: Option<Private>,
    /// Stream events with data.
    pub events: u32,
    /// Stream events with at least one token.
    pub token_events: u32,
    /// The dialect's own end mark was seen (`[DONE]`, `message_stop`), or a plain body was whole JSON.
    pub ended: bool,
    /// The server reported an error inside the body.
    pub error: bool,
    /// That error says that memory ran out.
    pub out_of_memory: bool,
    /// A piece did not parse.
    pub unparsable: bool,
    /// There was more of it than is read.
    pub too_large: bool,
    /// A content coding that is not known hid the body, so nothing was read.
    pub encoded: bool,
}

/// Writes a draft in its endpoint's dialect; one without a dialect, or whose dialect a replay does not speak, is written as
/// OpenAI chat.
pub fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let mut rare = Rare::of(draft);
    let mut wire = match draft.endpoint.dialect() {
        Dialect::OpenAiChat
        | Dialect::Generic
        | Dialect::Kserve
        | Dialect::KserveGrpc
        | Dialect::Realtime => openai::chat::synthesise(draft, &mut rare),
        Dialect::OpenAiResponses => openai::responses::synthesise(draft),
        Dialect::OpenAiEmbeddings => openai::embeddings::synthesise(draft, &mut rare),
        Dialect::OllamaGenerate => ollama::synthesise_generate(draft, &mut rare),
        Dialect::OllamaChat => ollama::synthesise_chat(draft, &mut rare),
        Dialect::OllamaEmbed => ollama::synthesise_embed(draft, &mut rare),
        Dialect::Tgi => tgi::synthesise(draft),
        Dialect::CohereChat => cohere::synthesise(draft),
        Dialect::Gemini => gemini::synthesise(draft),
        Dialect::Triton => kserve::triton::synthesise(draft),
        Dialect::OpenAiCompletions => openai::completions::synthesise(draft, &mut rare),
        Dialect::AnthropicMessages => anthropic::synthesise(draft, &mut rare),
    };
    wire.altered.extend(rare.left());
    wire
}

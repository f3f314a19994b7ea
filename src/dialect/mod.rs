//! Wire dialects, both ways: bytes → shape (observe) and shape → bytes (synthesise). One file for each wire API; no I/O.
//!
//! Reading keeps lengths, counts and moments; the text itself goes into a [`PromptRender`](crate::anonymise::PromptRender),
//! which hashes and forgets it. No error quotes a body.

mod answer;
mod anthropic_messages;
mod array;
mod coding;
mod cohere_chat;
mod draft;
mod embeddings;
mod endpoint;
mod gemini;
mod grpc;
mod json;
mod kserve;
mod kserve_grpc;
mod lines;
mod media;
mod memory;
mod ollama;
mod openai;
mod openai_body;
mod openai_chat;
mod openai_completions;
mod openai_responses;
mod repeat;
mod response;
mod rule;
mod schema;
mod sse;
mod tally;
mod tgi;
mod tools;
mod triton;

#[cfg(test)]
mod drafts;
#[cfg(test)]
mod fixtures;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
#[cfg(test)]
mod transcripts;
#[cfg(test)]
mod variants;

pub use answer::{AnswerReader, AnswerText};
pub use coding::{Coded, Coding, Decoder, Undecodable};
pub use draft::{Draft, DraftMedia, Forcing, OutputLength, WireRequest};
pub use endpoint::{Detected, endpoint_of, model_in_path};
pub use grpc::http_status as http_status_of_grpc;
pub use memory::tells_of_memory;
pub use response::{ResponseObserver, is_stream};
pub use rule::{DialectRule, RuleError, detect};

use crate::anonymise::{ChainKey, MAX_PARTS, Private, RenderedPrompt};
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
    #[error("the body's lists hold more than {MAX_PARTS} items")]
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
        Dialect::OpenAiChat => openai_chat::observe(body, key),
        Dialect::OpenAiCompletions => openai_completions::observe(body, key),
        Dialect::AnthropicMessages => anthropic_messages::observe(body, key),
        Dialect::OpenAiResponses => openai_responses::observe(body, key),
        Dialect::OpenAiEmbeddings => embeddings::observe(body, key),
        Dialect::OllamaGenerate => ollama::observe_generate(body, key),
        Dialect::OllamaChat => ollama::observe_chat(body, key),
        Dialect::OllamaEmbed => ollama::observe_embed(body, key),
        Dialect::Tgi => tgi::observe(endpoint, body, key),
        Dialect::CohereChat => cohere_chat::observe(body, key),
        Dialect::Gemini => gemini::observe(endpoint, body, key),
        Dialect::Triton => triton::observe(endpoint, body, key),
        Dialect::Kserve => kserve::observe(body, key),
        Dialect::KserveGrpc => kserve_grpc::observe(body, key),
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
    match draft.endpoint.dialect() {
        Dialect::OpenAiChat
        | Dialect::Generic
        | Dialect::Kserve
        | Dialect::KserveGrpc
        | Dialect::Realtime => openai_chat::synthesise(draft),
        Dialect::OpenAiResponses => openai_responses::synthesise(draft),
        Dialect::OpenAiEmbeddings => embeddings::synthesise(draft),
        Dialect::OllamaGenerate => ollama::synthesise_generate(draft),
        Dialect::OllamaChat => ollama::synthesise_chat(draft),
        Dialect::OllamaEmbed => ollama::synthesise_embed(draft),
        Dialect::Tgi => tgi::synthesise(draft),
        Dialect::CohereChat => cohere_chat::synthesise(draft),
        Dialect::Gemini => gemini::synthesise(draft),
        Dialect::Triton => triton::synthesise(draft),
        Dialect::OpenAiCompletions => openai_completions::synthesise(draft),
        Dialect::AnthropicMessages => anthropic_messages::synthesise(draft),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Role, ToolsShape};
    use proptest::prelude::*;

    const KEY: ChainKey = ChainKey::from_bytes([3; 16]);

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}:,\"a-z0-9.null -]{0,80}") {
            for endpoint in Endpoint::ALL {
                let _ = observe_request(endpoint, &body, &KEY);
                let _ = observe_request(endpoint, json.as_bytes(), &KEY);
                for kind in ["text/event-stream", "application/json", "application/x-ndjson", "application/grpc"] {
                    let head = ResponseHead { status: 200, content_type: Some(kind), content_encoding: None };
                    let mut observer = ResponseObserver::new(endpoint, head, true);
                    observer.data(1, b"data: ");
                    observer.data(2, &body);
                    observer.data(3, json.as_bytes());
                    let _ = observer.finish();
                }
            }
        }
    }

    #[test]
    fn request_fields_are_read_wherever_they_stand() {
        let body = br#"{"stream":true,"messages":[{"role":"developer","content":"a\u00e9"},
            {"content":[{"type":"text","text":"one"},{"type":"image_url","image_url":{"url":"https://x/y.png"}}],"role":"user"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":"done"}],
            "tools":[{"type":"function"},{"type" : "function"}],"max_completion_tokens":9,"max_tokens":5,"n":2,
            "temperature":0,"logprobs":true,"top_logprobs":3,"stop":["a","b"],"reasoning_effort":"low",
            "response_format":{"type":"json_schema","json_schema":{"name":"s"}},"unknown":{"x":[1]},"model":"gpt"}"#;
        let sight = observe_request(Endpoint::ChatCompletions, body, &KEY).unwrap();
        let messages: Vec<_> = sight
            .prompt
            .messages
            .iter()
            .map(|m| (m.role, m.bytes))
            .collect();
        assert_eq!(
            messages,
            [
                (Role::System, 3),
                (Role::User, 3),
                (Role::Assistant, 3),
                (Role::Tool, 4)
            ]
        );
        assert_eq!(
            sight.prompt.tools,
            ToolsShape {
                count: 2,
                bytes: 40
            }
        );
        assert_eq!(sight.prompt.media.len(), 1);
        let params = sight.params;
        assert_eq!(
            (params.max_tokens, params.n, params.greedy),
            (Some(9), 2, Some(true))
        );
        assert_eq!((params.logprobs, params.stop_count), (Some(3), 2));
        assert_eq!(
            (params.structured, params.schema_bytes),
            (crate::shape::Structured::JsonSchema, 12)
        );
        assert!(params.stream && !params.include_usage);
        assert_eq!(sight.model, Some(Private::new("gpt")));
    }

    #[test]
    fn completions_take_four_kinds_of_prompt() {
        let read = |prompt: &str| {
            let body = format!("{{\"prompt\":{prompt},\"echo\":true,\"logprobs\":2}}");
            let sight = observe_request(Endpoint::Completions, body.as_bytes(), &KEY).unwrap();
            let bytes: Vec<u32> = sight.prompt.messages.iter().map(|m| m.bytes).collect();
            assert!(sight.params.echo);
            assert_eq!(sight.params.logprobs, Some(2));
            (bytes, sight.params.token_ids)
        };
        assert_eq!(read("\"four\""), (vec![4], false));
        assert_eq!(read("[\"four\",\"seven!!\"]"), (vec![4, 7], false));
        assert_eq!(read("[1,2,3]"), (vec![12], true));
        assert_eq!(read("[[1,2],[3]]"), (vec![8, 4], true));
    }

    #[test]
    fn anthropic_content_is_read_in_template_order() {
        let body = br#"{"messages":[{"role":"user","content":[{"type":"text","text":"look"},
            {"type":"image","source":{"type":"base64","media_type":"image/gif","data":"R0lGODlhAgADAIAAAP"}}]},
            {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},
            {"type":"tool_use","id":"i","name":"f","input":{"a":1}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":"ok"}]}]}],
            "system":"brief","max_tokens":7,"tools":[{"name":"f"}],"thinking":{"type":"enabled","budget_tokens":100}}"#;
        let sight = observe_request(Endpoint::Messages, body, &KEY).unwrap();
        let messages: Vec<_> = sight
            .prompt
            .messages
            .iter()
            .map(|m| (m.role, m.bytes))
            .collect();
        assert_eq!(
            messages,
            [
                (Role::System, 5),
                (Role::User, 4),
                (Role::Assistant, 10),
                (Role::Tool, 2)
            ]
        );
        assert_eq!(sight.prompt.media[0].pixels, Some((2, 3)));
        assert_eq!(sight.prompt.media[0].message, 1);
        assert_eq!(sight.params.max_tokens, Some(7));
        assert_eq!(
            sight.params.reasoning_effort,
            Some(crate::shape::ReasoningEffort::Other)
        );
    }

    #[test]
    fn nothing_here_shows_what_it_read() {
        let wrong = observe_request(Endpoint::Messages, b"{\"messages\": \"secret\"}", &KEY)
            .err()
            .unwrap();
        assert!(!format!("{wrong} {wrong:?}").contains("secret"));
        assert_eq!(format!("{:?}", Private::new("secret")), "Private(…)");
    }
}

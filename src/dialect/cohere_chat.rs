//! Cohere's chat, version 2: `POST /v2/chat`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::draft::unsaid;
use super::json::{self, Count, Items, List, Presence, Said, Text};
use super::openai::{greedy, null_is_empty};
use super::openai_chat::{Message, role_name};
use super::repeat::Plain;
use super::response::Reader;
use super::tally::{Carried, Tally};
use super::{Draft, RequestSight, Unparsable, WireRequest, schema, tools};
use crate::anonymise::{ChainKey, Private, PromptRender};
use crate::shape::{Dialect, FinishReason, ReasoningEffort, RequestParams, Role, Structured};

/// Reads a request's body. Documents to answer from are a system message after the others of that kind, as the template has it.
pub(super) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> =
        json::read(body).map_err(|refused| Unparsable::new(Dialect::CohereChat, refused))?;
    let mut render = PromptRender::new(key);
    for tool in request.tools.iter().flat_map(|tools| tools.iter()) {
        render.tool(tool.get().as_bytes());
    }
    if let Some(documents) = request.documents.as_ref().filter(|list| !list.is_empty()) {
        render.message(Role::System);
        for document in documents.iter() {
            render.text(document.get().as_bytes());
        }
    }
    for message in request.messages.iter() {
        message.render(&mut render);
    }
    let params = request.params();
    Ok(RequestSight {
        model: request.model.map(|model| Private::new(model.0)),
        prompt: render.finish(),
        params,
    })
}

/// Writes a draft as a request.
pub(super) fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let params = &draft.params;
    let effort = params.reasoning_effort;
    let mut altered = draft.lost_in_conversation();
    altered.extend(unsaid([
        (params.n > 1, "n"),
        (params.logprobs.is_some_and(|count| count > 0), "logprobs"),
        (params.continues, "continues"),
        (
            effort.is_some_and(|effort| {
                !matches!(effort, ReasoningEffort::None | ReasoningEffort::Other)
            }),
            "reasoning_effort",
        ),
        (!draft.media.is_empty(), "media"),
    ]));
    let tools = tools::definitions(draft.tools, tools::openai, &mut altered);
    let messages = draft.messages.iter().map(|(role, text)| WireMessage {
        role: role_name(*role),
        content: text,
        tool_call_id: (*role == Role::Tool).then_some("call_0"),
    });
    let body = WireBody {
        model: draft.model,
        messages: messages.collect(),
        tools,
        stream: params.stream,
        max_tokens: draft.lengths().max_tokens,
        temperature: draft.temperature(),
        logprobs: params.logprobs.map(|_| true),
        stop_sequences: draft.stops(MOST_STOPS, &mut altered),
        response_format: WireFormat::of(params, &mut altered),
        thinking: effort.map(|effort| WireThinking {
            kind: match effort {
                ReasoningEffort::None => "disabled",
                _ => "enabled",
            },
        }),
    };
    WireRequest::json("/v2/chat", &body, altered, draft.room())
}

const MOST_STOPS: u8 = 5;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    messages: List<Message<'a>>,
    #[serde(borrow, default)]
    tools: Option<List<&'a RawValue>>,
    #[serde(borrow, default)]
    documents: Option<List<&'a RawValue>>,
    #[serde(default)]
    max_tokens: Count,
    #[serde(default)]
    stream: Presence,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    p: Option<f64>,
    #[serde(default)]
    k: Option<f64>,
    #[serde(default)]
    logprobs: Presence,
    #[serde(default)]
    stop_sequences: Items,
    #[serde(borrow, default)]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Thinking<'a>>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default, alias = "schema")]
    json_schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
}

impl Request<'_> {
    fn params(&self) -> RequestParams {
        let (structured, schema_bytes) = match &self.response_format {
            Some(ResponseFormat {
                json_schema: Some(schema),
                ..
            }) => {
                let bytes = u32::try_from(schema.get().len()).unwrap_or(u32::MAX);
                (Structured::JsonSchema, bytes)
            }
            Some(format) if format.kind.as_ref().is_some_and(|it| it.0 == "json_object") => {
                (Structured::JsonObject, 0)
            }
            _ => (Structured::None, 0),
        };
        let thinking = self.thinking.as_ref().map(|thinking| match &thinking.kind {
            Some(kind) if kind.0 == "disabled" => ReasoningEffort::None,
            _ => ReasoningEffort::Other,
        });
        RequestParams {
            max_tokens: self.max_tokens.0,
            n: 1,
            stream: self.stream.0,
            greedy: greedy(self.temperature, self.p, self.k),
            structured,
            schema_bytes,
            logprobs: self.logprobs.0.then_some(0),
            stop_count: u8::try_from(self.stop_sequences.0).unwrap_or(u8::MAX),
            reasoning_effort: thinking,
            ..RequestParams::default()
        }
    }
}

/// Answers.
pub(super) struct Answers;

impl Reader for Answers {
    fn event<'a>(
        &self,
        at_us: u64,
        _name: &[u8],
        data: &'a [u8],
        tally: &mut Tally,
    ) -> Option<Plain<'a>> {
        if data.trim_ascii() == b"[DONE]" {
            return None;
        }
        let event: Event<'_> = tally.read(data)?;
        let delta = &event.delta;
        match &*event.kind.0 {
            "content-delta" | "tool-plan-delta" => {
                let (said, carried) = delta.message.said()?;
                tally.token(at_us, carried);
                let repeatable = carried == Carried::Answer;
                tally.said(if repeatable { said.bytes } else { 0 });
                return said.plainly.map(|text| Plain {
                    text,
                    carried,
                    repeatable,
                });
            }
            "tool-call-start" => {
                tally.tool_calls(1);
                tally.token(at_us, Carried::Answer);
            }
            "tool-call-delta" => tally.token(at_us, Carried::Answer),
            "message-end" => {
                note(delta.finish_reason.as_ref(), delta.usage.as_ref(), tally);
                if delta.error.0 {
                    tally.error();
                }
                tally.sight.ended = true;
            }
            _ => {}
        }
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        tally.tool_calls(answer.message.tool_calls.0);
        let parts = answer.message.content.iter();
        tally.said(parts.map(|part| part.text.bytes).sum());
        note(answer.finish_reason.as_ref(), answer.usage.as_ref(), tally);
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "null_is_empty")]
    kind: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    delta: Delta<'a>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    message: Spoken<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Presence,
}

#[derive(Default, Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    content: Content<'a>,
    #[serde(borrow, default)]
    tool_plan: Said<'a>,
}

#[derive(Default, Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    text: Said<'a>,
    #[serde(borrow, default)]
    thinking: Said<'a>,
}

impl<'a> Spoken<'a> {
    /// The one thing that it says.
    fn said(&self) -> Option<(Said<'a>, Carried)> {
        [
            (self.content.text, Carried::Answer),
            (self.content.thinking, Carried::Reasoning),
            // What it means to do with the tools, said before it does.
            (self.tool_plan, Carried::Reasoning),
        ]
        .into_iter()
        .find(|(said, _)| said.anything)
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    message: Whole<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
struct Whole<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    content: List<Content<'a>>,
    #[serde(default)]
    tool_calls: Items,
}

/// `billed_units` are what is paid for; `tokens` are what the model read and wrote.
#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    tokens: Option<Tokens>,
    #[serde(default)]
    billed_units: Option<Tokens>,
    #[serde(default)]
    cached_tokens: Count,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}

fn note(reason: Option<&Text<'_>>, usage: Option<&Usage>, tally: &mut Tally) {
    if let Some(reason) = reason {
        match &*reason.0 {
            "COMPLETE" | "STOP_SEQUENCE" => tally.finish_reason(FinishReason::Stop),
            "MAX_TOKENS" => tally.finish_reason(FinishReason::Length),
            "TOOL_CALL" => tally.finish_reason(FinishReason::ToolCalls),
            "ERROR" | "TIMEOUT" => tally.error(),
            _ => tally.finish_reason(FinishReason::Other),
        }
    }
    let Some(usage) = usage else { return };
    tally.cached_tokens(usage.cached_tokens);
    if let Some(tokens) = usage.tokens.as_ref().or(usage.billed_units.as_ref()) {
        tally.prompt_tokens(tokens.input_tokens);
        tally.output_tokens(tokens.output_tokens);
    }
}

#[derive(Serialize)]
struct WireBody<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Box<RawValue>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WireFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<WireThinking>,
}

#[derive(Serialize)]
struct WireThinking {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct WireFormat {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<Box<RawValue>>,
}

impl WireFormat {
    fn of(params: &RequestParams, altered: &mut Vec<&'static str>) -> Option<Self> {
        let json_schema = match params.structured {
            Structured::None => return None,
            Structured::JsonObject => None,
            Structured::JsonSchema => schema::schema(params.schema_bytes, 0, altered),
            Structured::Grammar => {
                altered.push("response_format");
                return None;
            }
        };
        Some(Self {
            kind: "json_object",
            json_schema,
        })
    }
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'static str>,
}

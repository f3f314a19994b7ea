use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::draft::{schema, tools, unsaid};
use crate::dialect::words::role_name;
use crate::dialect::{Draft, WireRequest};
use crate::shape::{ReasoningEffort, RequestParams, Role, Structured};

/// Writes a draft as a request.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>) -> WireRequest {
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

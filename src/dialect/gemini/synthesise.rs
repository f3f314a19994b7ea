use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::draft::{path_segment, schema, thinking_budget, tools, unsaid};
use crate::dialect::{Draft, DraftMedia, WireRequest};

use crate::shape::{ReasoningEffort, Role, Structured};

/// Writes a draft as a request: system messages go to `systemInstruction`. A stream is asked for as events.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let params = &draft.params;
    let mut altered = draft.lost_in_conversation();
    altered.extend(unsaid([
        (params.continues, "continues"),
        (
            draft.messages.iter().any(|(role, _)| *role == Role::Tool),
            "tool_messages",
        ),
    ]));
    let functions = tools::definitions(draft.tools, tools::gemini, &mut altered);
    let (mut system, mut contents) = (Vec::new(), Vec::new());
    for (index, (role, text)) in (0..).zip(draft.messages) {
        let text = WirePart::Text(text);
        match role {
            Role::System => system.push(text),
            role => contents.push(WireContent {
                role: if *role == Role::Assistant {
                    "model"
                } else {
                    "user"
                },
                parts: std::iter::once(text)
                    .chain(draft.media_of(index).map(WirePart::of))
                    .collect(),
            }),
        }
    }
    let (response_mime_type, response_schema) = match params.structured {
        Structured::None => (None, None),
        Structured::JsonObject => (Some(JSON), None),
        Structured::JsonSchema => {
            let schema = schema::schema(params.schema_bytes, 0, &mut altered);
            (Some(JSON), schema)
        }
        Structured::Grammar => {
            altered.push("response_format");
            (None, None)
        }
    };
    let body = WireBody {
        contents,
        system_instruction: (!system.is_empty()).then_some(WireSystem { parts: system }),
        tools: match functions.is_empty() {
            true => Vec::new(),
            false => vec![WireTools {
                function_declarations: functions,
            }],
        },
        generation_config: WireConfig {
            max_output_tokens: draft.lengths().max_tokens,
            candidate_count: (params.n > 1).then_some(params.n),
            temperature: draft.temperature(),
            stop_sequences: draft.stops(MOST_STOPS, &mut altered),
            response_logprobs: params.logprobs.map(|_| true),
            logprobs: params.logprobs.filter(|&count| count > 0),
            response_mime_type,
            response_json_schema: response_schema,
            thinking_config: params.reasoning_effort.map(|effort| WireThinkingConfig {
                // As the model sees fit, where the recorded budget was not kept.
                thinking_budget: thinking_budget(effort).map_or(-1, i64::from),
            }),
        },
    };
    let words = params
        .reasoning_effort
        .filter(|effort| !matches!(effort, ReasoningEffort::None | ReasoningEffort::Other));
    if words.is_some() {
        altered.push("reasoning_effort");
    }
    let model = draft.model.strip_prefix("models/").unwrap_or(draft.model);
    let verb = match params.stream {
        true => "streamGenerateContent?alt=sse",
        false => "generateContent",
    };
    let path = format!("/v1beta/models/{}:{verb}", path_segment(model));
    WireRequest::json(path, &body, altered, draft.room())
}

const JSON: &str = "application/json";
const MOST_STOPS: u8 = 5;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireBody<'a> {
    contents: Vec<WireContent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<WireSystem<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTools>,
    generation_config: WireConfig,
}

#[derive(Serialize)]
struct WireContent<'a> {
    role: &'static str,
    parts: Vec<WirePart<'a>>,
}

#[derive(Serialize)]
struct WireSystem<'a> {
    parts: Vec<WirePart<'a>>,
}

/// Each is an object with the one field of its kind.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum WirePart<'a> {
    Text(&'a str),
    InlineData(WireInline<'a>),
}

impl<'a> WirePart<'a> {
    fn of(part: &'a DraftMedia) -> Self {
        Self::InlineData(WireInline {
            mime_type: part.mime(),
            data: &part.base64,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireInline<'a> {
    mime_type: &'static str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireThinkingConfig {
    thinking_budget: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireTools {
    function_declarations: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<WireThinkingConfig>,
}

use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::draft::{ContentPart, DataUrl, WireContent, schema, tools, unsaid};
use crate::dialect::openai::wire::WireSound;
use crate::dialect::words::{effort_name, role_name};
use crate::dialect::{Draft, DraftMedia, OutputLength, WireRequest};
use crate::shape::{MediaKind, ReasoningEffort, RequestParams, Role, Structured};

/// Writes a draft as a request. Every message is an item, of tools' results too: a call that they answer is not needed.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let params = &draft.params;
    let mut altered = draft.lost_in_conversation();
    altered.extend(unsaid([
        (params.n > 1, "n"),
        (params.stop_count > 0, "stop"),
        (params.continues, "continues"),
        (
            params.reasoning_effort == Some(ReasoningEffort::Other),
            "reasoning_effort",
        ),
    ]));
    let tools = tools::definitions(draft.tools, tools::openai_flat, &mut altered);
    let input = (0..)
        .zip(draft.messages)
        .map(|(index, (role, text))| match role {
            Role::Tool => WireItem::Output {
                kind: "function_call_output",
                call_id: "call_0",
                output: text,
            },
            role => WireItem::Message {
                role: role_name(*role),
                content: WireContent::of(text, draft.media_of(index)),
            },
        });
    let input = input.collect();
    let lengths = draft.lengths();
    let body = WireBody {
        model: draft.model,
        input,
        tools,
        stream: params.stream,
        max_output_tokens: match draft.output {
            // OpenAI's own server takes no less.
            OutputLength::Cap(most) => Some(most.max(SMALLEST_CAP)),
            _ => lengths.max_tokens,
        },
        min_tokens: lengths.min_tokens,
        ignore_eos: lengths.ignore_eos,
        temperature: draft.temperature(),
        top_logprobs: params.logprobs.filter(|&count| count > 0),
        reasoning: params
            .reasoning_effort
            .and_then(effort_name)
            .map(|effort| WireReasoning { effort }),
        text: WireFormat::of(params, &mut altered).map(|format| WireTextOptions { format }),
        store: false,
    };
    let on_tools = |part: &DraftMedia| {
        let message = draft.messages.get(part.message);
        message.is_none_or(|(role, _)| *role == Role::Tool)
    };
    if draft.media.iter().any(on_tools) {
        altered.push("media");
    }
    WireRequest::json("/v1/responses", &body, altered, draft.room())
}

const SMALLEST_CAP: u32 = 16;

#[derive(Serialize)]
struct WireBody<'a> {
    model: &'a str,
    input: Vec<WireItem<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Box<RawValue>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<WireReasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<WireTextOptions>,
    store: bool,
}

#[derive(Serialize)]
struct WireTextOptions {
    format: WireFormat,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireFormat {
    JsonObject,
    JsonSchema {
        name: &'static str,
        schema: Box<RawValue>,
    },
}

impl WireFormat {
    fn of(params: &RequestParams, altered: &mut Vec<&'static str>) -> Option<Self> {
        match params.structured {
            Structured::None => None,
            Structured::JsonObject => Some(Self::JsonObject),
            Structured::JsonSchema => Some(Self::JsonSchema {
                name: "a",
                schema: schema::schema(params.schema_bytes, 0, altered)?,
            }),
            Structured::Grammar => {
                altered.push("response_format");
                None
            }
        }
    }
}

#[derive(Serialize)]
struct WireReasoning {
    effort: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireItem<'a> {
    Message {
        role: &'static str,
        content: WireContent<'a, WirePart<'a>>,
    },
    Output {
        #[serde(rename = "type")]
        kind: &'static str,
        call_id: &'static str,
        output: &'a str,
    },
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum WirePart<'a> {
    #[serde(rename = "input_text")]
    Text { text: &'a str },
    #[serde(rename = "input_image")]
    Image { image_url: DataUrl<'a> },
    #[serde(rename = "input_audio")]
    Audio { input_audio: WireSound<'a> },
}

impl<'a> ContentPart<'a> for WirePart<'a> {
    fn text(text: &'a str) -> Self {
        Self::Text { text }
    }

    fn medium(medium: &'a DraftMedia) -> Self {
        match medium.kind {
            MediaKind::Audio => Self::Audio {
                input_audio: WireSound::of(medium),
            },
            _ => Self::Image {
                image_url: medium.data_url(),
            },
        }
    }
}

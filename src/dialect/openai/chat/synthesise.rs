use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::draft::{ContentPart, DataUrl, Rare, WireContent, tools, unsaid};
use crate::dialect::openai::wire::{WireAnswers, WireFormat, WireSound};
use crate::dialect::words::{MOST_STOPS, effort_name, role_name};
use crate::dialect::{Draft, DraftMedia, WireRequest};
use crate::shape::{MediaKind, ReasoningEffort, Role};

/// Writes a draft as a request.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>, rare: &mut Rare<'_>) -> WireRequest {
    let params = &draft.params;
    let mut altered = draft.lost_in_conversation();
    altered.extend(unsaid([
        (params.stream && !params.include_usage, "include_usage"),
        (params.continues, "continues"),
        (
            params.reasoning_effort == Some(ReasoningEffort::Other),
            "reasoning_effort",
        ),
    ]));
    let tools = tools::definitions(draft.tools, tools::openai, &mut altered);
    let messages = (0..)
        .zip(draft.messages)
        .map(|(index, (role, text))| WireMessage {
            role: role_name(*role),
            content: WireContent::of(text, draft.media_of(index)),
            tool_call_id: (*role == Role::Tool).then_some("call_0"),
        });
    let body = WireBody {
        model: draft.model,
        messages: messages.collect(),
        tools,
        answers: WireAnswers::of(draft, rare),
        temperature: draft.temperature(),
        logprobs: params.logprobs.map(|_| true),
        top_logprobs: params.logprobs.filter(|&count| count > 0),
        stop: draft.stops(MOST_STOPS, &mut altered),
        reasoning_effort: params.reasoning_effort.and_then(effort_name),
        response_format: WireFormat::of(draft, &mut altered),
    };
    WireRequest::json("/v1/chat/completions", &body, altered, draft.room())
}

#[derive(Serialize)]
struct WireBody<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Box<RawValue>>,
    #[serde(flatten)]
    answers: WireAnswers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WireFormat>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: WireContent<'a, WirePart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WirePart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: WireUrl<'a> },
    InputAudio { input_audio: WireSound<'a> },
}

#[derive(Serialize)]
struct WireUrl<'a> {
    url: DataUrl<'a>,
}

impl<'a> ContentPart<'a> for WirePart<'a> {
    fn text(text: &'a str) -> Self {
        Self::Text { text }
    }

    fn medium(medium: &'a DraftMedia) -> Self {
        match medium.kind {
            MediaKind::Audio => Self::InputAudio {
                input_audio: WireSound::of(medium),
            },
            _ => Self::ImageUrl {
                image_url: WireUrl {
                    url: medium.data_url(),
                },
            },
        }
    }
}

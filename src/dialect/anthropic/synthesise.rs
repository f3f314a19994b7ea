use serde::Serialize;
use serde_json::value::RawValue;

use super::marks::{WireMark, lives_are_vague, marks_of_the_rest, pieces};
use crate::dialect::draft::{ContentPart, Rare, WireContent, thinking_budget, tools, unsaid};
use crate::dialect::{Draft, DraftMedia, WireRequest};

use crate::dialect::words::MOST_STOPS;
use crate::shape::{MediaKind, ReasoningEffort, RequestParams, Role, Structured};

/// Writes a draft as a request: system messages go to `system`, tool results to user messages.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>, rare: &mut Rare<'_>) -> WireRequest {
    let lengths = draft.lengths();
    let params = &draft.params;
    // Required; a request that said nothing was rejected, and its replay is not.
    let max_tokens = lengths.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    let mut altered = draft.lost_in_conversation();
    altered.extend(unsaid([
        (params.n > 1, "n"),
        (params.logprobs.is_some(), "logprobs"),
        (params.structured != Structured::None, "response_format"),
        (params.continues, "continues"),
        (
            draft.messages.iter().any(|(role, _)| *role == Role::Tool),
            "tool_messages",
        ),
        (draft.media.iter().any(is_sound), "audio"),
    ]));
    let thinking = WireThinking::of(params, max_tokens, &mut altered);
    let (mut system, mut messages) = (Vec::new(), Vec::new());
    for (index, (role, text)) in (0..).zip(draft.messages) {
        match role {
            Role::System => match pieces(draft, index, text).filter(|_| !text.is_empty()) {
                Some(pieces) => system.extend(pieces.into_iter().map(WireBlock::piece)),
                None => system.push(WireBlock::text(text)),
            },
            role => messages.push(WireMessage {
                role: if *role == Role::Assistant {
                    "assistant"
                } else {
                    "user"
                },
                content: content(draft, index, text),
            }),
        }
    }
    if messages
        .first()
        .is_none_or(|first| first.role == "assistant")
    {
        messages.insert(
            0,
            WireMessage {
                role: "user",
                content: WireContent::Text("the"),
            },
        );
        altered.push("first_message");
    }
    let parts = messages.iter().flat_map(|message| match &message.content {
        WireContent::Text(_) => &[][..],
        WireContent::Parts(parts) => parts.as_slice(),
    });
    let written = system
        .iter()
        .chain(parts)
        .filter(|it| it.is_marked())
        .count();
    let marks = std::mem::take(&mut rare.cache_marks);
    if written + marks_of_the_rest(draft) < marks.len() || lives_are_vague(draft) {
        altered.push("cache_control");
    }
    let thinks = matches!(thinking, Some(WireThinking::Enabled { .. }));
    let body = WireBody {
        model: draft.model,
        max_tokens,
        min_tokens: lengths.min_tokens,
        ignore_eos: lengths.ignore_eos,
        system,
        messages,
        tools: tools::definitions(
            draft.tools,
            |number, text| tool(draft, number, text),
            &mut altered,
        ),
        stream: params.stream,
        // Beside thinking none but 1 is taken.
        temperature: draft.temperature().filter(|&it| !thinks || it > 0.0),
        stop_sequences: draft.stops(MOST_STOPS, &mut altered),
        thinking,
        cache_control: WireMark::of_request(draft),
    };
    if thinks && params.greedy == Some(true) {
        altered.push("temperature");
    }
    let mut request = WireRequest::json("/v1/messages", &body, altered, draft.room());
    request.headers.push(("anthropic-version", "2023-06-01"));
    request
}

/// A message's text and pictures; a mark behind all of the text is behind the pictures.
fn content<'a>(
    draft: &'a Draft<'_>,
    message: usize,
    text: &'a str,
) -> WireContent<'a, WireBlock<'a>> {
    let pictures = draft.media_of(message).filter(|part| !is_sound(part));
    let Some(mut pieces) = pieces(draft, message, text) else {
        return WireContent::of(text, pictures);
    };
    let mut pictures: Vec<_> = pictures.map(WireBlock::medium).collect();
    if let (Some(WireBlock::Image { cache_control, .. }), Some((_, mark))) =
        (pictures.last_mut(), pieces.last_mut())
    {
        *cache_control = mark.take();
    }
    let texts = pieces.into_iter().filter(|(text, _)| !text.is_empty());
    let parts: Vec<_> = texts.map(WireBlock::piece).chain(pictures).collect();
    match parts.is_empty() {
        true => WireContent::Text(text),
        false => WireContent::Parts(parts),
    }
}

/// A tool, and the mark behind it.
fn tool(draft: &Draft<'_>, number: usize, description: &str) -> String {
    let mut tool = tools::anthropic(number, description);
    if let Some(mark) = WireMark::of_tool(draft, number).and_then(WireMark::field) {
        // Its last byte is the brace.
        tool.insert_str(tool.len() - 1, &mark);
    }
    tool
}

fn is_sound(part: &DraftMedia) -> bool {
    part.kind == MediaKind::Audio
}

const DEFAULT_MAX_TOKENS: u32 = 1024;

#[derive(Serialize)]
struct WireBody<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<WireBlock<'a>>,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Box<RawValue>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<WireThinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<WireMark>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireThinking {
    Disabled,
    Enabled { budget_tokens: u32 },
}

impl WireThinking {
    /// A budget must be 1,024 at least, and leave an answer its room.
    fn of(
        params: &RequestParams,
        max_tokens: u32,
        altered: &mut Vec<&'static str>,
    ) -> Option<Self> {
        let effort = params.reasoning_effort?;
        if effort == ReasoningEffort::None {
            return Some(Self::Disabled);
        }
        // The dialect's own budgets are recorded without their size; the words of others have no counterpart here.
        let recorded = effort == ReasoningEffort::Other;
        let budget = thinking_budget(effort).unwrap_or(SMALLEST_BUDGET);
        if max_tokens <= SMALLEST_BUDGET {
            altered.push("reasoning_effort");
            return None;
        }
        if !recorded {
            altered.push("reasoning_effort");
        }
        Some(Self::Enabled {
            budget_tokens: budget.clamp(SMALLEST_BUDGET, max_tokens - 1),
        })
    }
}

const SMALLEST_BUDGET: u32 = 1024;

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: WireContent<'a, WireBlock<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireBlock<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<WireMark>,
    },
    Image {
        source: WireSource<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<WireMark>,
    },
}

impl<'a> WireBlock<'a> {
    fn piece((text, cache_control): (&'a str, Option<WireMark>)) -> Self {
        Self::Text {
            text,
            cache_control,
        }
    }

    fn is_marked(&self) -> bool {
        match self {
            Self::Text { cache_control, .. } | Self::Image { cache_control, .. } => {
                cache_control.is_some()
            }
        }
    }
}

impl<'a> ContentPart<'a> for WireBlock<'a> {
    fn text(text: &'a str) -> Self {
        Self::piece((text, None))
    }

    fn medium(medium: &'a DraftMedia) -> Self {
        Self::Image {
            source: WireSource {
                kind: "base64",
                media_type: medium.mime(),
                data: &medium.base64,
            },
            cache_control: None,
        }
    }
}

#[derive(Serialize)]
struct WireSource<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    media_type: &'static str,
    data: &'a str,
}

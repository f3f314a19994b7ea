use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::draft::{Rare, schema, tools, unsaid};
use crate::dialect::openai::Prompts;
use crate::dialect::words::{MOST_STOPS, role_name};
use crate::dialect::{Draft, DraftMedia, WireRequest};
use crate::shape::{MediaKind, ReasoningEffort, Role, Structured};

/// Writes a draft as one prompt: system messages go to `system`, the others' texts after one another.
pub(in crate::dialect) fn synthesise_generate(
    draft: &Draft<'_>,
    rare: &mut Rare<'_>,
) -> WireRequest {
    let mut altered = altered(draft);
    let is_system = |(role, _): &&(Role, String)| *role == Role::System;
    let (system, others): (Vec<_>, Vec<_>) = draft.messages.iter().partition(is_system);
    let text = |messages: &[&(Role, String)]| {
        let texts: Vec<&str> = messages.iter().map(|(_, text)| text.as_str()).collect();
        texts.join(" ")
    };
    altered.extend(unsaid([
        (!draft.tools.is_empty(), "tools"),
        (draft.batch && draft.messages.len() > 1, "batch"),
        (
            !draft.batch && (others.len() > 1 || system.len() > 1),
            "roles",
        ),
    ]));
    let options = WireOptions::of(draft, rare, &mut altered);
    let body = WireGenerate {
        model: draft.model,
        system: Some(text(&system)).filter(|text| !text.is_empty()),
        prompt: text(&others),
        images: draft.media.iter().filter_map(picture).collect(),
        stream: draft.params.stream,
        more: WireMore::of(draft, &mut altered),
        options,
    };
    WireRequest::json("/api/generate", &body, altered, draft.room())
}

/// Writes a draft as a conversation.
pub(in crate::dialect) fn synthesise_chat(draft: &Draft<'_>, rare: &mut Rare<'_>) -> WireRequest {
    let mut altered = altered(draft);
    if draft.batch && draft.messages.len() > 1 {
        altered.push("batch");
    }
    let tools = tools::definitions(draft.tools, tools::openai, &mut altered);
    let messages = (0..)
        .zip(draft.messages)
        .map(|(index, (role, text))| WireMessage {
            role: role_name(*role),
            content: text,
            images: draft.media_of(index).filter_map(picture).collect(),
        });
    let options = WireOptions::of(draft, rare, &mut altered);
    let body = WireChat {
        model: draft.model,
        messages: messages.collect(),
        tools,
        stream: draft.params.stream,
        more: WireMore::of(draft, &mut altered),
        options,
    };
    WireRequest::json("/api/chat", &body, altered, draft.room())
}

fn picture(part: &DraftMedia) -> Option<&str> {
    (part.kind == MediaKind::Image).then_some(&part.base64)
}

/// Writes a draft as a request for embeddings: every message is a text of its own.
pub(in crate::dialect) fn synthesise_embed(draft: &Draft<'_>, rare: &mut Rare<'_>) -> WireRequest {
    let body = WireEmbed {
        model: draft.model,
        input: Prompts::of(&Draft {
            ids: None,
            ..draft.clone()
        }),
        dimensions: rare.dimensions.take(),
        options: rare
            .context_tokens
            .take()
            .map(|num_ctx| WireContext { num_ctx }),
    };
    let altered = unsaid([(draft.params.token_ids, "token_ids")]);
    WireRequest::json("/api/embed", &body, altered, draft.room())
}

/// What this dialect cannot say.
fn altered(draft: &Draft<'_>) -> Vec<&'static str> {
    let params = &draft.params;
    unsaid([
        (params.n > 1, "n"),
        (params.best_of.is_some(), "best_of"),
        (params.echo, "echo"),
        (params.token_ids, "token_ids"),
        (params.continues, "continues"),
        (params.structured == Structured::Grammar, "response_format"),
        (
            params.reasoning_effort == Some(ReasoningEffort::Minimal),
            "reasoning_effort",
        ),
        (
            draft.media.iter().any(|part| part.kind == MediaKind::Audio),
            "audio",
        ),
    ])
}

#[derive(Serialize)]
struct WireGenerate<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    prompt: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    stream: bool,
    #[serde(flatten)]
    more: WireMore,
    options: WireOptions,
}

#[derive(Serialize)]
struct WireChat<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Box<RawValue>>,
    stream: bool,
    #[serde(flatten)]
    more: WireMore,
    options: WireOptions,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
}

/// What both kinds of request may ask for beside the prompt.
#[derive(Serialize)]
struct WireMore {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<&'static RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
}

impl WireMore {
    fn of(draft: &Draft<'_>, altered: &mut Vec<&'static str>) -> Self {
        let params = &draft.params;
        Self {
            format: match params.structured {
                Structured::JsonObject => RawValue::from_string("\"json\"".to_owned()).ok(),
                Structured::JsonSchema => schema::schema(params.schema_bytes, 0, altered),
                Structured::None | Structured::Grammar => None,
            },
            think: params.reasoning_effort.and_then(|effort| {
                serde_json::from_str(match effort {
                    ReasoningEffort::None => "false",
                    ReasoningEffort::Other => "true",
                    ReasoningEffort::Minimal | ReasoningEffort::Low => "\"low\"",
                    ReasoningEffort::Medium => "\"medium\"",
                    ReasoningEffort::High => "\"high\"",
                })
                .ok()
            }),
            logprobs: params.logprobs.map(|_| true),
            top_logprobs: params.logprobs.filter(|&count| count > 0),
        }
    }
}

#[derive(Serialize)]
struct WireEmbed<'a> {
    model: &'a str,
    input: Prompts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<WireContext>,
}

#[derive(Serialize)]
struct WireContext {
    num_ctx: u32,
}

#[derive(Serialize)]
struct WireOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ctx: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<String>,
}

impl WireOptions {
    fn of(draft: &Draft<'_>, rare: &mut Rare<'_>, altered: &mut Vec<&'static str>) -> Self {
        Self {
            num_predict: draft.lengths().max_tokens,
            num_ctx: rare.context_tokens.take(),
            temperature: draft.temperature(),
            stop: draft.stops(MOST_STOPS, altered),
        }
    }
}

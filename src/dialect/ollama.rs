//! Ollama: `POST /api/generate`, `/api/chat` and `/api/embed`. Streams unless told not to.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::draft::unsaid;
use super::json::{self, Count, Items, List, Presence, Said, Text};
use super::openai::{greedy, null_is_empty, reasoning_effort};
use super::openai_chat::{MOST_STOPS, role, role_name};
use super::openai_completions::{Prompt, Prompts};
use super::repeat::Plain;
use super::response::Reader;
use super::tally::{Carried, Tally};
use super::{Draft, DraftMedia, RequestSight, Unparsable, WireRequest, media, schema, tools};
use crate::anonymise::{ChainKey, Private, PromptRender};
use crate::shape::{
    Dialect, FinishReason, MediaKind, ReasoningEffort, RequestParams, Role, Structured,
};

/// Reads the body of a request for one prompt's answer.
pub(super) fn observe_generate(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> =
        json::read(body).map_err(|refused| Unparsable::new(Dialect::OllamaGenerate, refused))?;
    let mut render = PromptRender::new(key);
    if let Some(system) = request.system.as_ref().filter(|text| !text.0.is_empty()) {
        render.message(Role::System);
        render.text(system.bytes());
    }
    render.message(Role::User);
    for text in [&request.prompt, &request.suffix].into_iter().flatten() {
        render.text(text.bytes());
    }
    pictures(request.images.as_ref(), &mut render);
    let params = RequestParams {
        // Token ids of the conversation so far, which the server gave out.
        continues: request.context.0 > 0,
        ..request.params()
    };
    Ok(RequestSight {
        model: request.model.map(|model| Private::new(model.0)),
        prompt: render.finish(),
        params,
    })
}

/// Reads the body of a request for a conversation's next message.
pub(super) fn observe_chat(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> =
        json::read(body).map_err(|refused| Unparsable::new(Dialect::OllamaChat, refused))?;
    let mut render = PromptRender::new(key);
    for tool in request.tools.iter().flat_map(|tools| tools.iter()) {
        render.tool(tool.get().as_bytes());
    }
    // Absent where a model is only to be loaded.
    for message in request.messages.iter().flat_map(|list| list.iter()) {
        message.render(&mut render);
    }
    let params = request.params();
    Ok(RequestSight {
        model: request.model.map(|model| Private::new(model.0)),
        prompt: render.finish(),
        params,
    })
}

/// Reads the body of a request for embeddings, in its present form and its first.
pub(super) fn observe_embed(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let wrong = |refused| Unparsable::new(Dialect::OllamaEmbed, refused);
    let request: Request<'_> = json::read(body).map_err(wrong)?;
    let mut render = PromptRender::new(key);
    match (&request.input, &request.prompt) {
        (Some(input), _) => input.render(&mut render),
        (None, Some(prompt)) => {
            render.message(Role::User);
            render.text(prompt.bytes());
        }
        (None, None) => return Err(wrong(json::Refused::Malformed)),
    }
    Ok(RequestSight {
        model: request.model.map(|model| Private::new(model.0)),
        prompt: render.finish(),
        params: RequestParams {
            n: 1,
            ..RequestParams::default()
        },
    })
}

/// Writes a draft as one prompt: system messages go to `system`, the others' texts after one another.
pub(super) fn synthesise_generate(draft: &Draft<'_>) -> WireRequest {
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
    let options = WireOptions::of(draft, &mut altered);
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
pub(super) fn synthesise_chat(draft: &Draft<'_>) -> WireRequest {
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
    let options = WireOptions::of(draft, &mut altered);
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
pub(super) fn synthesise_embed(draft: &Draft<'_>) -> WireRequest {
    let body = WireEmbed {
        model: draft.model,
        input: Prompts::of(&Draft {
            ids: None,
            ..draft.clone()
        }),
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

/// A request of any of the three.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    /// `generate`
    #[serde(borrow, default)]
    system: Option<Text<'a>>,
    #[serde(borrow, default)]
    prompt: Option<Text<'a>>,
    #[serde(borrow, default)]
    suffix: Option<Text<'a>>,
    #[serde(borrow, default)]
    images: Option<List<Text<'a>>>,
    #[serde(default)]
    context: Items,
    /// `chat`
    #[serde(borrow, default)]
    messages: Option<List<Message<'a>>>,
    #[serde(borrow, default)]
    tools: Option<List<&'a RawValue>>,
    /// `embed`
    #[serde(borrow, default)]
    input: Option<Prompt<'a>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(borrow, default)]
    format: Option<&'a RawValue>,
    #[serde(borrow, default)]
    think: Option<&'a RawValue>,
    #[serde(default)]
    logprobs: Presence,
    #[serde(default)]
    top_logprobs: Count,
    #[serde(default, deserialize_with = "null_is_empty")]
    options: Options,
}

#[derive(Default, Deserialize)]
struct Options {
    /// Below zero: without a bound.
    #[serde(default)]
    num_predict: Count,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    top_k: Option<f64>,
    #[serde(default)]
    stop: Items,
}

impl Request<'_> {
    fn params(&self) -> RequestParams {
        let (structured, schema_bytes) = match self.format.map(RawValue::get) {
            None | Some("null" | "\"\"") => (Structured::None, 0),
            Some(schema) if schema.starts_with('{') => {
                let bytes = u32::try_from(schema.len()).unwrap_or(u32::MAX);
                (Structured::JsonSchema, bytes)
            }
            Some(_) => (Structured::JsonObject, 0),
        };
        let clamp = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
        let logprobs = self.top_logprobs.0.map(clamp);
        let options = &self.options;
        RequestParams {
            max_tokens: options.num_predict.0,
            n: 1,
            stream: self.stream.unwrap_or(true),
            greedy: greedy(options.temperature, options.top_p, options.top_k),
            structured,
            schema_bytes,
            logprobs: logprobs.or(self.logprobs.0.then_some(0)),
            stop_count: u8::try_from(options.stop.0).unwrap_or(u8::MAX),
            reasoning_effort: self.think.and_then(|think| match think.get() {
                "null" => None,
                "false" => Some(ReasoningEffort::None),
                word => Some(reasoning_effort(word.trim_matches('"'))),
            }),
            ..RequestParams::default()
        }
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    images: Option<List<Text<'a>>>,
    #[serde(borrow, default)]
    tool_calls: Option<List<ToolCall<'a>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    function: Function<'a>,
}

#[derive(Default, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl Message<'_> {
    fn render(&self, render: &mut PromptRender) {
        render.message(role(&self.role.0));
        for text in [&self.thinking, &self.content].into_iter().flatten() {
            render.text(text.bytes());
        }
        for call in self.tool_calls.iter().flat_map(|calls| calls.iter()) {
            if let Some(name) = &call.function.name {
                render.text(name.bytes());
            }
            if let Some(arguments) = call.function.arguments {
                render.text(arguments.get().as_bytes());
            }
        }
        pictures(self.images.as_ref(), render);
    }
}

fn pictures(images: Option<&List<Text<'_>>>, render: &mut PromptRender) {
    for image in images.iter().flat_map(|images| images.iter()) {
        let bytes = media::base64_bytes(&image.0);
        let pixels = media::pixels(&image.0);
        render.media(MediaKind::Image, image.bytes(), bytes, pixels);
    }
}

/// Answers: lines of a stream and whole ones have one form.
pub(super) struct Answers;

impl Reader for Answers {
    fn event<'a>(
        &self,
        at_us: u64,
        _name: &[u8],
        data: &'a [u8],
        tally: &mut Tally,
    ) -> Option<Plain<'a>> {
        let line: Answer<'_> = tally.read(data)?;
        let message = &line.message;
        let answers =
            line.response.anything || message.content.anything || message.tool_calls.0 > 0;
        if answers {
            tally.token(at_us, Carried::Answer);
        } else if line.thinking.0 || message.thinking.0 {
            tally.token(at_us, Carried::Reasoning);
        }
        line.note(tally);
        // Every line tells its own time, so none repeats the one before.
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        answer.note(tally);
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    /// `generate`
    #[serde(borrow, default)]
    response: Said<'a>,
    #[serde(default)]
    thinking: Presence,
    /// `chat`
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    message: Spoken<'a>,
    #[serde(default)]
    done: Presence,
    #[serde(borrow, default)]
    done_reason: Option<Text<'a>>,
    #[serde(default)]
    prompt_eval_count: Count,
    #[serde(default)]
    eval_count: Count,
    #[serde(default)]
    error: Presence,
}

#[derive(Default, Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default)]
    content: Said<'a>,
    #[serde(default)]
    thinking: Presence,
    #[serde(default)]
    tool_calls: Items,
}

impl Answer<'_> {
    fn note(&self, tally: &mut Tally) {
        tally.tool_calls(self.message.tool_calls.0);
        tally.said(self.response.bytes + self.message.content.bytes);
        tally.prompt_tokens(self.prompt_eval_count);
        tally.output_tokens(self.eval_count);
        if self.error.0 {
            tally.error();
        }
        if self.done.0 {
            tally.sight.ended = true;
            let called = tally.sight.tool_calls > 0;
            tally.finish_reason(match self.done_reason.as_ref().map(|reason| &*reason.0) {
                _ if called => FinishReason::ToolCalls,
                // Servers before 0.1.33 gave no reason.
                None | Some("stop") => FinishReason::Stop,
                Some("length") => FinishReason::Length,
                Some(_) => FinishReason::Other,
            });
        }
    }
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
}

#[derive(Serialize)]
struct WireOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<String>,
}

impl WireOptions {
    fn of(draft: &Draft<'_>, altered: &mut Vec<&'static str>) -> Self {
        Self {
            num_predict: draft.lengths().max_tokens,
            temperature: draft.temperature(),
            stop: draft.stops(MOST_STOPS, altered),
        }
    }
}

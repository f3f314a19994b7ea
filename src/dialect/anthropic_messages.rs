//! Anthropic messages: `POST /v1/messages`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::draft::{thinking_budget, unsaid};
use super::json::{self, Count, Items, List, OneOrMany, Presence, Said, Text};
use super::openai::{greedy, null_is_empty};
use super::openai_chat::MOST_STOPS;
use super::repeat::Plain;
use super::response::Reader;
use super::tally::{Carried, Tally};
use super::{Draft, DraftMedia, RequestSight, Unparsable, WireRequest, media, tools};
use crate::anonymise::{ChainKey, Private, PromptRender};
use crate::shape::{
    Dialect, FinishReason, MediaKind, ReasoningEffort, RequestParams, Role, Structured,
};

/// Reads a request's body.
pub(super) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> =
        json::read(body).map_err(|refused| Unparsable::new(Dialect::AnthropicMessages, refused))?;
    let mut render = PromptRender::new(key);
    for tool in request.tools.iter().flat_map(|tools| tools.iter()) {
        render.tool(tool.get().as_bytes());
    }
    if !matches!(request.system, Content::None) {
        render.message(Role::System);
        request.system.render(&mut render);
    }
    for message in request.messages.iter() {
        render.message(message.role());
        message.content.render(&mut render);
    }
    let params = request.params();
    Ok(RequestSight {
        model: request.model.map(|model| Private::new(model.0)),
        prompt: render.finish(),
        params,
    })
}

/// Writes a draft as a request: system messages go to `system`, tool results to user messages.
pub(super) fn synthesise(draft: &Draft<'_>) -> WireRequest {
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
            Role::System => system.push(WireBlock::Text { text }),
            role => messages.push(WireMessage {
                role: if *role == Role::Assistant {
                    "assistant"
                } else {
                    "user"
                },
                content: WireContent::of(draft, index, text),
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
    let thinks = matches!(thinking, Some(WireThinking::Enabled { .. }));
    let body = WireBody {
        model: draft.model,
        max_tokens,
        min_tokens: lengths.min_tokens,
        ignore_eos: lengths.ignore_eos,
        system,
        messages,
        tools: tools::definitions(draft.tools, tools::anthropic, &mut altered),
        stream: params.stream,
        // Beside thinking none but 1 is taken.
        temperature: draft.temperature().filter(|&it| !thinks || it > 0.0),
        stop_sequences: draft.stops(MOST_STOPS, &mut altered),
        thinking,
    };
    if thinks && params.greedy == Some(true) {
        altered.push("temperature");
    }
    let mut request = WireRequest::json("/v1/messages", &body, altered, draft.room());
    request.headers.push(("anthropic-version", "2023-06-01"));
    request
}

fn is_sound(part: &DraftMedia) -> bool {
    part.kind == MediaKind::Audio
}

const DEFAULT_MAX_TOKENS: u32 = 1024;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    system: Content<'a>,
    #[serde(borrow)]
    messages: List<Message<'a>>,
    #[serde(borrow, default)]
    tools: Option<List<&'a RawValue>>,
    #[serde(default)]
    max_tokens: Count,
    #[serde(default)]
    min_tokens: Count,
    #[serde(default)]
    ignore_eos: Presence,
    #[serde(default)]
    stream: Presence,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    top_k: Option<f64>,
    #[serde(default)]
    stop_sequences: Items,
    #[serde(borrow, default)]
    thinking: Option<Thinking<'a>>,
    #[serde(borrow, default)]
    output_config: Option<OutputConfig<'a>>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct OutputConfig<'a> {
    #[serde(borrow, default)]
    format: Option<Format<'a>>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow, default)]
    schema: Option<&'a RawValue>,
}

impl Request<'_> {
    fn params(&self) -> RequestParams {
        let thinking = self.thinking.as_ref().map(|thinking| match &thinking.kind {
            Some(kind) if kind.0 == "disabled" => ReasoningEffort::None,
            _ => ReasoningEffort::Other,
        });
        let format = self
            .output_config
            .as_ref()
            .and_then(|it| it.format.as_ref());
        let schema = format.and_then(|format| format.schema);
        let (structured, schema_bytes) = match schema.map(|schema| schema.get().len()) {
            Some(bytes) => (
                Structured::JsonSchema,
                u32::try_from(bytes).unwrap_or(u32::MAX),
            ),
            None => (Structured::None, 0),
        };
        RequestParams {
            max_tokens: self.max_tokens.0,
            min_tokens: self.min_tokens.0,
            ignore_eos: self.ignore_eos.0,
            n: 1,
            stream: self.stream.0,
            greedy: greedy(self.temperature, self.top_p, self.top_k),
            structured,
            schema_bytes,
            stop_count: u8::try_from(self.stop_sequences.0).unwrap_or(u8::MAX),
            reasoning_effort: thinking,
            ..RequestParams::default()
        }
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow, default)]
    content: Content<'a>,
}

impl Message<'_> {
    /// A user message of nothing but tool results is a tool's.
    fn role(&self) -> Role {
        let results = |block: &Block<'_>| {
            block
                .kind
                .as_ref()
                .is_some_and(|kind| kind.0 == "tool_result")
        };
        match (&*self.role.0, &self.content) {
            ("user", Content::Many(blocks)) if !blocks.is_empty() && blocks.iter().all(results) => {
                Role::Tool
            }
            ("user", _) => Role::User,
            ("assistant", _) => Role::Assistant,
            ("system", _) => Role::System,
            _ => Role::Other,
        }
    }
}

/// Content: null, a string, or blocks.
type Content<'a> = OneOrMany<'a, Block<'a>>;

impl OneOrMany<'_, Block<'_>> {
    fn render(&self, render: &mut PromptRender) {
        match self {
            Self::None => {}
            Self::One(text) => render.text(text.bytes()),
            Self::Many(blocks) => blocks.iter().for_each(|block| block.render(render)),
        }
    }
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    /// `tool_use`
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    /// `tool_result`
    #[serde(borrow, default)]
    content: Content<'a>,
    /// `document`, `search_result`
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
    #[serde(borrow, default)]
    context: Option<Text<'a>>,
    /// `image`, `document`; of a `search_result` it is a mere word.
    #[serde(borrow, default)]
    source: OneOrMany<'a, Box<Source<'a>>>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_id: Option<Text<'a>>,
    /// `content`
    #[serde(borrow, default)]
    content: Content<'a>,
}

impl Block<'_> {
    fn render(&self, render: &mut PromptRender) {
        let texts = [
            &self.title,
            &self.context,
            &self.text,
            &self.thinking,
            &self.name,
        ];
        for text in texts.into_iter().flatten() {
            render.text(text.bytes());
        }
        if let Some(input) = self.input {
            render.text(input.get().as_bytes());
        }
        self.content.render(render);
        let OneOrMany::Many(sources) = &self.source else {
            return;
        };
        let is_document = self.kind.as_ref().is_some_and(|kind| kind.0 == "document");
        let kind = match is_document {
            true => MediaKind::Document,
            false => MediaKind::Image,
        };
        sources
            .iter()
            .for_each(|source| source.render(kind, render));
    }
}

impl Source<'_> {
    fn render(&self, kind: MediaKind, render: &mut PromptRender) {
        let is = |name: &str| self.kind.as_ref().is_some_and(|kind| kind.0 == name);
        let is_text = is("text");
        if is("content") {
            return self.content.render(render);
        }
        match &self.data {
            Some(text) if is_text => render.text(text.bytes()),
            Some(data) => {
                let pixels = Some(kind)
                    .filter(|kind| *kind == MediaKind::Image)
                    .and_then(|_| media::pixels(&data.0));
                render.media(kind, data.bytes(), media::base64_bytes(&data.0), pixels);
            }
            None => {
                let identity = self
                    .url
                    .as_ref()
                    .or(self.file_id.as_ref())
                    .map_or(&[][..], Text::bytes);
                render.media(kind, identity, 0, None);
            }
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
        let event: Event<'_> = tally.read(data)?;
        match &*event.kind.0 {
            "message_start" => {
                // Its output is the first token or none: in a stream that is cut off it must not pass for the whole answer's.
                if let Some(usage) = event.message.and_then(|message| message.usage) {
                    usage.note_prompt(tally);
                }
            }
            "content_block_start" => {
                if let Some(call) = event.content_block.filter(Kind::is_tool_use) {
                    tally.tool_calls(1);
                    tally.said(call.name.bytes);
                    // A call without arguments says no more than its name.
                    if call.name.anything {
                        tally.token(at_us, Carried::Answer);
                    }
                }
            }
            "content_block_delta" => {
                let delta = &event.delta;
                let (carried, text) = delta.carried()?;
                tally.token(at_us, carried);
                tally.said(delta.text.bytes + delta.partial_json.bytes);
                return text.map(|text| Plain {
                    text,
                    carried,
                    repeatable: carried == Carried::Answer,
                });
            }
            "message_delta" => {
                if let Some(usage) = event.usage {
                    usage.note(tally);
                }
                if let Some(reason) = event.delta.stop_reason {
                    tally.finish_reason(finish_reason(&reason.0));
                }
            }
            "message_stop" => tally.sight.ended = true,
            "error" => tally.error(),
            _ => {}
        }
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        let calls = answer
            .content
            .iter()
            .filter(|block| block.is_tool_use())
            .count();
        tally.tool_calls(u32::try_from(calls).unwrap_or(u32::MAX));
        tally.said(answer.content.iter().map(Kind::said).sum());
        if answer.kind.0 == "error" {
            tally.error();
        }
        if let Some(usage) = answer.usage {
            usage.note(tally);
        }
        if let Some(reason) = answer.stop_reason {
            tally.finish_reason(finish_reason(&reason.0));
        }
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "null_is_empty")]
    kind: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    content: List<Kind<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "null_is_empty")]
    kind: Text<'a>,
    #[serde(default)]
    message: Option<Start>,
    #[serde(borrow, default)]
    content_block: Option<Kind<'a>>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    delta: Delta<'a>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Said<'a>,
    /// Of a tool's call.
    #[serde(borrow, default)]
    name: Said<'a>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

impl Kind<'_> {
    /// Bytes that a next turn would repeat of a whole block.
    fn said(&self) -> usize {
        let input = self.input.map_or(0, |input| input.get().len());
        self.text.bytes + self.name.bytes + input
    }

    fn is_tool_use(&self) -> bool {
        matches!(
            &*self.kind.0,
            "tool_use" | "server_tool_use" | "mcp_tool_use"
        )
    }
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Said<'a>,
    #[serde(borrow, default)]
    thinking: Said<'a>,
    #[serde(borrow, default)]
    partial_json: Said<'a>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
}

impl<'a> Delta<'a> {
    /// What it carries, and the text of it, where it is the only one.
    fn carried(&self) -> Option<(Carried, Option<&'a str>)> {
        let answers = self.text.anything || self.partial_json.anything;
        let all = [self.text, self.partial_json, self.thinking];
        let mut said = all.into_iter().filter(|said| said.anything);
        let first = said.next()?;
        let carried = match answers {
            true => Carried::Answer,
            false => Carried::Reasoning,
        };
        let alone = said.next().is_none();
        Some((carried, first.plainly.filter(|_| alone)))
    }
}

/// `input_tokens` leaves out what came from or went to the cache: the prompt is the sum of the three.
#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_creation_input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Count,
}

impl Usage {
    fn note(&self, tally: &mut Tally) {
        self.note_prompt(tally);
        tally.output_tokens(self.output_tokens);
        if let Some(details) = &self.output_tokens_details {
            tally.reasoning_tokens(details.thinking_tokens);
        }
    }

    fn note_prompt(&self, tally: &mut Tally) {
        tally.prompt_parts([
            self.input_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        ]);
        tally.cached_tokens(self.cache_read_input_tokens);
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

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
    content: WireContent<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireContent<'a> {
    Text(&'a str),
    Blocks(Vec<WireBlock<'a>>),
}

impl<'a> WireContent<'a> {
    fn of(draft: &'a Draft<'_>, message: usize, text: &'a str) -> Self {
        let pictures = draft.media_of(message).filter(|part| !is_sound(part));
        let mut pictures = pictures.peekable();
        if pictures.peek().is_none() {
            return Self::Text(text);
        }
        let text = Some(WireBlock::Text { text }).filter(|_| !text.is_empty());
        let pictures = pictures.map(|part| WireBlock::Image {
            source: WireSource {
                kind: "base64",
                media_type: part.mime(),
                data: &part.base64,
            },
        });
        Self::Blocks(text.into_iter().chain(pictures).collect())
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireBlock<'a> {
    Text { text: &'a str },
    Image { source: WireSource<'a> },
}

#[derive(Serialize)]
struct WireSource<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    media_type: &'static str,
    data: &'a str,
}

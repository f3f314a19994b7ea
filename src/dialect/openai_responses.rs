//! OpenAI responses: `POST /v1/responses`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::draft::{DataUrl, unsaid};
use super::json::{self, Count, List, OneOrMany, Presence, Said, Text};
use super::openai::{effort_name, greedy, null_is_empty, reasoning_effort};
use super::openai_chat::{role, role_name};
use super::repeat::Plain;
use super::response::Reader;
use super::tally::{Carried, Tally};
use super::{
    Draft, DraftMedia, OutputLength, RequestSight, Unparsable, WireRequest, media, schema, tools,
};
use crate::anonymise::{ChainKey, Private, PromptRender};
use crate::shape::{
    Dialect, FinishReason, MediaKind, ReasoningEffort, RequestParams, Role, Structured,
};

/// Reads a request's body. What the server keeps of the conversation is not in it, and that is said.
pub(super) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> =
        json::read(body).map_err(|refused| Unparsable::new(Dialect::OpenAiResponses, refused))?;
    let mut render = PromptRender::new(key);
    for tool in request.tools.iter().flat_map(|tools| tools.iter()) {
        render.tool(tool.get().as_bytes());
    }
    if let Some(instructions) = &request.instructions {
        render.message(Role::System);
        render.text(instructions.bytes());
    }
    request.input.render(&mut render);
    let previous = request.previous_response_id.plainly;
    if let Some(name) = previous.or_else(|| request.conversation.name()) {
        render.follows(name);
    }
    let params = request.params();
    Ok(RequestSight {
        model: request.model.map(|model| Private::new(model.0)),
        prompt: render.finish(),
        params,
    })
}

/// Writes a draft as a request. Every message is an item, of tools' results too: a call that they answer is not needed.
pub(super) fn synthesise(draft: &Draft<'_>) -> WireRequest {
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
                content: WireContent::of(draft, index, text),
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

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    instructions: Option<Text<'a>>,
    /// Absent where a stored prompt says everything.
    #[serde(borrow, default)]
    input: Input<'a>,
    #[serde(borrow, default)]
    tools: Option<List<&'a RawValue>>,
    #[serde(default)]
    max_output_tokens: Count,
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
    top_logprobs: Count,
    #[serde(borrow, default)]
    reasoning: Option<Reasoning<'a>>,
    #[serde(borrow, default)]
    text: Option<TextOptions<'a>>,
    #[serde(borrow, default)]
    previous_response_id: Said<'a>,
    #[serde(borrow, default)]
    conversation: OneOrMany<'a, Named<'a>>,
    /// A prompt that is stored at the server.
    #[serde(default)]
    prompt: Presence,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
}

impl OneOrMany<'_, Named<'_>> {
    /// A name, or an object that has it.
    fn name(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::One(name) => Some(&*name.0),
            Self::Many(named) => named.first()?.id.as_ref().map(|name| &*name.0),
        }
    }
}

#[derive(Deserialize)]
struct Reasoning<'a> {
    #[serde(borrow, default)]
    effort: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct TextOptions<'a> {
    #[serde(borrow, default)]
    format: Option<Format<'a>>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    schema: Option<&'a RawValue>,
}

impl Request<'_> {
    fn params(&self) -> RequestParams {
        let clamp = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
        let format = self.text.as_ref().and_then(|text| text.format.as_ref());
        let (structured, schema_bytes) = format.map_or((Structured::None, 0), Format::shape);
        RequestParams {
            max_tokens: self.max_output_tokens.0,
            min_tokens: self.min_tokens.0,
            ignore_eos: self.ignore_eos.0,
            n: 1,
            stream: self.stream.0,
            greedy: greedy(self.temperature, self.top_p, None),
            structured,
            schema_bytes,
            logprobs: self.top_logprobs.0.map(clamp),
            reasoning_effort: self
                .reasoning
                .as_ref()
                .and_then(|reasoning| reasoning.effort.as_ref())
                .map(|effort| reasoning_effort(&effort.0)),
            continues: self.previous_response_id.anything
                || self.conversation.name().is_some()
                || self.prompt.0
                || self.input.refers(),
            ..RequestParams::default()
        }
    }
}

impl Format<'_> {
    fn shape(&self) -> (Structured, u32) {
        let schema = self.schema.map_or(0, |schema| schema.get().len());
        match self.kind.as_ref().map(|kind| &*kind.0) {
            Some("json_object") => (Structured::JsonObject, 0),
            Some("json_schema") => (
                Structured::JsonSchema,
                u32::try_from(schema).unwrap_or(u32::MAX),
            ),
            None | Some("text") => (Structured::None, 0),
            Some(_) => (Structured::Grammar, 0),
        }
    }
}

/// A string, items, or nothing.
type Input<'a> = OneOrMany<'a, Item<'a>>;

impl OneOrMany<'_, Item<'_>> {
    fn render(&self, render: &mut PromptRender) {
        match self {
            Self::None => {}
            Self::One(text) => {
                render.message(Role::User);
                render.text(text.bytes());
            }
            Self::Many(items) => items.iter().for_each(|item| item.render(render)),
        }
    }

    /// Whether an item stands for one that the server keeps.
    fn refers(&self) -> bool {
        match self {
            Self::Many(items) => items.iter().any(|item| item.is("item_reference")),
            _ => false,
        }
    }
}

/// An item of the conversation.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    role: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: OneOrMany<'a, Part<'a>>,
    /// `reasoning`
    #[serde(borrow, default)]
    summary: OneOrMany<'a, Part<'a>>,
    #[serde(borrow, default)]
    encrypted_content: Option<Text<'a>>,
    /// `function_call`, `custom_tool_call`, `mcp_call`
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    /// `computer_call`, `shell_call`, `web_search_call`
    #[serde(borrow, default)]
    action: Option<&'a RawValue>,
    /// `apply_patch_call`
    #[serde(borrow, default)]
    operation: Option<&'a RawValue>,
    /// Their outputs.
    #[serde(borrow, default)]
    output: OneOrMany<'a, Part<'a>>,
}

impl Item<'_> {
    fn is(&self, kind: &str) -> bool {
        self.kind.as_ref().is_some_and(|own| own.0 == kind)
    }

    fn role(&self) -> Role {
        match (&self.role, self.kind.as_ref().map(|kind| &*kind.0)) {
            (Some(name), _) => role(&name.0),
            (None, Some(kind)) if kind.ends_with("_output") => Role::Tool,
            (None, Some(kind)) if kind.ends_with("_call") || kind == "reasoning" => Role::Assistant,
            _ => Role::Other,
        }
    }

    fn render(&self, render: &mut PromptRender) {
        render.message(self.role());
        for parts in [&self.summary, &self.content] {
            parts.render(render);
        }
        for text in [&self.encrypted_content, &self.name].into_iter().flatten() {
            render.text(text.bytes());
        }
        let raws = [self.arguments, self.input, self.action, self.operation];
        for raw in raws.into_iter().flatten() {
            match serde_json::from_str::<Text<'_>>(raw.get()) {
                Ok(text) => render.text(text.bytes()),
                // Some tools take an object.
                Err(_) => render.text(raw.get().as_bytes()),
            }
        }
        self.output.render(render);
    }
}

impl OneOrMany<'_, Part<'_>> {
    fn render(&self, render: &mut PromptRender) {
        match self {
            Self::None => {}
            Self::One(text) => render.text(text.bytes()),
            Self::Many(parts) => parts.iter().for_each(|part| part.render(render)),
        }
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    /// What a command wrote.
    #[serde(borrow, default)]
    stdout: Option<Text<'a>>,
    #[serde(borrow, default)]
    stderr: Option<Text<'a>>,
    #[serde(borrow, default)]
    image_url: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_data: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_url: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_id: Option<Text<'a>>,
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    input_audio: Option<Audio<'a>>,
}

#[derive(Deserialize)]
struct Audio<'a> {
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
}

impl Part<'_> {
    fn render(&self, render: &mut PromptRender) {
        let texts = [&self.text, &self.refusal, &self.stdout, &self.stderr];
        for text in texts.into_iter().flatten() {
            render.text(text.bytes());
        }
        let audio = self.input_audio.as_ref().and_then(|it| it.data.as_ref());
        if let Some(data) = audio {
            let bytes = media::base64_bytes(&data.0);
            render.media(MediaKind::Audio, data.bytes(), bytes, None);
        }
        let is_image = self
            .kind
            .as_ref()
            .is_some_and(|kind| kind.0 == "input_image");
        let kind = match is_image {
            true => MediaKind::Image,
            false => MediaKind::Document,
        };
        let inline = self.image_url.as_ref().or(self.file_data.as_ref());
        let elsewhere = self.file_url.as_ref().or(self.file_id.as_ref());
        if let Some(identity) = inline.or(elsewhere) {
            let payload = inline.and_then(|data| media::data_url(&data.0));
            let bytes = payload.map_or(0, media::base64_bytes);
            let pixels = payload.filter(|_| is_image).and_then(media::pixels);
            render.media(kind, identity.bytes(), bytes, pixels);
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
        match &*event.kind.0 {
            "response.output_item.added" => {
                if let Some(call) = event.item.filter(Kind::is_call) {
                    tally.tool_calls(1);
                    // A call without arguments says no more than its name.
                    if call.name.0 {
                        tally.token(at_us, Carried::Answer);
                    }
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                if let Some(response) = event.response {
                    response.note(tally);
                }
                tally.sight.ended = true;
            }
            "error" => tally.error(),
            kind => {
                let carried = carried(kind).filter(|_| event.delta.anything)?;
                tally.token(at_us, carried);
                // What tools were called with are items of their own.
                let repeatable = is_text(kind);
                tally.said(if repeatable { event.delta.bytes } else { 0 });
                return event.delta.plainly.map(|text| Plain {
                    text,
                    carried,
                    repeatable,
                });
            }
        }
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        let calls = answer.output.iter().filter(|item| item.is_call()).count();
        tally.tool_calls(u32::try_from(calls).unwrap_or(u32::MAX));
        tally.said(answer.output.iter().map(Kind::said).sum());
        answer.note(tally);
        tally.sight.ended = true;
    }
}

fn is_text(kind: &str) -> bool {
    matches!(
        kind,
        "response.output_text.delta" | "response.refusal.delta"
    )
}

/// What the deltas of a kind of event are pieces of.
fn carried(kind: &str) -> Option<Carried> {
    match kind.strip_prefix("response.")?.strip_suffix(".delta")? {
        "reasoning_text" | "reasoning_summary_text" => Some(Carried::Reasoning),
        "output_text"
        | "refusal"
        | "function_call_arguments"
        | "custom_tool_call_input"
        | "mcp_call_arguments"
        | "code_interpreter_call_code"
        | "shell_call_command"
        | "audio.transcript" => Some(Carried::Answer),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "null_is_empty")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    delta: Said<'a>,
    #[serde(borrow, default)]
    item: Option<Kind<'a>>,
    #[serde(borrow, default)]
    response: Option<Answer<'a>>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    content: OneOrMany<'a, Spoken<'a>>,
    /// Of what is called, where the model chose it.
    #[serde(default)]
    name: Presence,
}

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default)]
    text: Said<'a>,
    #[serde(borrow, default)]
    refusal: Said<'a>,
}

impl Kind<'_> {
    /// Bytes of text that a whole message says.
    fn said(&self) -> usize {
        match &self.content {
            OneOrMany::Many(parts) if self.kind.0 == "message" => parts
                .iter()
                .map(|part| part.text.bytes + part.refusal.bytes)
                .sum(),
            _ => 0,
        }
    }

    fn is_call(&self) -> bool {
        self.kind.0.ends_with("_call")
    }

    /// A call that waits for the client. Those of the server's own tools are over before the answer is.
    fn is_the_clients(&self) -> bool {
        matches!(
            &*self.kind.0,
            "function_call"
                | "custom_tool_call"
                | "computer_call"
                | "local_shell_call"
                | "apply_patch_call"
        )
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    id: Said<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    output: List<Kind<'a>>,
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
    #[serde(borrow, default)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(default)]
    error: Presence,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Count,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Count,
}

impl Answer<'_> {
    fn note(&self, tally: &mut Tally) {
        if let Some(name) = self.id.plainly {
            tally.named(name);
        }
        if let Some(usage) = &self.usage {
            tally.prompt_tokens(usage.input_tokens);
            tally.output_tokens(usage.output_tokens);
            if let Some(details) = &usage.input_tokens_details {
                tally.cached_tokens(details.cached_tokens);
            }
            if let Some(details) = &usage.output_tokens_details {
                tally.reasoning_tokens(details.reasoning_tokens);
            }
        }
        let reason = self
            .incomplete_details
            .as_ref()
            .and_then(|details| details.reason.as_ref());
        match (self.status.as_ref().map(|status| &*status.0), reason) {
            (Some("failed"), _) => tally.error(),
            _ if self.error.0 => tally.error(),
            (Some("incomplete"), Some(reason)) => tally.finish_reason(match &*reason.0 {
                "max_output_tokens" => FinishReason::Length,
                "content_filter" => FinishReason::ContentFilter,
                _ => FinishReason::Other,
            }),
            (Some("completed"), _) if self.output.iter().any(Kind::is_the_clients) => {
                tally.finish_reason(FinishReason::ToolCalls);
            }
            (Some("completed"), _) => tally.finish_reason(FinishReason::Stop),
            _ => tally.finish_reason(FinishReason::Other),
        }
    }
}

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
        content: WireContent<'a>,
    },
    Output {
        #[serde(rename = "type")]
        kind: &'static str,
        call_id: &'static str,
        output: &'a str,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireContent<'a> {
    Text(&'a str),
    Parts(Vec<WirePart<'a>>),
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

#[derive(Serialize)]
struct WireSound<'a> {
    data: &'a str,
    format: &'static str,
}

impl<'a> WireContent<'a> {
    fn of(draft: &'a Draft<'_>, message: usize, text: &'a str) -> Self {
        let mut media = draft.media_of(message).peekable();
        if media.peek().is_none() {
            return Self::Text(text);
        }
        let text = Some(WirePart::Text { text }).filter(|_| !text.is_empty());
        let media = media.map(|part| match part.kind {
            MediaKind::Audio => WirePart::Audio {
                input_audio: WireSound {
                    data: &part.base64,
                    format: "wav",
                },
            },
            _ => WirePart::Image {
                image_url: part.data_url(),
            },
        });
        Self::Parts(text.into_iter().chain(media).collect())
    }
}

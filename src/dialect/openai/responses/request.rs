use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::json::{Count, OneOrMany, Presence, Said, Text, Tools};
use crate::dialect::words::{greedy, reasoning_effort, role, saturated, schema_bytes};
use crate::dialect::{RequestSight, Unparsable, json, media};
use crate::shape::{Dialect, MediaKind, RequestParams, Role, Structured};

/// Reads a request's body. What the server keeps of the conversation is not in it, and that is said.
pub(in crate::dialect) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::OpenAiResponses, body)?;
    let mut render = PromptRender::new(key);
    request.tools.render(&mut render);
    if let Some(instructions) = &request.instructions {
        render.message(Role::System);
        render.text(instructions.bytes());
    }
    request.input.render(&mut render);
    let previous = request.previous_response_id.plainly;
    if let Some(name) = previous.or_else(|| request.conversation.name()) {
        render.follows(name);
    }
    if let Some(name) = request.conversation.name() {
        render.belongs_to(name);
    }
    Ok(RequestSight::new(request.params(), request.model, render))
}

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
    tools: Tools<'a>,
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
            Self::Many(named) => named.iter().next()?.id.as_ref().map(|name| &*name.0),
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
            logprobs: self.top_logprobs.0.map(saturated),
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
        match self.kind.as_ref().map(|kind| &*kind.0) {
            Some("json_object") => (Structured::JsonObject, 0),
            Some("json_schema") => (Structured::JsonSchema, self.schema.map_or(0, schema_bytes)),
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
            parts.render_by(Part::render, render);
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
        self.output.render_by(Part::render, render);
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
            let picture = payload.filter(|_| is_image).and_then(media::picture);
            render.media(kind, identity.bytes(), bytes, picture);
        }
    }
}

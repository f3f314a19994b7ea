use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::json::{Count, Items, List, OneOrMany, Presence, Text, Tools};
use crate::dialect::words::{greedy, saturated, schema_bytes};
use crate::dialect::{RequestSight, Unparsable, json, media};
use crate::shape::{
    CacheLife, Dialect, MediaKind, ReasoningEffort, RequestParams, Role, Structured,
};

/// Reads a request's body.
pub(in crate::dialect) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::AnthropicMessages, body)?;
    let mut render = PromptRender::new(key);
    for tool in request.tools.iter() {
        render.tool(tool.get().as_bytes());
        mark(marked_in(tool), &mut render);
    }
    if !matches!(request.system, Content::None) {
        render.message(Role::System);
        request.system.render_by(Block::render, &mut render);
    }
    for message in request.messages.iter() {
        render.message(message.role());
        message.content.render_by(Block::render, &mut render);
    }
    if let Some(mark) = request.cache_control {
        render.cache_request(life(mark));
    }
    Ok(RequestSight::new(request.params(), request.model, render))
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    system: Content<'a>,
    #[serde(borrow)]
    messages: List<Message<'a>>,
    #[serde(borrow, default)]
    tools: Tools<'a>,
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
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

/// Whether the model is to think first; Cohere has the same.
#[derive(Deserialize)]
pub(in crate::dialect) struct Thinking<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
}

impl Thinking<'_> {
    pub(in crate::dialect) fn effort(&self) -> ReasoningEffort {
        match &self.kind {
            Some(kind) if kind.0 == "disabled" => ReasoningEffort::None,
            _ => ReasoningEffort::Other,
        }
    }
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
        let format = self
            .output_config
            .as_ref()
            .and_then(|it| it.format.as_ref());
        let schema = format.and_then(|format| format.schema);
        let (structured, schema_bytes) = match schema {
            Some(schema) => (Structured::JsonSchema, schema_bytes(schema)),
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
            stop_count: saturated(self.stop_sequences.0),
            reasoning_effort: self.thinking.as_ref().map(Thinking::effort),
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
    source: OneOrMany<'a, Source<'a>>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
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
        self.content.render_by(Block::render, render);
        self.render_sources(render);
        mark(self.cache_control, render);
    }

    fn render_sources(&self, render: &mut PromptRender) {
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
            return self.content.render_by(Block::render, render);
        }
        match &self.data {
            Some(text) if is_text => render.text(text.bytes()),
            Some(data) => {
                let picture = Some(kind)
                    .filter(|kind| *kind == MediaKind::Image)
                    .and_then(|_| media::picture(&data.0));
                render.media(kind, data.bytes(), media::base64_bytes(&data.0), picture);
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

/// What asks for the prompt so far to be kept, where something does.
fn mark(cache_control: Option<&RawValue>, render: &mut PromptRender) {
    if let Some(mark) = cache_control {
        render.cache_mark(life(mark));
    }
}

/// For how long; a server that has no use for marks takes whatever stands there.
fn life(mark: &RawValue) -> CacheLife {
    #[derive(Deserialize)]
    struct Mark<'a> {
        #[serde(borrow, default)]
        ttl: Option<Text<'a>>,
    }
    match serde_json::from_str(mark.get()) {
        Ok(Mark { ttl: None }) => CacheLife::Unsaid,
        Ok(Mark { ttl: Some(ttl) }) if ttl.0 == "5m" => CacheLife::FiveMinutes,
        Ok(Mark { ttl: Some(ttl) }) if ttl.0 == "1h" => CacheLife::OneHour,
        _ => CacheLife::Other,
    }
}

/// The mark on a tool, whose definition is else hashed as it stands. Most have none, so it is looked for before it is read.
fn marked_in(tool: &RawValue) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Marked<'a> {
        #[serde(borrow, default)]
        cache_control: Option<&'a RawValue>,
    }
    memchr::memmem::find(tool.get().as_bytes(), b"\"cache_control\"")?;
    serde_json::from_str::<Marked<'_>>(tool.get())
        .ok()?
        .cache_control
}

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::json::{Count, Items, List, Presence, Text, Tools, null_is_empty};
use crate::dialect::openai::Prompt;
use crate::dialect::words::{greedy, reasoning_effort, role, saturated, schema_bytes};
use crate::dialect::{RequestSight, Unparsable, json, media};
use crate::shape::{Dialect, MediaKind, ReasoningEffort, RequestParams, Role, Structured};

/// Reads the body of a request for one prompt's answer.
pub(in crate::dialect) fn observe_generate(
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::OllamaGenerate, body)?;
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
    Ok(RequestSight::new(params, request.model, render))
}

/// Reads the body of a request for a conversation's next message.
pub(in crate::dialect) fn observe_chat(
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::OllamaChat, body)?;
    let mut render = PromptRender::new(key);
    request.tools.render(&mut render);
    // Absent where a model is only to be loaded.
    for message in request.messages.iter().flat_map(List::iter) {
        message.render(&mut render);
    }
    Ok(RequestSight::new(request.params(), request.model, render))
}

/// Reads the body of a request for embeddings, in its present form and its first.
pub(in crate::dialect) fn observe_embed(
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::OllamaEmbed, body)?;
    let mut render = PromptRender::new(key);
    match (&request.input, &request.prompt) {
        (Some(input), _) => input.render(&mut render),
        (None, Some(prompt)) => {
            render.message(Role::User);
            render.text(prompt.bytes());
        }
        (None, None) => return Err(Unparsable::Body(Dialect::OllamaEmbed)),
    }
    let params = RequestParams {
        n: 1,
        context_tokens: request.options.num_ctx.0,
        dimensions: request.dimensions.0,
        ..RequestParams::default()
    };
    Ok(RequestSight::new(params, request.model, render))
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
    tools: Tools<'a>,
    /// `embed`
    #[serde(borrow, default)]
    input: Option<Prompt<'a>>,
    #[serde(default)]
    dimensions: Count,
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
    num_ctx: Count,
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
        let (structured, schema_bytes) = match self.format.map(|format| (format, format.get())) {
            None | Some((_, "null" | "\"\"")) => (Structured::None, 0),
            Some((schema, json)) if json.starts_with('{') => {
                (Structured::JsonSchema, schema_bytes(schema))
            }
            Some(_) => (Structured::JsonObject, 0),
        };
        let logprobs = self.top_logprobs.0.map(saturated);
        let options = &self.options;
        RequestParams {
            max_tokens: options.num_predict.0,
            context_tokens: options.num_ctx.0,
            n: 1,
            stream: self.stream.unwrap_or(true),
            greedy: greedy(options.temperature, options.top_p, options.top_k),
            structured,
            schema_bytes,
            logprobs: logprobs.or(self.logprobs.0.then_some(0)),
            stop_count: saturated(options.stop.0),
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
        for call in self.tool_calls.iter().flat_map(List::iter) {
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
        let picture = media::picture(&image.0);
        render.media(MediaKind::Image, image.bytes(), bytes, picture);
    }
}

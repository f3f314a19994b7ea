use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::json::{Count, Items, List, Presence, Text, null_is_empty};
use crate::dialect::words::{greedy, reasoning_effort, saturated, schema_bytes};
use crate::dialect::{RequestSight, Unparsable, json, media};
use crate::shape::{
    Dialect, Endpoint, MediaKind, ReasoningEffort, RequestParams, Role, Structured,
};

/// Reads a request's body. The model stands in the path.
pub(in crate::dialect) fn observe(
    endpoint: Endpoint,
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::Gemini, body)?;
    let mut render = PromptRender::new(key);
    for tool in request.tools.iter().flat_map(List::iter) {
        match &tool.function_declarations {
            Some(functions) => {
                for function in functions.iter() {
                    render.tool(function.get().as_bytes());
                }
            }
            // A tool of the server's own.
            None => render.tool(b""),
        }
    }
    if let Some(system) = &request.system_instruction {
        render.message(Role::System);
        system.render(&mut render);
    }
    for content in request.contents.iter() {
        render.message(content.role());
        content.render(&mut render);
    }
    let params = RequestParams {
        stream: endpoint == Endpoint::GeminiStream,
        ..request.params()
    };
    Ok(RequestSight::new(params, None, render))
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    contents: List<Content<'a>>,
    #[serde(borrow, default, alias = "systemInstruction")]
    system_instruction: Option<Content<'a>>,
    #[serde(borrow, default)]
    tools: Option<List<Tool<'a>>>,
    #[serde(
        borrow,
        default,
        alias = "generationConfig",
        deserialize_with = "null_is_empty"
    )]
    generation_config: Config<'a>,
    #[serde(default, alias = "cachedContent")]
    cached_content: Presence,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default, alias = "functionDeclarations")]
    function_declarations: Option<List<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct Config<'a> {
    #[serde(default, alias = "maxOutputTokens")]
    max_output_tokens: Count,
    #[serde(default, alias = "candidateCount")]
    candidate_count: Count,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default, alias = "topP")]
    top_p: Option<f64>,
    #[serde(default, alias = "topK")]
    top_k: Option<f64>,
    #[serde(default, alias = "stopSequences")]
    stop_sequences: Items,
    #[serde(borrow, default, alias = "responseMimeType")]
    response_mime_type: Option<Text<'a>>,
    #[serde(borrow, default, alias = "responseSchema")]
    response_schema: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "responseJsonSchema")]
    response_json_schema: Option<&'a RawValue>,
    #[serde(default, alias = "responseLogprobs")]
    response_logprobs: Presence,
    #[serde(default)]
    logprobs: Count,
    #[serde(borrow, default, alias = "thinkingConfig")]
    thinking_config: Option<Thinking<'a>>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    /// Below zero: as the model sees fit.
    #[serde(default, alias = "thinkingBudget")]
    thinking_budget: Count,
    /// A word instead, from Gemini 3 on.
    #[serde(borrow, default, alias = "thinkingLevel")]
    thinking_level: Option<Text<'a>>,
}

impl Thinking<'_> {
    fn effort(&self) -> ReasoningEffort {
        match (&self.thinking_level, self.thinking_budget.0) {
            (Some(level), _) => reasoning_effort(&level.0.to_ascii_lowercase()),
            (None, Some(0)) => ReasoningEffort::None,
            (None, _) => ReasoningEffort::Other,
        }
    }
}

impl Request<'_> {
    fn params(&self) -> RequestParams {
        let config = &self.generation_config;
        let schema = config.response_schema.or(config.response_json_schema);
        let is_json = config
            .response_mime_type
            .as_ref()
            .is_some_and(|kind| kind.0 == "application/json");
        let (structured, schema_bytes) = match schema {
            Some(schema) => (Structured::JsonSchema, schema_bytes(schema)),
            None if is_json => (Structured::JsonObject, 0),
            None => (Structured::None, 0),
        };
        let thinking = config.thinking_config.as_ref();
        RequestParams {
            max_tokens: config.max_output_tokens.0,
            n: config
                .candidate_count
                .0
                .map_or(1, |n| u16::try_from(n).unwrap_or(u16::MAX)),
            greedy: greedy(config.temperature, config.top_p, config.top_k),
            structured,
            schema_bytes,
            logprobs: config
                .logprobs
                .0
                .map(saturated)
                .or(config.response_logprobs.0.then_some(0)),
            stop_count: saturated(config.stop_sequences.0),
            reasoning_effort: thinking.map(Thinking::effort),
            continues: self.cached_content.0,
            ..RequestParams::default()
        }
    }
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    role: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    parts: List<Part<'a>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default, alias = "inlineData")]
    inline_data: Option<Inline<'a>>,
    #[serde(borrow, default, alias = "fileData")]
    file_data: Option<File<'a>>,
    #[serde(borrow, default, alias = "functionCall")]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "functionResponse")]
    function_response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Inline<'a> {
    #[serde(borrow, default, alias = "mimeType")]
    mime_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, default, alias = "mimeType")]
    mime_type: Option<Text<'a>>,
    #[serde(borrow, default, alias = "fileUri")]
    file_uri: Option<Text<'a>>,
}

impl Content<'_> {
    /// What functions gave comes in a user's name.
    fn role(&self) -> Role {
        let results = |part: &Part<'_>| part.function_response.is_some();
        match self.role.as_ref().map(|role| &*role.0) {
            Some("function") => Role::Tool,
            None | Some("user") if !self.parts.is_empty() && self.parts.iter().all(results) => {
                Role::Tool
            }
            None | Some("user") => Role::User,
            Some("model") => Role::Assistant,
            Some("system") => Role::System,
            Some(_) => Role::Other,
        }
    }

    fn render(&self, render: &mut PromptRender) {
        for part in self.parts.iter() {
            if let Some(text) = &part.text {
                render.text(text.bytes());
            }
            for raw in [part.function_call, part.function_response]
                .into_iter()
                .flatten()
            {
                render.text(raw.get().as_bytes());
            }
            if let Some(Inline {
                mime_type,
                data: Some(data),
            }) = &part.inline_data
            {
                let kind = media_kind(mime_type.as_ref());
                let picture = Some(&data.0).filter(|_| kind == MediaKind::Image);
                let picture = picture.and_then(|data| media::picture(data));
                let bytes = media::base64_bytes(&data.0);
                render.media(kind, data.bytes(), bytes, picture);
            }
            if let Some(file) = &part.file_data {
                let identity = file.file_uri.as_ref().map_or(&[][..], Text::bytes);
                render.media(media_kind(file.mime_type.as_ref()), identity, 0, None);
            }
        }
    }
}

fn media_kind(mime_type: Option<&Text<'_>>) -> MediaKind {
    let kind = mime_type.and_then(|kind| kind.0.split_once('/'));
    match kind.map(|(kind, _)| kind) {
        Some("image") => MediaKind::Image,
        Some("audio") => MediaKind::Audio,
        Some("video") => MediaKind::Video,
        _ => MediaKind::Document,
    }
}

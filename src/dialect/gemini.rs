//! Google's Gemini: `POST …/models/MODEL:generateContent` and `:streamGenerateContent`. Field names come in two spellings.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::draft::{path_segment, thinking_budget, unsaid};
use super::json::{self, Count, Items, List, Presence, Said, Text};
use super::openai::{greedy, null_is_empty, reasoning_effort};
use super::repeat::Plain;
use super::response::Reader;
use super::tally::{Carried, Tally};
use super::{Draft, DraftMedia, RequestSight, Unparsable, WireRequest, media, schema, tools};
use crate::anonymise::{ChainKey, PromptRender};
use crate::shape::{
    Dialect, Endpoint, FinishReason, MediaKind, ReasoningEffort, RequestParams, Role, Structured,
};

/// Reads a request's body. The model stands in the path.
pub(super) fn observe(
    endpoint: Endpoint,
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> =
        json::read(body).map_err(|refused| Unparsable::new(Dialect::Gemini, refused))?;
    let mut render = PromptRender::new(key);
    for tool in request.tools.iter().flat_map(|tools| tools.iter()) {
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
    Ok(RequestSight {
        model: None,
        prompt: render.finish(),
        params: RequestParams {
            stream: endpoint == Endpoint::GeminiStream,
            ..request.params()
        },
    })
}

/// Writes a draft as a request: system messages go to `systemInstruction`. A stream is asked for as events.
pub(super) fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let params = &draft.params;
    let mut altered = draft.lost_in_conversation();
    altered.extend(unsaid([
        (params.continues, "continues"),
        (
            draft.messages.iter().any(|(role, _)| *role == Role::Tool),
            "tool_messages",
        ),
    ]));
    let functions = tools::definitions(draft.tools, tools::gemini, &mut altered);
    let (mut system, mut contents) = (Vec::new(), Vec::new());
    for (index, (role, text)) in (0..).zip(draft.messages) {
        let text = WirePart::Text(text);
        match role {
            Role::System => system.push(text),
            role => contents.push(WireContent {
                role: if *role == Role::Assistant {
                    "model"
                } else {
                    "user"
                },
                parts: std::iter::once(text)
                    .chain(draft.media_of(index).map(WirePart::of))
                    .collect(),
            }),
        }
    }
    let (response_mime_type, response_schema) = match params.structured {
        Structured::None => (None, None),
        Structured::JsonObject => (Some(JSON), None),
        Structured::JsonSchema => {
            let schema = schema::schema(params.schema_bytes, 0, &mut altered);
            (Some(JSON), schema)
        }
        Structured::Grammar => {
            altered.push("response_format");
            (None, None)
        }
    };
    let body = WireBody {
        contents,
        system_instruction: (!system.is_empty()).then_some(WireSystem { parts: system }),
        tools: match functions.is_empty() {
            true => Vec::new(),
            false => vec![WireTools {
                function_declarations: functions,
            }],
        },
        generation_config: WireConfig {
            max_output_tokens: draft.lengths().max_tokens,
            candidate_count: (params.n > 1).then_some(params.n),
            temperature: draft.temperature(),
            stop_sequences: draft.stops(MOST_STOPS, &mut altered),
            response_logprobs: params.logprobs.map(|_| true),
            logprobs: params.logprobs.filter(|&count| count > 0),
            response_mime_type,
            response_json_schema: response_schema,
            thinking_config: params.reasoning_effort.map(|effort| WireThinkingConfig {
                // As the model sees fit, where the recorded budget was not kept.
                thinking_budget: thinking_budget(effort).map_or(-1, i64::from),
            }),
        },
    };
    let words = params
        .reasoning_effort
        .filter(|effort| !matches!(effort, ReasoningEffort::None | ReasoningEffort::Other));
    if words.is_some() {
        altered.push("reasoning_effort");
    }
    let model = draft.model.strip_prefix("models/").unwrap_or(draft.model);
    let verb = match params.stream {
        true => "streamGenerateContent?alt=sse",
        false => "generateContent",
    };
    let path = format!("/v1beta/models/{}:{verb}", path_segment(model));
    WireRequest::json(path, &body, altered, draft.room())
}

const JSON: &str = "application/json";
const MOST_STOPS: u8 = 5;

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
        let clamp = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
        let (structured, schema_bytes) = match schema {
            Some(schema) => (
                Structured::JsonSchema,
                u32::try_from(schema.get().len()).unwrap_or(u32::MAX),
            ),
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
                .map(clamp)
                .or(config.response_logprobs.0.then_some(0)),
            stop_count: u8::try_from(config.stop_sequences.0).unwrap_or(u8::MAX),
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
                let pixels = Some(&data.0).filter(|_| kind == MediaKind::Image);
                let pixels = pixels.and_then(|data| media::pixels(data));
                let bytes = media::base64_bytes(&data.0);
                render.media(kind, data.bytes(), bytes, pixels);
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

/// Answers: pieces of a stream and whole ones have one form.
pub(super) struct Answers;

impl Reader for Answers {
    fn event<'a>(
        &self,
        at_us: u64,
        _name: &[u8],
        data: &'a [u8],
        tally: &mut Tally,
    ) -> Option<Plain<'a>> {
        let answer: Answer<'_> = tally.read(data)?;
        let parts = || {
            answer
                .candidates
                .iter()
                .flat_map(|it| it.content.parts.iter())
        };
        if parts().any(SpokenPart::answers) {
            tally.token(at_us, Carried::Answer);
        } else if parts().any(|part| part.text.anything) {
            tally.token(at_us, Carried::Reasoning);
        }
        answer.note(tally);
        // Counts grow from piece to piece, so none repeats the one before.
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
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    candidates: List<Candidate<'a>>,
    #[serde(default, alias = "usageMetadata")]
    usage_metadata: Option<Usage>,
    #[serde(default, alias = "promptFeedback")]
    prompt_feedback: Option<Feedback>,
    #[serde(default)]
    error: Presence,
}

#[derive(Deserialize)]
struct Feedback {
    #[serde(default, alias = "blockReason")]
    block_reason: Presence,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(default)]
    index: Count,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    content: Spoken<'a>,
    #[serde(borrow, default, alias = "finishReason")]
    finish_reason: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    parts: List<SpokenPart<'a>>,
}

#[derive(Deserialize)]
struct SpokenPart<'a> {
    #[serde(borrow, default)]
    text: Said<'a>,
    /// The text is thought, not said.
    #[serde(default)]
    thought: Presence,
    #[serde(default, alias = "functionCall")]
    function_call: Presence,
    #[serde(default, alias = "inlineData")]
    inline_data: Presence,
    #[serde(default, alias = "executableCode")]
    executable_code: Presence,
}

impl SpokenPart<'_> {
    fn answers(&self) -> bool {
        self.text.anything && !self.thought.0
            || self.function_call.0
            || self.inline_data.0
            || self.executable_code.0
    }
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default, alias = "promptTokenCount")]
    prompt_token_count: Count,
    /// What the server's tools gave to read; not among the prompt's.
    #[serde(default, alias = "toolUsePromptTokenCount")]
    tool_use_prompt_token_count: Count,
    /// Thoughts are not among them.
    #[serde(default, alias = "candidatesTokenCount")]
    candidates_token_count: Count,
    #[serde(default, alias = "thoughtsTokenCount")]
    thoughts_token_count: Count,
    #[serde(default, alias = "cachedContentTokenCount")]
    cached_content_token_count: Count,
}

impl Answer<'_> {
    fn note(&self, tally: &mut Tally) {
        let mut called = false;
        for candidate in self.candidates.iter() {
            let parts = candidate.content.parts.iter();
            if candidate.index.0.unwrap_or(0) == 0 {
                let said = parts.clone().filter(|part| !part.thought.0);
                tally.said(said.map(|part| part.text.bytes).sum());
            }
            let calls = parts.filter(|part| part.function_call.0).count();
            called |= calls > 0;
            tally.tool_calls(u32::try_from(calls).unwrap_or(u32::MAX));
            if let Some(reason) = &candidate.finish_reason {
                tally.sight.ended = true;
                tally.finish_reason(match &*reason.0 {
                    "STOP" if called || tally.sight.tool_calls > 0 => FinishReason::ToolCalls,
                    "STOP" => FinishReason::Stop,
                    "MAX_TOKENS" => FinishReason::Length,
                    "SAFETY"
                    | "RECITATION"
                    | "BLOCKLIST"
                    | "PROHIBITED_CONTENT"
                    | "SPII"
                    | "IMAGE_SAFETY"
                    | "IMAGE_PROHIBITED_CONTENT"
                    | "IMAGE_RECITATION" => FinishReason::ContentFilter,
                    _ => FinishReason::Other,
                });
            }
        }
        if let Some(usage) = &self.usage_metadata {
            tally.prompt_parts([
                usage.prompt_token_count,
                usage.tool_use_prompt_token_count,
                Count(None),
            ]);
            tally.output_parts([usage.candidates_token_count, usage.thoughts_token_count]);
            tally.reasoning_tokens(usage.thoughts_token_count);
            tally.cached_tokens(usage.cached_content_token_count);
        }
        if self.error.0 {
            tally.error();
        }
        if self
            .prompt_feedback
            .as_ref()
            .is_some_and(|it| it.block_reason.0)
        {
            tally.sight.ended = true;
            tally.finish_reason(FinishReason::ContentFilter);
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireBody<'a> {
    contents: Vec<WireContent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<WireSystem<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTools>,
    generation_config: WireConfig,
}

#[derive(Serialize)]
struct WireContent<'a> {
    role: &'static str,
    parts: Vec<WirePart<'a>>,
}

#[derive(Serialize)]
struct WireSystem<'a> {
    parts: Vec<WirePart<'a>>,
}

/// Each is an object with the one field of its kind.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum WirePart<'a> {
    Text(&'a str),
    InlineData(WireInline<'a>),
}

impl<'a> WirePart<'a> {
    fn of(part: &'a DraftMedia) -> Self {
        Self::InlineData(WireInline {
            mime_type: part.mime(),
            data: &part.base64,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireInline<'a> {
    mime_type: &'static str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireThinkingConfig {
    thinking_budget: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireTools {
    function_declarations: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<WireThinkingConfig>,
}

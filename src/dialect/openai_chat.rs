//! OpenAI chat completions: `POST /v1/chat/completions`.

use serde::de::MapAccess;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::draft::{Ban, DataUrl, unsaid};
use super::json::{List, OneOrMany, Refused, Text};
use super::openai::WireFormat;
use super::openai_body::{self, OwnFields, once};
use super::{Draft, RequestSight, Unparsable, WireRequest, media, tools};
use crate::anonymise::{ChainKey, Private, PromptRender};
use crate::shape::{Dialect, MediaKind, ReasoningEffort, Role};

/// Reads a request's body.
pub(super) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let wrong = |refused| Unparsable::new(Dialect::OpenAiChat, refused);
    let (request, parameters) = openai_body::read::<Request<'_>>(body).map_err(wrong)?;
    let messages = request.messages.ok_or(wrong(Refused::Malformed))?;
    let mut render = PromptRender::new(key);
    let tools = [&request.tools, &request.functions].into_iter().flatten();
    for tool in tools.flatten().flat_map(|tools| tools.iter()) {
        render.tool(tool.get().as_bytes());
    }
    for message in messages.iter() {
        message.render(&mut render);
    }
    Ok(RequestSight {
        model: request.model.flatten().map(|model| Private::new(model.0)),
        prompt: render.finish(),
        params: parameters.shape(),
    })
}

/// Writes a draft as a request.
pub(super) fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let params = &draft.params;
    let mut altered = draft.lost_in_conversation();
    altered.extend(unsaid([
        (params.stream && !params.include_usage, "include_usage"),
        (params.continues, "continues"),
        (
            params.reasoning_effort == Some(ReasoningEffort::Other),
            "reasoning_effort",
        ),
    ]));
    let lengths = draft.lengths();
    let tools = tools::definitions(draft.tools, tools::openai, &mut altered);
    let messages = (0..)
        .zip(draft.messages)
        .map(|(index, (role, text))| WireMessage {
            role: role_name(*role),
            content: WireContent::of(draft, index, text),
            tool_call_id: (*role == Role::Tool).then_some("call_0"),
        });
    let body = WireBody {
        model: draft.model,
        messages: messages.collect(),
        tools,
        stream: params.stream,
        stream_options: params.stream.then_some(IncludeUsage {
            include_usage: true,
        }),
        max_tokens: lengths.max_tokens,
        min_tokens: lengths.min_tokens,
        ignore_eos: lengths.ignore_eos,
        logit_bias: lengths.logit_bias,
        n: (params.n > 1).then_some(params.n),
        temperature: draft.temperature(),
        logprobs: params.logprobs.map(|_| true),
        top_logprobs: params.logprobs.filter(|&count| count > 0),
        stop: draft.stops(MOST_STOPS, &mut altered),
        reasoning_effort: params.reasoning_effort.and_then(super::openai::effort_name),
        response_format: WireFormat::of(draft, &mut altered),
    };
    WireRequest::json("/v1/chat/completions", &body, altered, draft.room())
}

/// Some engines take more than OpenAI's four, so that a trace may hold them; a damaged one must not ask for any number.
pub(super) const MOST_STOPS: u8 = 64;

#[derive(Default)]
struct Request<'a> {
    model: Option<Option<Text<'a>>>,
    messages: Option<List<Message<'a>>>,
    tools: Option<Option<List<&'a RawValue>>>,
    /// The form before tools.
    functions: Option<Option<List<&'a RawValue>>>,
}

impl<'a> OwnFields<'a> for Request<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "model" => once(&mut self.model, map),
            "messages" => once(&mut self.messages, map),
            "tools" => once(&mut self.tools, map),
            "functions" => once(&mut self.functions, map),
            _ => Ok(false),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow, default)]
    content: Content<'a>,
    /// DeepSeek's name for what was thought, and vLLM's first.
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    /// OpenRouter's, and vLLM's now; some clients send both.
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<List<ToolCall<'a>>>,
    /// The form before tools.
    #[serde(borrow, default)]
    function_call: Option<Function<'a>>,
}

impl Message<'_> {
    pub(super) fn render(&self, render: &mut PromptRender) {
        render.message(role(&self.role.0));
        if let Some(reasoning) = self.reasoning_content.as_ref().or(self.reasoning.as_ref()) {
            render.text(reasoning.bytes());
        }
        self.content.render(render);
        if let Some(refusal) = &self.refusal {
            render.text(refusal.bytes());
        }
        let calls = self.tool_calls.iter().flat_map(|calls| calls.iter());
        let calls = calls.flat_map(|call| [&call.function, &call.custom]);
        for call in calls.chain([&self.function_call]).flatten() {
            for text in [&call.name, &call.arguments].into_iter().flatten() {
                render.text(text.bytes());
            }
        }
    }
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
    #[serde(borrow, default)]
    custom: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    /// A custom tool has an `input`.
    #[serde(borrow, default, alias = "input")]
    arguments: Option<Text<'a>>,
}

/// A message's content: null, a string, or parts.
type Content<'a> = OneOrMany<'a, Part<'a>>;

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
    /// A text, or, as Mistral has it, parts of one.
    #[serde(borrow, default)]
    thinking: Content<'a>,
    /// Cohere's form of a tool's result.
    #[serde(borrow, default)]
    document: Option<&'a RawValue>,
    #[serde(borrow, default)]
    image_url: OneOrMany<'a, Reference<'a>>,
    #[serde(borrow, default)]
    video_url: OneOrMany<'a, Reference<'a>>,
    #[serde(borrow, default)]
    audio_url: OneOrMany<'a, Reference<'a>>,
    #[serde(borrow, default)]
    input_audio: OneOrMany<'a, Reference<'a>>,
    #[serde(borrow, default)]
    file: OneOrMany<'a, Reference<'a>>,
}

/// Where a media part's bytes are: in it, or elsewhere.
#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_data: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_id: Option<Text<'a>>,
}

impl Part<'_> {
    fn render(&self, render: &mut PromptRender) {
        for text in [&self.text, &self.refusal].into_iter().flatten() {
            render.text(text.bytes());
        }
        self.thinking.render(render);
        if let Some(document) = self.document {
            render.text(document.get().as_bytes());
        }
        for (kind, reference) in [
            (MediaKind::Image, &self.image_url),
            (MediaKind::Video, &self.video_url),
            (MediaKind::Audio, &self.audio_url),
            (MediaKind::Audio, &self.input_audio),
            (MediaKind::Document, &self.file),
        ] {
            match reference {
                OneOrMany::None => {}
                // As Mistral has it: the address alone, or, of sound, the data.
                OneOrMany::One(it) if kind == MediaKind::Audio => {
                    medium(kind, Some(it), None, render);
                }
                OneOrMany::One(it) => medium(kind, None, Some(it), render),
                OneOrMany::Many(references) => {
                    references.iter().for_each(|it| it.render(kind, render));
                }
            }
        }
    }
}

impl Reference<'_> {
    fn render(&self, kind: MediaKind, render: &mut PromptRender) {
        let inline = self.data.as_ref().or(self.file_data.as_ref());
        let elsewhere = self.url.as_ref().or(self.file_id.as_ref());
        medium(kind, inline, elsewhere, render);
    }
}

/// A media part whose data came along, or stands behind an address.
fn medium(
    kind: MediaKind,
    inline: Option<&Text<'_>>,
    elsewhere: Option<&Text<'_>>,
    render: &mut PromptRender,
) {
    let (identity, payload) = match (inline, elsewhere) {
        (Some(data), _) => (
            data.bytes(),
            Some(media::data_url(&data.0).unwrap_or(&data.0)),
        ),
        (None, Some(url)) => (url.bytes(), media::data_url(&url.0)),
        (None, None) => (&[][..], None),
    };
    let bytes = payload.map_or(0, media::base64_bytes);
    let pixels = payload
        .filter(|_| kind == MediaKind::Image)
        .and_then(media::pixels);
    render.media(kind, identity, bytes, pixels);
}

pub(super) fn role(name: &str) -> Role {
    match name {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        _ => Role::Other,
    }
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User | Role::Other => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

#[derive(Serialize)]
struct WireBody<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Box<RawValue>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<IncludeUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logit_bias: Option<Ban<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WireFormat>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: WireContent<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireContent<'a> {
    Text(&'a str),
    Parts(Vec<WirePart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WirePart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: WireUrl<'a> },
    InputAudio { input_audio: WireSound<'a> },
}

#[derive(Serialize)]
struct WireUrl<'a> {
    url: DataUrl<'a>,
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
            MediaKind::Audio => WirePart::InputAudio {
                input_audio: WireSound {
                    data: &part.base64,
                    format: "wav",
                },
            },
            _ => WirePart::ImageUrl {
                image_url: WireUrl {
                    url: part.data_url(),
                },
            },
        });
        Self::Parts(text.into_iter().chain(media).collect())
    }
}

/// `stream_options`: asks for a last chunk with `usage`.
#[derive(Serialize)]
pub(super) struct IncludeUsage {
    pub(super) include_usage: bool,
}

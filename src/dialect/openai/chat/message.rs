//! A message of a conversation, as clients of many servers write it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anonymise::PromptRender;
use crate::dialect::json::{List, OneOrMany, Text};
use crate::dialect::media;
use crate::dialect::words::role;
use crate::shape::MediaKind;

#[derive(Deserialize)]
pub(in crate::dialect) struct Message<'a> {
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
    pub(in crate::dialect) fn render(&self, render: &mut PromptRender) {
        render.message(role(&self.role.0));
        if let Some(reasoning) = self.reasoning_content.as_ref().or(self.reasoning.as_ref()) {
            render.text(reasoning.bytes());
        }
        self.content.render_by(Part::render, render);
        if let Some(refusal) = &self.refusal {
            render.text(refusal.bytes());
        }
        let calls = self.tool_calls.iter().flat_map(List::iter);
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
        self.thinking.render_by(Part::render, render);
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
    let picture = payload
        .filter(|_| kind == MediaKind::Image)
        .and_then(media::picture);
    render.media(kind, identity, bytes, picture);
}

//! The text of an answer, for a replay that puts it into the next turn's prompt (`--live-history`). A door of its own: the
//! [`ResponseObserver`](super::ResponseObserver), which the recorder uses, gets nothing of the text but how many tokens it has.

use std::fmt;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::anonymise::PromptTokenizer;
use crate::dialect::framing::array::ArraySplitter;
use crate::dialect::framing::lines::LineSplitter;
use crate::dialect::framing::sse::{Event, SseSplitter};
use crate::dialect::framing::{Framing, framing};
use crate::shape::{Dialect, Endpoint};

/// What a target answered, as a next turn would repeat it. Shown nowhere: not even in a panic's message.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AnswerText(String);

impl AnswerText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AnswerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerText(…)")
    }
}

/// Reads the text of one answer's first choice as it comes: reasoning and tool calls left out. Holds the text and one event of a
/// stream, or a plain body; what is larger than [`AnswerReader::MOST`] counts as unreadable.
pub struct AnswerReader {
    dialect: Dialect,
    form: Form,
    text: String,
    too_large: bool,
}

enum Form {
    Events(SseSplitter),
    Lines(LineSplitter),
    Array(ArraySplitter),
    Plain(Vec<u8>),
    Opaque,
}

impl AnswerReader {
    /// Bytes of an answer that are kept.
    pub const MOST: usize = 4 << 20;

    /// A reader of one answer without a content coding.
    pub fn new(endpoint: Endpoint, content_type: Option<&str>) -> Self {
        Self {
            dialect: endpoint.dialect(),
            form: match framing(endpoint, content_type.unwrap_or_default()) {
                Framing::Events => Form::Events(SseSplitter::default()),
                Framing::Lines => Form::Lines(LineSplitter::default()),
                Framing::Array => Form::Array(ArraySplitter::default()),
                Framing::Plain => Form::Plain(Vec::new()),
                Framing::Messages => Form::Opaque,
            },
            text: String::new(),
            too_large: false,
        }
    }

    /// Takes the next piece of the body.
    pub fn data(&mut self, bytes: &[u8]) {
        let Self {
            dialect,
            form,
            text,
            too_large,
        } = self;
        let read = |event: Event<'_>| read(*dialect, event.data, text);
        match form {
            Form::Events(splitter) => splitter.feed(bytes, read),
            Form::Lines(splitter) => splitter.feed(bytes, read),
            Form::Array(splitter) => splitter.feed(bytes, read),
            Form::Plain(body) if body.len() + bytes.len() <= Self::MOST => {
                body.extend_from_slice(bytes);
            }
            Form::Plain(_) => *too_large = true,
            Form::Opaque => {}
        }
        if self.text.len() > Self::MOST || self.too_large {
            self.too_large = true;
            self.text = String::new();
            self.form = Form::Opaque;
        }
    }

    /// The text; `None` where there was none, or not all of it could be read.
    pub fn finish(mut self) -> Option<AnswerText> {
        let (dialect, text) = (self.dialect, &mut self.text);
        let read = |event: Event<'_>| read(dialect, event.data, text);
        match self.form {
            Form::Events(mut splitter) => splitter.finish(read),
            Form::Lines(mut splitter) => splitter.finish(read),
            Form::Array(mut splitter) => splitter.finish(read),
            Form::Plain(body) => self::read(dialect, Some(&body), text),
            Form::Opaque => return None,
        }
        (!self.too_large && !self.text.is_empty()).then_some(AnswerText(self.text))
    }
}

/// Counts the tokens of a plain answer's text.
pub(super) struct TextCounter {
    dialect: Dialect,
    tokenizer: PromptTokenizer,
}

impl TextCounter {
    pub(super) fn new(dialect: Dialect, tokenizer: PromptTokenizer) -> Self {
        Self { dialect, tokenizer }
    }

    /// The tokens of the text in a body; `None` where the text is not the one of `bytes` bytes that the observer read.
    pub(super) fn count(&self, body: &[u8], bytes: u64) -> Option<u32> {
        let mut text = Zeroizing::default();
        read(self.dialect, Some(body), &mut text);
        let same = text.len() as u64 == bytes;
        let tokens = same.then(|| self.tokenizer.tokens(&text))??;
        u32::try_from(tokens.len()).ok()
    }
}

/// Adds what one event, or a plain body, says.
fn read(dialect: Dialect, data: Option<&[u8]>, text: &mut String) {
    let Some(Ok(value)) = data.map(serde_json::from_slice::<Value>) else {
        return;
    };
    let mut add = |value: Option<&Value>| {
        if let Some(piece) = value.and_then(Value::as_str) {
            text.push_str(piece);
        }
    };
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => {
            let choices = value.get("choices").and_then(Value::as_array);
            let first = |choice: &&Value| {
                let index = choice.get("index").and_then(Value::as_u64);
                index.unwrap_or(0) == 0
            };
            for choice in choices.into_iter().flatten().filter(first) {
                add(choice.pointer("/delta/content"));
                add(choice.pointer("/message/content"));
                add(choice.get("text"));
            }
        }
        Dialect::AnthropicMessages => {
            add(value.pointer("/delta/text"));
            parts(value.get("content"), "text", &mut add);
        }
        Dialect::OpenAiResponses => {
            let kind = value.get("type").and_then(Value::as_str);
            if kind == Some("response.output_text.delta") {
                add(value.get("delta"));
            }
            // A plain answer; a stream's last event repeats it one level down, where it is not looked for.
            for item in value
                .get("output")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                if item.get("type").and_then(Value::as_str) == Some("message") {
                    parts(item.get("content"), "output_text", &mut add);
                }
            }
        }
        Dialect::OllamaChat | Dialect::OllamaGenerate => {
            add(value.pointer("/message/content"));
            add(value.get("response"));
        }
        Dialect::Tgi => {
            let special = value.pointer("/token/special").and_then(Value::as_bool);
            if value.get("token").is_none() {
                add(value.get("generated_text"));
                add(value.pointer("/0/generated_text"));
            } else if special != Some(true) {
                add(value.pointer("/token/text"));
            }
        }
        Dialect::CohereChat => {
            add(value.pointer("/delta/message/content/text"));
            parts(value.pointer("/message/content"), "text", &mut add);
        }
        Dialect::Gemini => {
            let said = value.pointer("/candidates/0/content/parts");
            for part in said.and_then(Value::as_array).into_iter().flatten() {
                if part.get("thought").and_then(Value::as_bool) != Some(true) {
                    add(part.get("text"));
                }
            }
        }
        Dialect::Triton => add(value.get("text_output")),
        Dialect::OpenAiEmbeddings
        | Dialect::OllamaEmbed
        | Dialect::Kserve
        | Dialect::KserveGrpc
        | Dialect::Realtime
        | Dialect::Generic => {}
    }
}

/// The texts of a list of parts, of one kind.
fn parts(list: Option<&Value>, kind: &str, add: &mut impl FnMut(Option<&Value>)) {
    for part in list.and_then(Value::as_array).into_iter().flatten() {
        if part.get("type").and_then(Value::as_str) == Some(kind) {
            add(part.get("text"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(endpoint: Endpoint, kind: &str, body: &str) -> Option<String> {
        let mut reader = AnswerReader::new(endpoint, Some(kind));
        // In pieces that cut events.
        for piece in body.as_bytes().chunks(7) {
            reader.data(piece);
        }
        reader.finish().map(|text| text.as_str().to_owned())
    }

    const SSE: &str = "text/event-stream";
    const JSON: &str = "application/json";

    #[test]
    fn streams_are_put_together_and_reasoning_left_out() {
        let chat = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"hm"}}]}

data: {"choices":[{"index":0,"delta":{"content":"Hel"}},{"index":1,"delta":{"content":"no"}}]}

data: {"choices":[{"index":0,"delta":{"content":"lo \"é\""}}]}

data: [DONE]

"#;
        let said = text(Endpoint::ChatCompletions, SSE, chat);
        assert_eq!(said.as_deref(), Some("Hello \"é\""));
        let claude = r#"event: content_block_delta
data: {"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}

event: content_block_delta
data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"Hello"}}

"#;
        assert_eq!(
            text(Endpoint::Messages, SSE, claude).as_deref(),
            Some("Hello")
        );
        let responses = r#"data: {"type":"response.output_text.delta","delta":"Hello"}

data: {"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}]}}

"#;
        assert_eq!(
            text(Endpoint::Responses, SSE, responses).as_deref(),
            Some("Hello")
        );
        let ollama = "{\"message\":{\"content\":\"Hel\"}}\n{\"message\":{\"content\":\"lo\"},\"done\":true}\n";
        let said = text(Endpoint::OllamaChat, "application/x-ndjson", ollama);
        assert_eq!(said.as_deref(), Some("Hello"));
    }

    #[test]
    fn plain_bodies_are_read_in_every_dialect() {
        for (endpoint, body) in [
            (
                Endpoint::ChatCompletions,
                r#"{"choices":[{"message":{"content":"Hello"}}]}"#,
            ),
            (Endpoint::Completions, r#"{"choices":[{"text":"Hello"}]}"#),
            (
                Endpoint::Messages,
                r#"{"content":[{"type":"thinking","thinking":"x"},{"type":"text","text":"Hello"}]}"#,
            ),
            (
                Endpoint::Responses,
                r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}]}"#,
            ),
            (Endpoint::OllamaChat, r#"{"message":{"content":"Hello"}}"#),
            (Endpoint::TgiGenerate, r#"{"generated_text":"Hello"}"#),
            (
                Endpoint::GeminiGenerate,
                r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"Hello"}]}}]}"#,
            ),
        ] {
            assert_eq!(
                text(endpoint, JSON, body).as_deref(),
                Some("Hello"),
                "{endpoint:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_repeated_gives_no_text_and_none_is_shown() {
        let calls = r#"{"choices":[{"message":{"content":null,"tool_calls":[{}]}}]}"#;
        assert_eq!(text(Endpoint::ChatCompletions, JSON, calls), None);
        assert_eq!(text(Endpoint::ChatCompletions, JSON, "no JSON"), None);
        let vast = format!("{{\"response\":\"{}\"}}", "x".repeat(AnswerReader::MOST));
        assert_eq!(text(Endpoint::OllamaGenerate, JSON, &vast), None);
        assert!(!format!("{:?}", AnswerText("secret".into())).contains("secret"));
    }
}

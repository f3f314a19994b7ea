use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::anthropic::Thinking;
use crate::dialect::json::{Count, Items, List, Presence, Text, Tools};
use crate::dialect::openai::chat::Message;
use crate::dialect::words::{greedy, saturated, schema_bytes};
use crate::dialect::{RequestSight, Unparsable, json};
use crate::shape::{Dialect, RequestParams, Role, Structured};

/// Reads a request's body. Documents to answer from are a system message after the others of that kind, as the template has it.
pub(in crate::dialect) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::CohereChat, body)?;
    let mut render = PromptRender::new(key);
    request.tools.render(&mut render);
    if let Some(documents) = request.documents.as_ref().filter(|list| !list.is_empty()) {
        render.message(Role::System);
        for document in documents.iter() {
            render.text(document.get().as_bytes());
        }
    }
    for message in request.messages.iter() {
        message.render(&mut render);
    }
    Ok(RequestSight::new(request.params(), request.model, render))
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    messages: List<Message<'a>>,
    #[serde(borrow, default)]
    tools: Tools<'a>,
    #[serde(borrow, default)]
    documents: Option<List<&'a RawValue>>,
    #[serde(default)]
    max_tokens: Count,
    #[serde(default)]
    stream: Presence,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    p: Option<f64>,
    #[serde(default)]
    k: Option<f64>,
    #[serde(default)]
    logprobs: Presence,
    #[serde(default)]
    stop_sequences: Items,
    #[serde(borrow, default)]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Thinking<'a>>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default, alias = "schema")]
    json_schema: Option<&'a RawValue>,
}

impl Request<'_> {
    fn params(&self) -> RequestParams {
        let (structured, schema_bytes) = match &self.response_format {
            Some(ResponseFormat {
                json_schema: Some(schema),
                ..
            }) => (Structured::JsonSchema, schema_bytes(schema)),
            Some(format) if format.kind.as_ref().is_some_and(|it| it.0 == "json_object") => {
                (Structured::JsonObject, 0)
            }
            _ => (Structured::None, 0),
        };
        RequestParams {
            max_tokens: self.max_tokens.0,
            n: 1,
            stream: self.stream.0,
            greedy: greedy(self.temperature, self.p, self.k),
            structured,
            schema_bytes,
            logprobs: self.logprobs.0.then_some(0),
            stop_count: saturated(self.stop_sequences.0),
            reasoning_effort: self.thinking.as_ref().map(Thinking::effort),
            ..RequestParams::default()
        }
    }
}

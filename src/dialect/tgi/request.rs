use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::json::{Count, Items, Presence, Text, null_is_empty};
use crate::dialect::words::{greedy, saturated, schema_bytes};
use crate::dialect::{RequestSight, Unparsable, json};
use crate::shape::{Dialect, Endpoint, RequestParams, Role, Structured};

/// Reads a request's body. A server has one model, which nobody names; what it was fine-tuned with can be chosen, as by a model's
/// name elsewhere.
pub(in crate::dialect) fn observe(
    endpoint: Endpoint,
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    // Other servers' bodies come here too, and a list's items would be taken for fields.
    if !is_object(body) {
        return Err(Unparsable::Body(Dialect::Tgi));
    }
    let request: Request<'_> = json::read_as(Dialect::Tgi, body)?;
    let mut render = PromptRender::new(key);
    render.message(Role::User);
    render.text(request.inputs.bytes());
    let parameters = request.parameters;
    let stream = request.stream.0 || endpoint == Endpoint::TgiGenerateStream;
    let params = RequestParams {
        stream,
        ..parameters.shape()
    };
    Ok(RequestSight::new(params, parameters.adapter_id, render))
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    inputs: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_empty")]
    parameters: Parameters<'a>,
    /// On `/` only.
    #[serde(default)]
    stream: Presence,
}

#[derive(Default, Deserialize)]
struct Parameters<'a> {
    #[serde(default)]
    max_new_tokens: Count,
    #[serde(default)]
    best_of: Count,
    #[serde(default)]
    do_sample: Option<bool>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    top_k: Option<f64>,
    #[serde(default)]
    top_n_tokens: Count,
    #[serde(default)]
    stop: Items,
    #[serde(borrow, default)]
    grammar: Option<Grammar<'a>>,
    #[serde(borrow, default)]
    adapter_id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Grammar<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

impl Parameters<'_> {
    fn shape(&self) -> RequestParams {
        let (structured, schema_bytes) = match &self.grammar {
            None => (Structured::None, 0),
            Some(grammar) => {
                let kind = match grammar.kind.as_ref().map(|kind| &*kind.0) {
                    Some("json" | "json_object" | "json_schema") => Structured::JsonSchema,
                    _ => Structured::Grammar,
                };
                (kind, grammar.value.map_or(0, schema_bytes))
            }
        };
        let sampled = self.do_sample.map(|sampled| !sampled);
        RequestParams {
            max_tokens: self.max_new_tokens.0,
            n: 1,
            best_of: self.best_of.0.map(|n| u16::try_from(n).unwrap_or(u16::MAX)),
            greedy: sampled.or_else(|| greedy(self.temperature, self.top_p, self.top_k)),
            structured,
            schema_bytes,
            logprobs: self.top_n_tokens.0.map(saturated),
            stop_count: saturated(self.stop.0),
            ..RequestParams::default()
        }
    }
}

pub(super) fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

//! Parameters that chat completions and completions both take.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::json::{Count, Items, Presence, Text};
use crate::dialect::words::{greedy, reasoning_effort, saturated, schema_bytes};
use crate::shape::{RequestParams, Structured};

/// Parameters that both endpoints take.
#[derive(Deserialize)]
pub(in crate::dialect) struct Parameters<'a> {
    #[serde(default)]
    max_tokens: Count,
    #[serde(default)]
    max_completion_tokens: Count,
    #[serde(default)]
    min_tokens: Count,
    #[serde(default)]
    ignore_eos: Presence,
    #[serde(default)]
    n: Count,
    #[serde(default)]
    best_of: Count,
    #[serde(default)]
    stream: Presence,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    top_k: Option<f64>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
    #[serde(default)]
    top_logprobs: Count,
    #[serde(default)]
    stop: Items,
    #[serde(borrow, default)]
    reasoning_effort: Option<Text<'a>>,
    #[serde(default)]
    echo: Presence,
    #[serde(default)]
    return_token_ids: Presence,
    #[serde(borrow, default)]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(borrow, default)]
    guided_json: Option<&'a RawValue>,
    #[serde(borrow, default)]
    guided_regex: Option<&'a RawValue>,
    #[serde(borrow, default)]
    guided_choice: Option<&'a RawValue>,
    #[serde(borrow, default)]
    guided_grammar: Option<&'a RawValue>,
    #[serde(borrow, default)]
    structured_outputs: Option<StructuredOutputs<'a>>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Presence,
    #[serde(default)]
    continuous_usage_stats: Presence,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    json_schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StructuredOutputs<'a> {
    #[serde(borrow, default)]
    json: Option<&'a RawValue>,
    #[serde(borrow, default)]
    regex: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choice: Option<&'a RawValue>,
    #[serde(borrow, default)]
    grammar: Option<&'a RawValue>,
}

impl Parameters<'_> {
    /// As the shape has them; `token_ids` is the endpoint's to say.
    pub(in crate::dialect) fn shape(&self) -> RequestParams {
        let (structured, schema_bytes) = self.structured();
        let options = self.stream_options.as_ref();
        RequestParams {
            max_tokens: self.max_completion_tokens.0.or(self.max_tokens.0),
            min_tokens: self.min_tokens.0,
            ignore_eos: self.ignore_eos.0,
            n: self.n.0.map_or(1, |n| u16::try_from(n).unwrap_or(u16::MAX)),
            best_of: self.best_of.0.map(|n| u16::try_from(n).unwrap_or(u16::MAX)),
            stream: self.stream.0,
            include_usage: options.is_some_and(|options| options.include_usage.0),
            greedy: greedy(self.temperature, self.top_p, self.top_k),
            structured,
            schema_bytes,
            logprobs: self.logprobs(),
            stop_count: saturated(self.stop.0),
            reasoning_effort: self
                .reasoning_effort
                .as_ref()
                .map(|effort| reasoning_effort(&effort.0)),
            echo: self.echo.0,
            continuous_usage: options.is_some_and(|options| options.continuous_usage_stats.0),
            return_token_ids: self.return_token_ids.0,
            ..RequestParams::default()
        }
    }

    /// A number on completions, a truth value beside `top_logprobs` on chat.
    fn logprobs(&self) -> Option<u8> {
        let asked = match self.logprobs.map(RawValue::get) {
            None | Some("false" | "null") => None,
            Some("true") => Some(0),
            Some(number) => Some(number.parse().map_or(0, saturated)),
        };
        self.top_logprobs.0.map(saturated).or(asked)
    }

    fn structured(&self) -> (Structured, u32) {
        let outputs = self.structured_outputs.as_ref();
        if let Some(schema) = self.guided_json.or_else(|| outputs?.json) {
            return (Structured::JsonSchema, schema_bytes(schema));
        }
        let grammar = self
            .guided_regex
            .or(self.guided_choice)
            .or(self.guided_grammar);
        if let Some(grammar) =
            grammar.or_else(|| outputs?.regex.or(outputs?.choice).or(outputs?.grammar))
        {
            return (Structured::Grammar, schema_bytes(grammar));
        }
        match &self.response_format {
            Some(format) => match format.kind.as_ref().map(|kind| &*kind.0) {
                Some("json_object") => (Structured::JsonObject, 0),
                Some("json_schema") => (
                    Structured::JsonSchema,
                    format.json_schema.map_or(0, schema_bytes),
                ),
                None | Some("text") => (Structured::None, 0),
                Some(_) => (Structured::Grammar, 0),
            },
            None => (Structured::None, 0),
        }
    }
}

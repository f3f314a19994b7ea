//! Parts of a request that more than one of OpenAI's APIs is written with.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::draft::{Ban, Rare, schema};
use crate::dialect::{Draft, DraftMedia};
use crate::shape::Structured;

/// How an answer's form is asked for.
#[derive(Serialize)]
pub(in crate::dialect) struct WireFormat {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<WireSchema>,
}

#[derive(Serialize)]
struct WireSchema {
    name: &'static str,
    schema: Box<RawValue>,
}

impl WireFormat {
    /// As recorded; grammars have no common form.
    pub(in crate::dialect) fn of(
        draft: &Draft<'_>,
        altered: &mut Vec<&'static str>,
    ) -> Option<Self> {
        let params = &draft.params;
        match params.structured {
            Structured::None => None,
            Structured::JsonObject => Some(Self {
                kind: "json_object",
                json_schema: None,
            }),
            Structured::JsonSchema => {
                let around = r#"{"name":"a","schema":}"#.len();
                let schema = schema::schema(params.schema_bytes, around, altered)?;
                Some(Self {
                    kind: "json_schema",
                    json_schema: Some(WireSchema { name: "a", schema }),
                })
            }
            Structured::Grammar => {
                altered.push("response_format");
                None
            }
        }
    }
}

/// What chat completions and completions both say of their answers: whether they come as a stream, how long they are, and how many.
#[derive(Serialize)]
pub(in crate::dialect) struct WireAnswers<'a> {
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
    return_token_ids: Option<bool>,
}

/// Asks for `usage`: in a last chunk, and in each before it.
#[derive(Serialize)]
struct IncludeUsage {
    include_usage: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuous_usage_stats: Option<bool>,
}

impl<'a> WireAnswers<'a> {
    pub(in crate::dialect) fn of(draft: &'a Draft<'_>, rare: &mut Rare<'_>) -> Self {
        let (params, lengths) = (&draft.params, draft.lengths());
        Self {
            stream: params.stream,
            stream_options: params.stream.then(|| IncludeUsage {
                include_usage: true,
                continuous_usage_stats: rare.take_continuous_usage(),
            }),
            max_tokens: lengths.max_tokens,
            min_tokens: lengths.min_tokens,
            ignore_eos: lengths.ignore_eos,
            logit_bias: lengths.logit_bias,
            n: (params.n > 1).then_some(params.n),
            return_token_ids: rare.take_return_token_ids(),
        }
    }
}

/// `input_audio`
#[derive(Serialize)]
pub(in crate::dialect) struct WireSound<'a> {
    data: &'a str,
    format: &'static str,
}

impl<'a> WireSound<'a> {
    pub(in crate::dialect) fn of(medium: &'a DraftMedia) -> Self {
        Self {
            data: &medium.base64,
            format: "wav",
        }
    }
}

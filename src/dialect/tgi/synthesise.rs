use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::draft::{schema, unsaid};
use crate::dialect::words::MOST_STOPS;
use crate::dialect::{Draft, WireRequest};
use crate::shape::{Endpoint, RequestParams, Structured};

/// Writes a draft as one text.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let params = &draft.params;
    let mut altered = draft.lost_in_one_text();
    altered.extend(unsaid([
        (params.n > 1, "n"),
        (params.reasoning_effort.is_some(), "reasoning_effort"),
        (params.echo, "echo"),
        (params.token_ids, "token_ids"),
        (params.continues, "continues"),
    ]));
    let body = WireBody {
        inputs: draft.one_text(),
        parameters: WireParameters {
            adapter_id: draft.adapter,
            max_new_tokens: draft.lengths().max_tokens,
            best_of: params.best_of,
            do_sample: params.greedy.map(|greedy| !greedy),
            top_n_tokens: params.logprobs.filter(|&count| count > 0),
            stop: draft.stops(MOST_STOPS, &mut altered),
            grammar: WireGrammar::of(params, &mut altered),
            // Without them no answer tells its length.
            details: true,
            decoder_input_details: false,
        },
    };
    // Which of the two paths was asked for says whether it streams, but for `/`.
    let path = match params.stream {
        true => Endpoint::TgiGenerateStream.path(),
        false => Endpoint::TgiGenerate.path(),
    };
    WireRequest::json(path, &body, altered, draft.room())
}

#[derive(Serialize)]
struct WireBody<'a> {
    inputs: Cow<'a, str>,
    parameters: WireParameters<'a>,
}

#[derive(Serialize)]
struct WireParameters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_of: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    do_sample: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_n_tokens: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grammar: Option<WireGrammar>,
    details: bool,
    decoder_input_details: bool,
}

#[derive(Serialize)]
struct WireGrammar {
    #[serde(rename = "type")]
    kind: &'static str,
    value: Box<RawValue>,
}

impl WireGrammar {
    /// Every JSON form is a schema here.
    fn of(params: &RequestParams, altered: &mut Vec<&'static str>) -> Option<Self> {
        match params.structured {
            Structured::None => return None,
            Structured::JsonSchema => {}
            Structured::JsonObject | Structured::Grammar => altered.push("response_format"),
        }
        if params.structured == Structured::Grammar {
            return None;
        }
        let value = schema::schema(params.schema_bytes, 0, altered)?;
        Some(Self {
            kind: "json",
            value,
        })
    }
}

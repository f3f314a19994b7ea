//! Triton's generate extension: `POST /v2/models/MODEL/generate` and `/generate_stream`. Which fields there are is the model's
//! to say; these are what the backends of vLLM and TensorRT-LLM have.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::answer::{Carried, Plain, Reader, Tally};
use crate::dialect::draft::{path_segment, unsaid};
use crate::dialect::json::{Count, Fault, Presence, Said, null_is_empty};
use crate::dialect::openai::Prompt;
use crate::dialect::words::greedy;
use crate::dialect::{Draft, RequestSight, Unparsable, WireRequest, json};
use crate::shape::{Dialect, Endpoint, RequestParams, Structured};

/// Reads a request's body. The model stands in the path.
pub(in crate::dialect) fn observe(
    endpoint: Endpoint,
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::Triton, body)?;
    let mut render = PromptRender::new(key);
    if let Some(text) = &request.text_input {
        text.render(&mut render);
    }
    let (own, within) = (&request, &request.parameters);
    let either = |own: Count, within: Count| own.0.or(within.0);
    let params = RequestParams {
        max_tokens: either(own.max_tokens, within.max_tokens),
        min_tokens: either(own.min_tokens, within.min_tokens),
        ignore_eos: own.ignore_eos.0 || within.ignore_eos.0,
        n: 1,
        stream: endpoint == Endpoint::TritonGenerateStream,
        greedy: greedy(
            own.temperature.or(within.temperature),
            own.top_p.or(within.top_p),
            own.top_k.or(within.top_k),
        ),
        ..RequestParams::default()
    };
    Ok(RequestSight::new(params, None, render))
}

/// Writes a draft as one text. The two backends want the same in two places.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let params = &draft.params;
    let mut altered = draft.lost_in_one_text();
    altered.extend(unsaid([
        (params.n > 1, "n"),
        (params.best_of.is_some(), "best_of"),
        (params.logprobs.is_some(), "logprobs"),
        (params.stop_count > 0, "stop"),
        (params.structured != Structured::None, "response_format"),
        (params.reasoning_effort.is_some(), "reasoning_effort"),
        (params.echo, "echo"),
        (params.token_ids, "token_ids"),
        (params.continues, "continues"),
    ]));
    let lengths = draft.lengths();
    let body = WireBody {
        text_input: draft.one_text(),
        max_tokens: lengths.max_tokens,
        min_length: lengths.min_tokens,
        stream: params.stream,
        parameters: WireParameters {
            max_tokens: lengths.max_tokens,
            min_tokens: lengths.min_tokens,
            ignore_eos: lengths.ignore_eos,
            temperature: draft.temperature(),
            stream: params.stream,
        },
    };
    let verb = match params.stream {
        true => "generate_stream",
        false => "generate",
    };
    let path = format!("/v2/models/{}/{verb}", path_segment(draft.model));
    WireRequest::json(path, &body, altered, draft.room())
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    text_input: Option<Prompt<'a>>,
    #[serde(default)]
    max_tokens: Count,
    #[serde(default)]
    min_tokens: Count,
    #[serde(default)]
    ignore_eos: Presence,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    top_k: Option<f64>,
    #[serde(default, deserialize_with = "null_is_empty")]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    max_tokens: Count,
    #[serde(default)]
    min_tokens: Count,
    #[serde(default)]
    ignore_eos: Presence,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    top_k: Option<f64>,
}

/// Answers.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        let event: Answer<'_> = tally.read(data)?;
        if event.error.0.is_some() {
            tally.fault(event.error);
            return None;
        }
        let said = event.text_output;
        if !said.anything {
            return None;
        }
        let carried = Carried::Answer;
        tally.token(at_us, carried);
        tally.said(said.bytes);
        said.plainly.map(|text| Plain {
            text,
            carried,
            repeatable: true,
        })
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        tally.fault(answer.error);
        tally.said(answer.text_output.bytes);
        tally.sight.ended = true;
    }

    /// These streams have no mark at their end but the end.
    fn finish(&self, tally: &mut Tally) {
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    text_output: Said<'a>,
    #[serde(borrow, default)]
    error: Fault<'a>,
}

#[derive(Serialize)]
struct WireBody<'a> {
    text_input: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    /// TensorRT-LLM's word for the fewest tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_length: Option<u32>,
    stream: bool,
    parameters: WireParameters,
}

#[derive(Serialize)]
struct WireParameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    stream: bool,
}

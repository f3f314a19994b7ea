//! Hugging Face's Text Generation Inference: `POST /generate`, `/generate_stream` and `/`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::draft::unsaid;
use super::json::{self, Count, Items, Presence, Said, Text};
use super::openai::{greedy, null_is_empty};
use super::openai_chat::MOST_STOPS;
use super::repeat::Plain;
use super::response::Reader;
use super::tally::{Carried, Tally};
use super::{Draft, RequestSight, Unparsable, WireRequest, schema};
use crate::anonymise::{ChainKey, PromptRender};
use crate::shape::{Dialect, Endpoint, FinishReason, RequestParams, Role, Structured};

/// Reads a request's body. A server has one model, which nobody names.
pub(super) fn observe(
    endpoint: Endpoint,
    body: &[u8],
    key: &ChainKey,
) -> Result<RequestSight, Unparsable> {
    let wrong = |refused| Unparsable::new(Dialect::Tgi, refused);
    // Other servers' bodies come here too, and a list's items would be taken for fields.
    if !is_object(body) {
        return Err(wrong(json::Refused::Malformed));
    }
    let request: Request<'_> = json::read(body).map_err(wrong)?;
    let mut render = PromptRender::new(key);
    render.message(Role::User);
    render.text(request.inputs.bytes());
    let parameters = &request.parameters;
    let stream = request.stream.0 || endpoint == Endpoint::TgiGenerateStream;
    Ok(RequestSight {
        model: None,
        prompt: render.finish(),
        params: RequestParams {
            stream,
            ..parameters.shape()
        },
    })
}

/// Writes a draft as one text.
pub(super) fn synthesise(draft: &Draft<'_>) -> WireRequest {
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
                let bytes = grammar.value.map_or(0, |value| value.get().len());
                let kind = match grammar.kind.as_ref().map(|kind| &*kind.0) {
                    Some("json" | "json_object" | "json_schema") => Structured::JsonSchema,
                    _ => Structured::Grammar,
                };
                (kind, u32::try_from(bytes).unwrap_or(u32::MAX))
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
            logprobs: self
                .top_n_tokens
                .0
                .map(|count| u8::try_from(count).unwrap_or(u8::MAX)),
            stop_count: u8::try_from(self.stop.0).unwrap_or(u8::MAX),
            ..RequestParams::default()
        }
    }
}

fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

/// Answers.
pub(super) struct Answers;

impl Reader for Answers {
    fn event<'a>(
        &self,
        at_us: u64,
        _name: &[u8],
        data: &'a [u8],
        tally: &mut Tally,
    ) -> Option<Plain<'a>> {
        let event: Answer<'_> = tally.read(data)?;
        // The token that ends an answer has been generated too.
        if event.token.0 {
            tally.token(at_us, Carried::Answer);
        }
        event.note(tally);
        tally.sight.ended |= event.generated_text.is_some();
        // Every event tells the number of its token, so none repeats the one before.
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        // `/` answers with a list of one.
        let answer = match is_object(body) {
            true => tally.read::<Answer<'_>>(body),
            false => tally.read::<[Answer<'_>; 1]>(body).map(|[answer]| answer),
        };
        let Some(answer) = answer else { return };
        answer.note(tally);
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    token: Presence,
    /// There, and perhaps empty, at the end alone.
    #[serde(borrow, default)]
    generated_text: Option<Said<'a>>,
    #[serde(borrow, default)]
    details: Option<Details<'a>>,
    #[serde(default)]
    error: Presence,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    generated_tokens: Count,
    #[serde(default)]
    input_length: Count,
    /// The prompt's tokens, where they were asked for.
    #[serde(default)]
    prefill: Items,
}

impl Answer<'_> {
    fn note(&self, tally: &mut Tally) {
        if self.error.0 {
            tally.error();
        }
        tally.said(self.generated_text.map_or(0, |text| text.bytes));
        let Some(details) = &self.details else { return };
        tally.output_tokens(details.generated_tokens);
        let prefill = Some(details.prefill.0).filter(|&tokens| tokens > 0);
        tally.prompt_tokens(Count(details.input_length.0.or(prefill)));
        if let Some(reason) = &details.finish_reason {
            tally.finish_reason(match &*reason.0 {
                "length" => FinishReason::Length,
                "eos_token" | "stop_sequence" => FinishReason::Stop,
                _ => FinishReason::Other,
            });
        }
    }
}

#[derive(Serialize)]
struct WireBody<'a> {
    inputs: Cow<'a, str>,
    parameters: WireParameters,
}

#[derive(Serialize)]
struct WireParameters {
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

//! OpenAI completions: `POST /v1/completions`.

use serde::Serialize;

use super::body;
use super::prompt::{Prompt, Prompts};
use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::draft::{Rare, unsaid};
use crate::dialect::json::{Refused, Text};
use crate::dialect::openai::body::{OwnFields, once};
use crate::dialect::openai::wire::{WireAnswers, WireFormat};
use crate::dialect::words::MOST_STOPS;
use crate::dialect::{Draft, RequestSight, Unparsable, WireRequest};
use crate::shape::{Dialect, RequestParams};

use serde::de::MapAccess;

/// Reads a request's body. Each prompt of a batch is a message of its own; token ids count as four bytes each.
pub(in crate::dialect) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let wrong = |refused| Unparsable::new(Dialect::OpenAiCompletions, refused);
    let (request, parameters) = body::read::<Request<'_>>(body).map_err(wrong)?;
    let prompt = request.prompt.ok_or(wrong(Refused::Malformed))?;
    let mut render = PromptRender::new(key);
    prompt.render(&mut render);
    if let Some(suffix) = request.suffix.flatten() {
        render.text(suffix.bytes());
    }
    let params = RequestParams {
        token_ids: prompt.is_ids(),
        ..parameters.shape()
    };
    Ok(RequestSight::new(params, request.model.flatten(), render))
}

/// Writes a draft as a request: every message of a batch is a prompt of its own, a conversation is one.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>, rare: &mut Rare<'_>) -> WireRequest {
    let params = &draft.params;
    let mut altered = unsaid([
        (params.stream && !params.include_usage, "include_usage"),
        (params.token_ids && draft.ids.is_none(), "token_ids"),
        (!draft.tools.is_empty(), "tools"),
        (!draft.media.is_empty(), "media"),
        (!draft.batch && draft.messages.len() > 1, "roles"),
        (params.reasoning_effort.is_some(), "reasoning_effort"),
        (params.continues, "continues"),
    ]);
    let body = WireBody {
        model: draft.model,
        prompt: Prompts::of(draft),
        answers: WireAnswers::of(draft, rare),
        best_of: params.best_of,
        temperature: draft.temperature(),
        logprobs: params.logprobs,
        stop: draft.stops(MOST_STOPS, &mut altered),
        echo: params.echo.then_some(true),
        response_format: WireFormat::of(draft, &mut altered),
    };
    WireRequest::json("/v1/completions", &body, altered, draft.room())
}

#[derive(Default)]
struct Request<'a> {
    model: Option<Option<Text<'a>>>,
    prompt: Option<Prompt<'a>>,
    suffix: Option<Option<Text<'a>>>,
}

impl<'a> OwnFields<'a> for Request<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "model" => once(&mut self.model, map),
            "prompt" => once(&mut self.prompt, map),
            "suffix" => once(&mut self.suffix, map),
            _ => Ok(false),
        }
    }
}

#[derive(Serialize)]
struct WireBody<'a> {
    model: &'a str,
    prompt: Prompts<'a>,
    #[serde(flatten)]
    answers: WireAnswers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_of: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WireFormat>,
}

//! OpenAI embeddings: `POST /v1/embeddings`. The answer is vectors, of which nothing is read but how many tokens they cost.

use serde::{Deserialize, Serialize};

use super::chat::Message;
use super::prompt::{Prompt, Prompts};
use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::answer::{Plain, Reader, Tally};
use crate::dialect::draft::Rare;
use crate::dialect::json::{Count, Fault, List, Text};
use crate::dialect::{Draft, RequestSight, Unparsable, WireRequest, json};
use crate::shape::{Dialect, RequestParams, VectorEncoding};

/// Reads a request's body. Each text of a batch is a message of its own; vLLM takes a conversation too.
pub(in crate::dialect) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let request: Request<'_> = json::read_as(Dialect::OpenAiEmbeddings, body)?;
    let mut render = PromptRender::new(key);
    match (&request.input, &request.messages) {
        (Some(input), _) => input.render(&mut render),
        (None, Some(messages)) => {
            for message in messages.iter() {
                message.render(&mut render);
            }
        }
        (None, None) => return Err(Unparsable::Body(Dialect::OpenAiEmbeddings)),
    }
    let params = RequestParams {
        n: 1,
        token_ids: request.input.as_ref().is_some_and(Prompt::is_ids),
        dimensions: request.dimensions.0,
        encoding_format: request
            .encoding_format
            .as_ref()
            .map_or(VectorEncoding::Unsaid, |word| encoding(&word.0)),
        ..RequestParams::default()
    };
    Ok(RequestSight::new(params, request.model, render))
}

/// Writes a draft as a request: every message is a text of its own.
pub(in crate::dialect) fn synthesise(draft: &Draft<'_>, rare: &mut Rare<'_>) -> WireRequest {
    let mut altered = Vec::new();
    if draft.params.token_ids && draft.ids.is_none() {
        altered.push("token_ids");
    }
    let body = WireBody {
        model: draft.model,
        input: Prompts::of(draft),
        dimensions: rare.dimensions.take(),
        encoding_format: take_encoding(&mut rare.encoding_format),
    };
    WireRequest::json("/v1/embeddings", &body, altered, draft.room())
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    input: Option<Prompt<'a>>,
    #[serde(borrow, default)]
    messages: Option<List<Message<'a>>>,
    #[serde(default)]
    dimensions: Count,
    #[serde(borrow, default)]
    encoding_format: Option<Text<'a>>,
}

fn encoding(word: &str) -> VectorEncoding {
    match word {
        "float" => VectorEncoding::Float,
        "base64" => VectorEncoding::Base64,
        _ => VectorEncoding::Other,
    }
}

fn take_encoding(encoding: &mut VectorEncoding) -> Option<&'static str> {
    let name = match encoding {
        VectorEncoding::Float => "float",
        VectorEncoding::Base64 => "base64",
        // Which it was nobody kept.
        VectorEncoding::Unsaid | VectorEncoding::Other => return None,
    };
    *encoding = VectorEncoding::Unsaid;
    Some(name)
}

#[derive(Serialize)]
struct WireBody<'a> {
    model: &'a str,
    input: Prompts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
}

/// Answers.
pub(in crate::dialect) struct Answers;

impl Reader for Answers {
    fn event<'a>(&self, _: u64, _: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>> {
        // Nobody streams vectors.
        tally.sight.unparsable = true;
        None
    }

    fn body(&self, body: &[u8], tally: &mut Tally) {
        let Some(answer) = tally.read::<Answer<'_>>(body) else {
            return;
        };
        tally.fault(answer.error);
        tally.prompt_tokens(answer.usage.unwrap_or_default().prompt_tokens);
        tally.sight.ended = true;
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(borrow, default)]
    error: Fault<'a>,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Count,
}

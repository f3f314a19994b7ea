//! OpenAI completions: `POST /v1/completions`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::draft::{Ban, join, unsaid};
use super::json::{self, Refused, Text};
use super::openai::WireFormat;
use super::openai_body::{self, OwnFields, once};
use super::openai_chat::{IncludeUsage, MOST_STOPS};
use super::{Draft, RequestSight, Unparsable, WireRequest};
use crate::anonymise::{ChainKey, Private, PromptRender};
use crate::shape::{Dialect, RequestParams, Role};

/// Reads a request's body. Each prompt of a batch is a message of its own; token ids count as four bytes each.
pub(super) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let wrong = |refused| Unparsable::new(Dialect::OpenAiCompletions, refused);
    let (request, parameters) = openai_body::read::<Request<'_>>(body).map_err(wrong)?;
    let prompt = request.prompt.ok_or(wrong(Refused::Malformed))?;
    let mut render = PromptRender::new(key);
    prompt.render(&mut render);
    if let Some(suffix) = request.suffix.flatten() {
        render.text(suffix.bytes());
    }
    let token_ids = prompt.is_ids();
    Ok(RequestSight {
        model: request.model.flatten().map(|model| Private::new(model.0)),
        prompt: render.finish(),
        params: RequestParams {
            token_ids,
            ..parameters.shape()
        },
    })
}

/// Writes a draft as a request: every message of a batch is a prompt of its own, a conversation is one.
pub(super) fn synthesise(draft: &Draft<'_>) -> WireRequest {
    let lengths = draft.lengths();
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
        stream: params.stream,
        stream_options: params.stream.then_some(IncludeUsage {
            include_usage: true,
        }),
        max_tokens: lengths.max_tokens,
        min_tokens: lengths.min_tokens,
        ignore_eos: lengths.ignore_eos,
        logit_bias: lengths.logit_bias,
        n: (params.n > 1).then_some(params.n),
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

/// A string, strings, token ids, or lists of token ids.
#[derive(Default)]
pub(super) struct Prompt<'a> {
    texts: Vec<Text<'a>>,
    ids: Vec<Vec<u32>>,
}

impl Prompt<'_> {
    /// Each a message of its own.
    pub(super) fn render(&self, render: &mut PromptRender) {
        for text in &self.texts {
            render.message(Role::User);
            render.text(text.bytes());
        }
        for ids in &self.ids {
            render.message(Role::User);
            ids.iter().for_each(|id| render.text(&id.to_le_bytes()));
        }
    }

    /// Whether it came as token ids.
    pub(super) fn is_ids(&self) -> bool {
        !self.ids.is_empty()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Prompt<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Prompt<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of strings, token ids, or lists of token ids")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Prompt {
                    texts: vec![Text(text.into())],
                    ids: Vec::new(),
                })
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Prompt {
                    texts: vec![Text(text.to_owned().into())],
                    ids: Vec::new(),
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut prompt = Prompt::default();
                let mut flat: Option<Vec<u32>> = None;
                while let Some(item) = items.next_element::<Item<'de>>()? {
                    match item {
                        // Ids take no more memory than their digits did.
                        Item::Id(id) => flat.get_or_insert_with(Vec::new).push(id),
                        Item::Text(text) => {
                            json::take_room()?;
                            prompt.texts.push(text);
                        }
                        Item::Ids(ids) => {
                            json::take_room()?;
                            prompt.ids.push(ids);
                        }
                    }
                }
                prompt.ids.extend(flat);
                Ok(prompt)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

enum Item<'a> {
    Text(Text<'a>),
    Id(u32),
    Ids(Vec<u32>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Item<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token id, or a list of token ids")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Item::Text(Text(text.into())))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Item::Text(Text(text.to_owned().into())))
            }

            fn visit_u64<E>(self, id: u64) -> Result<Self::Value, E> {
                Ok(Item::Id(u32::try_from(id).unwrap_or(u32::MAX)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = items.next_element()? {
                    ids.push(id);
                }
                Ok(Item::Ids(ids))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[derive(Serialize)]
struct WireBody<'a> {
    model: &'a str,
    prompt: Prompts<'a>,
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

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Prompts<'a> {
    One(Cow<'a, str>),
    Many(Vec<&'a str>),
    Ids(&'a [u32]),
    ManyIds(&'a [Vec<u32>]),
}

impl<'a> Prompts<'a> {
    pub(super) fn of(draft: &Draft<'a>) -> Self {
        match (draft.ids, draft.messages) {
            (Some([ids]), _) => Self::Ids(ids),
            (Some(many), _) => Self::ManyIds(many),
            (None, many @ [_, _, ..]) if draft.batch => {
                Self::Many(many.iter().map(|(_, text)| text.as_str()).collect())
            }
            (None, messages) => Self::One(join(messages)),
        }
    }
}

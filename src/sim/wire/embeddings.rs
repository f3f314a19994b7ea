//! OpenAI embeddings. What they cost the engine is their prompts: each is computed to the first token, which nobody sees.

use serde_json::{Value, json};

use super::openai::{error, texts, understood};
use super::{Api, Problem, Reply, Understood, model};
use crate::sim::Config;
use crate::sim::answer::{Form, LengthAsk};
use crate::sim::noise::{mix, unit};

/// `POST /v1/embeddings`
pub(in crate::sim) struct Embeddings;

impl Api for Embeddings {
    fn understand(&self, config: &Config, body: &Value) -> Result<Understood, Problem> {
        let model = model(config, body)?;
        let prompts = texts(body, "input", config.longest_sequence())?;
        let ask = LengthAsk {
            max_tokens: Some(1),
            ..LengthAsk::default()
        };
        let form = Form::Text;
        let understood = understood(&Self, config, body, model, prompts, ask, form, None)?;
        Ok(Understood {
            stream: false,
            ..understood
        })
    }

    fn whole(&self, reply: &Reply) -> Value {
        let data: Vec<Value> = (0_u64..)
            .zip(&reply.answers)
            .map(|(index, _)| {
                let place = |at: u64| unit(mix(mix(reply.id, index), at));
                let embedding: Vec<f64> = (0..DIMENSIONS).map(place).collect();
                json!({"object": "embedding", "index": index, "embedding": embedding})
            })
            .collect();
        json!({"object": "list", "data": data, "model": reply.model,
            "usage": {"prompt_tokens": reply.prompt_tokens, "total_tokens": reply.prompt_tokens}})
    }

    fn begin(&self, _: &Reply, _: &mut Vec<String>) {}

    fn token(&self, _: &Reply, _: u32, _: u32, _: &mut Vec<String>) {}

    fn end(&self, _: &Reply, _: &mut Vec<String>) {}

    fn error(&self, problem: &Problem) -> Value {
        error(problem)
    }
}

const DIMENSIONS: u64 = 8;

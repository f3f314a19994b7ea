//! The bodies of the APIs that the simulated server speaks.

mod anthropic;
mod embeddings;
mod openai;
mod prompt;

use serde_json::Value;

use super::Config;
use super::answer::{Answer, Form, LengthAsk};
use super::engine::{Prompt, Refusal, Submission};
use super::template::PromptTokens;

pub(super) use anthropic::Messages;
pub(super) use embeddings::Embeddings;
pub(super) use openai::{Chat, Completions, models, tokenize};

/// A request that has been understood, and how to answer it.
pub(super) struct Understood {
    pub(super) submission: Submission,
    pub(super) reply: Reply,
    pub(super) stream: bool,
}

/// What every reply needs to know.
pub(super) struct Reply {
    pub(super) api: &'static dyn Api,
    pub(super) model: String,
    /// A hash of the prompt: ids are the same for the same request.
    pub(super) id: u64,
    pub(super) answers: Vec<Answer>,
    pub(super) prompt_tokens: u64,
    pub(super) cached_tokens: u32,
    /// Name of the tool that is called, where one is.
    pub(super) tool: Option<String>,
    pub(super) include_usage: bool,
}

impl Reply {
    pub(super) fn output_tokens(&self) -> u64 {
        self.answers
            .iter()
            .map(|answer| u64::from(answer.tokens()))
            .sum()
    }

    /// Whether token `ordinal` is the last of `choice`.
    pub(super) fn is_last(&self, choice: u32, ordinal: u32) -> bool {
        self.answer(choice)
            .is_some_and(|answer| ordinal + 1 == answer.tokens())
    }

    pub(super) fn answer(&self, choice: u32) -> Option<&Answer> {
        self.answers.get(choice as usize)
    }
}

/// One API: how its requests are read and its answers written.
pub(super) trait Api: Sync {
    /// Reads a request.
    fn understand(&self, config: &Config, body: &Value) -> Result<Understood, Problem>;

    /// The whole answer.
    fn whole(&self, reply: &Reply) -> Value;

    /// The events of a stream's beginning, of each token, and of its end; each a complete SSE event.
    fn begin(&self, reply: &Reply, events: &mut Vec<String>);
    /// See [`Api::begin`].
    fn token(&self, reply: &Reply, choice: u32, ordinal: u32, events: &mut Vec<String>);
    /// See [`Api::begin`].
    fn end(&self, reply: &Reply, events: &mut Vec<String>);

    /// An error's body.
    fn error(&self, problem: &Problem) -> Value;

    /// What stands in the place of the rest of a stream that breaks off, as vLLM has it.
    fn broken(&self, problem: &Problem, events: &mut Vec<String>) {
        events.push(event(None, &self.error(problem)));
        events.push("data: [DONE]\n\n".to_owned());
    }
}

/// Why a request is refused.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
        }
    }

    pub(super) fn of(refusal: Refusal, config: &Config) -> Self {
        let status = if matches!(refusal, Refusal::QueueFull) {
            config.reject_status
        } else {
            400
        };
        Self {
            status,
            message: refusal.to_string(),
        }
    }
}

/// Plans the answers to prompts that have been put together.
fn plan(
    config: &Config,
    prompts: Vec<PromptTokens>,
    choices: u32,
    ask: LengthAsk,
    form: Form,
) -> Result<(Submission, u64), Problem> {
    let mut ready = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let count = prompt.count();
        super::engine::check_fit(config, count, ask)
            .map_err(|refusal| Problem::of(refusal, config))?;
        let ids = prompt
            .into_ids()
            .ok_or_else(|| Problem::bad("the prompt is too long"))?;
        ready.push(Prompt::new(ids, config.block_tokens));
    }
    let id = ready
        .iter()
        .fold(0, |id, prompt| super::noise::mix(id, prompt.hash()));
    let submission = Submission::plan(config, &ready, choices, ask, form)
        .map_err(|refusal| Problem::of(refusal, config))?;
    Ok((submission, id))
}

fn model(config: &Config, body: &Value) -> Result<String, Problem> {
    let asked = match body.get("model") {
        Some(Value::String(name)) => name.clone(),
        None | Some(Value::Null) => config.model.clone(),
        Some(_) => return Err(Problem::bad("model must be a string")),
    };
    if config.strict_model && asked != config.model {
        return Err(Problem {
            status: 404,
            message: "The model does not exist.".to_owned(),
        });
    }
    Ok(asked)
}

/// A count of at least `least`, where there is one.
fn number(body: &Value, key: &str, least: u64) -> Result<Option<u32>, Problem> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if number >= least => Ok(Some(u32::try_from(number).unwrap_or(u32::MAX))),
            _ => Err(Problem::bad(format!(
                "{key} must be a whole number of at least {least}"
            ))),
        },
    }
}

fn flag(body: &Value, key: &str) -> bool {
    body.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn length_ask(body: &Value, max_tokens: Option<u32>) -> Result<LengthAsk, Problem> {
    Ok(LengthAsk {
        max_tokens,
        min_tokens: number(body, "min_tokens", 0)?.unwrap_or(0),
        ignore_eos: flag(body, "ignore_eos"),
    })
}

fn event(name: Option<&str>, data: &Value) -> String {
    match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    }
}

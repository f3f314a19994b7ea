//! Fixed questions with greedy decoding, asked one after another: what a deterministic server answers the same each time.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::calibrate::{Problem, streaming};
use super::client::{Connector, Envelope, Lane, Pool, Sharing, exchange};
use super::pace::RunClock;
use super::synthesise::Prepared;
use super::{
    Calibration, RecordedTimes, RequestOutcome, SendResult, Stop, Target, TargetError, Turn,
};
use crate::dialect::{AnswerText, Draft, Forcing, OutputLength, WireRequest, synthesise};
use crate::shape::{Endpoint, GapSketch, RequestParams, Role, ToolsShape};

/// How to ask.
#[derive(Debug, Clone, Copy)]
pub struct AskOptions {
    /// Each answer has at most so many tokens.
    pub answer_tokens: u32,
    /// An answer that brings nothing for so long has failed, and so has a connection that takes as long.
    pub silence: Duration,
    /// All of it takes at most this long.
    pub patience: Duration,
}

/// A question's answer.
#[derive(Debug)]
pub struct Asked {
    /// What became of the request.
    pub outcome: RequestOutcome,
    /// What was answered; `None` where nothing was, or nothing that reads as text.
    pub text: Option<AnswerText>,
}

/// Asks each of `questions` in turn, and gives back as many answers as there were before the time was over or `stop` was asked. Blocks.
/// Goes to the first endpoint of the calibration that generates, a conversation's where there is one; temperature 0, and `top_k` 1 and a
/// seed where the API has them and the target takes them.
///
/// # Errors
/// When this machine lacks what a connection needs, or the plan has no endpoint that generates.
pub fn ask_greedily<'a>(
    target: &Target,
    calibration: &Calibration,
    questions: impl Iterator<Item = &'a str>,
    options: AskOptions,
    stop: &Stop,
) -> Result<Vec<Asked>, TargetError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| TargetError::new(target, Problem::Runtime(error)))?;
    let connector = Connector::new(target, options.silence)
        .map_err(|error| TargetError::unreachable(target, &error))?;
    let mut asker = Asker {
        lane: Lane {
            pool: Arc::new(Pool::new(connector, Sharing::Free)),
            slow: None,
            clock: RunClock::starting_at(Instant::now()),
            idle: options.silence,
        },
        envelope: Envelope::for_probes(target),
        model: &calibration.model,
        endpoint: endpoint(calibration),
        answer_tokens: options.answer_tokens,
        sent: 0,
        plain: false,
    };
    let mut answers = Vec::new();
    runtime.block_on(async {
        let all = async {
            for question in questions {
                answers.push(asker.ask(question).await);
            }
        };
        tokio::select! {
            // What was answered until then counts.
            _ = tokio::time::timeout(options.patience, all) => {}
            () = stop.requested() => {}
        }
    });
    Ok(answers)
}

/// Where the questions go: what the plan's own requests use, so that the target is known to have it.
fn endpoint(calibration: &Calibration) -> Endpoint {
    let known = calibration.endpoints.iter();
    let mut known: Vec<Endpoint> = known
        .filter(|(recorded, _)| recorded.generates())
        .map(|(&recorded, found)| streaming(found.endpoint(recorded, false), false))
        .collect();
    // A model that was taught to converse is asked in a conversation.
    known.sort_by_key(|endpoint| !endpoint.has_roles());
    known.first().copied().unwrap_or(Endpoint::ChatCompletions)
}

struct Asker<'a> {
    lane: Lane,
    envelope: Envelope,
    model: &'a str,
    endpoint: Endpoint,
    answer_tokens: u32,
    sent: u64,
    /// The target refuses `top_k` or a seed, so temperature 0 has to do.
    plain: bool,
}

impl Asker<'_> {
    async fn ask(&mut self, question: &str) -> Asked {
        let asked = self.send(question).await;
        let refused = matches!(asked.outcome.status, Some(400 | 422));
        if self.plain || !refused || greedy_fields(self.endpoint).is_empty() {
            return asked;
        }
        self.plain = true;
        self.send(question).await
    }

    async fn send(&mut self, question: &str) -> Asked {
        let params = RequestParams {
            n: 1,
            greedy: Some(true),
            ..RequestParams::default()
        };
        let wire = synthesise(&Draft {
            endpoint: self.endpoint,
            model: self.model,
            messages: &[(Role::User, question.to_owned())],
            batch: false,
            ids: None,
            media: &[],
            tools: ToolsShape::default(),
            cache_marks: &[],
            adapter: None,
            params,
            output: OutputLength::Cap(self.answer_tokens),
            forcing: Forcing::None,
        });
        let wire = if self.plain {
            wire
        } else {
            with_fields(wire, greedy_fields(self.endpoint))
        };
        let text: Arc<OnceLock<AnswerText>> = Arc::default();
        let prepared = Prepared {
            index: self.sent,
            planned_us: 0,
            intended_us: self.lane.clock.now_us(),
            turn: Turn::default(),
            recorded: RecordedTimes::default(),
            recorded_gaps: GapSketch::default(),
            endpoint: self.endpoint,
            stream: false,
            request: self.envelope.post(self.endpoint, wire),
            gaps: None,
            answer: Some(Arc::clone(&text)),
            cancel: None,
            new_connection: None,
            reader_bytes_per_s: None,
            recorded_prompt_tokens: None,
            recorded_output_tokens: None,
            wanted_prompt_tokens: None,
            wanted_output_tokens: None,
            planned_shared_tokens: 0,
        };
        self.sent += 1;
        let outcome = exchange(&self.lane, Box::new(prepared)).await;
        let text = text.get().cloned();
        Asked {
            // Half an answer is not the answer.
            text: text.filter(|_| outcome.result == SendResult::Ok),
            outcome,
        }
    }
}

/// What leaves a server no choice beside temperature 0, where its API has a name for it.
fn greedy_fields(endpoint: Endpoint) -> &'static [(&'static str, u64)] {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::Completions => &[("top_k", 1), ("seed", 0)],
        Endpoint::Messages => &[("top_k", 1)],
        _ => &[],
    }
}

fn with_fields(wire: WireRequest, fields: &[(&str, u64)]) -> WireRequest {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(&wire.body) else {
        return wire;
    };
    for &(name, value) in fields {
        body.insert(name.to_owned(), value.into());
    }
    WireRequest {
        body: Value::Object(body).to_string().into_bytes(),
        ..wire
    }
}

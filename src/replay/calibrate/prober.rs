use std::sync::Arc;
use std::time::Instant;

use super::endpoint::streaming;
use super::error::{Problem, TargetError};
use super::ready::Patience;
use super::{CalibrateOptions, Forced};
use crate::dialect::{Draft, DraftMedia, OutputLength, synthesise};
use crate::replay::client::{
    ConnectError, Connection, Connector, Envelope, Lane, Pool, Sharing, exchange, fetch,
};
use crate::replay::pace::RunClock;
use crate::replay::prompt::{Cache, IdTable, MediaShape, Salt, Studio, Words, plain_words};
use crate::replay::synthesise::Prepared;
use crate::replay::target::Target;
use crate::replay::{FailureKind, RecordedTimes, RequestOutcome, SendResult, Turn};
use crate::shape::{Endpoint, GapSketch, RequestParams, Role, ToolsShape};

/// Sends probes, one after another.
pub(super) struct Prober<'a> {
    target: &'a Target,
    options: &'a CalibrateOptions,
    patience: Patience<'a>,
    lane: Lane,
    envelope: Envelope,
    pub(super) model: String,
    pub(super) sent: u32,
    pub(super) simulated: bool,
    pub(super) connect_us: u64,
    /// What prompts are made of: fewer, once the target has been asked about them.
    pub(super) words: Arc<Words>,
    studio: Studio,
    has_tokenize: bool,
}

/// A prompt of so many words in each message, and what else goes with it.
#[derive(Clone)]
pub(super) struct Question {
    /// The endpoint whose requests it stands for.
    pub(super) recorded: Endpoint,
    /// Where it goes.
    pub(super) endpoint: Endpoint,
    pub(super) messages: Vec<(Role, u64)>,
    /// The first message's words, where they are not drawn.
    pub(super) text: Option<String>,
    pub(super) as_ids: bool,
    pub(super) tools: ToolsShape,
    /// A picture or a clip of the first message.
    pub(super) media: Option<MediaShape>,
    pub(super) output: OutputLength,
    pub(super) forced: Forced,
}

impl Question {
    /// A plain one, for one token.
    pub(super) fn new(recorded: Endpoint, endpoint: Endpoint, messages: &[(Role, u64)]) -> Self {
        Self {
            recorded,
            endpoint,
            messages: messages.to_vec(),
            text: None,
            as_ids: false,
            tools: ToolsShape::default(),
            media: None,
            output: OutputLength::Cap(1),
            forced: Forced::No,
        }
    }
}

/// What the target told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer {
    pub(super) prompt_tokens: Option<u32>,
    pub(super) output_tokens: Option<u32>,
}

impl<'a> Prober<'a> {
    pub(super) async fn new(
        target: &'a Target,
        options: &'a CalibrateOptions,
        mut patience: Patience<'a>,
    ) -> Result<Self, TargetError> {
        let (connector, clock, connection) = loop {
            let began = Instant::now();
            let error = match Self::connect(target, options).await {
                Ok(connected) => break connected,
                Err(error) => TargetError::unreachable(target, &error),
            };
            if !patience.outlasts(&error, began).await {
                return Err(error);
            }
        };
        let connect_us = clock.now_us();
        let pool = Arc::new(Pool::new(connector, Sharing::Free));
        pool.put(connection);
        Ok(Self {
            target,
            options,
            patience,
            lane: Lane {
                pool,
                slow: None,
                clock,
                idle: options.probe_timeout,
            },
            envelope: Envelope::for_probes(target),
            model: String::new(),
            sent: 0,
            simulated: false,
            connect_us,
            words: Arc::clone(&options.prompts.words),
            studio: Studio::default(),
            has_tokenize: true,
        })
    }

    /// Opens the first connection; the clock starts with it.
    async fn connect(
        target: &Target,
        options: &CalibrateOptions,
    ) -> Result<(Connector, RunClock, Connection), ConnectError> {
        let connector = Connector::new(target, options.connect_timeout)?;
        let clock = RunClock::starting_at(Instant::now());
        let connection = connector.connect().await?;
        Ok((connector, clock, connection))
    }

    /// The first model that the target names.
    pub(super) async fn first_model(&mut self) -> Result<String, TargetError> {
        loop {
            let began = Instant::now();
            match self.named_model().await {
                Err(error) if self.patience.outlasts(&error, began).await => {}
                other => return other,
            }
        }
    }

    async fn named_model(&mut self) -> Result<String, TargetError> {
        let path = Endpoint::Models.path();
        let answer = fetch(&self.lane, self.envelope.get(Endpoint::Models))
            .await
            .map_err(|kind| self.failed(path, kind))?;
        if answer.status != 200 {
            let problem = match answer.status {
                404 | 405 | 501 => Problem::NoModel,
                status => Problem::Refused { path, status },
            };
            return Err(TargetError::new(self.target, problem));
        }
        self.simulated |= answer.simulated;
        serde_json::from_slice::<serde_json::Value>(&answer.body)
            .ok()
            .and_then(|body| Some(body.get("data")?.get(0)?.get("id")?.as_str()?.to_owned()))
            .ok_or_else(|| TargetError::new(self.target, Problem::NoModel))
    }

    /// Asks; a refusal is an error.
    pub(super) async fn must(&mut self, question: &Question) -> Result<Answer, TargetError> {
        let outcome = self.ask(question).await;
        match self.problem(question, &outcome) {
            None => Ok(answer(&outcome)),
            Some(error) => Err(error),
        }
    }

    /// Asks; a refusal is an answer that tells nothing.
    pub(super) async fn may(&mut self, question: &Question) -> Result<Answer, TargetError> {
        Ok(self.ask_whether(question).await?.unwrap_or_default())
    }

    /// Asks; `None` for a refusal.
    pub(super) async fn ask_whether(
        &mut self,
        question: &Question,
    ) -> Result<Option<Answer>, TargetError> {
        let outcome = self.ask(question).await;
        match outcome.result {
            SendResult::Ok => Ok(Some(answer(&outcome))),
            _ if outcome.status.is_some() => Ok(None),
            SendResult::Failed(kind) => Err(self.failed(question.endpoint.path(), kind)),
            SendResult::Cancelled => Ok(None),
        }
    }

    /// Tokens of a text by vLLM's `/tokenize`; `None` where the target has none.
    pub(super) async fn tokenize(&mut self, text: &str) -> Option<u32> {
        if !self.has_tokenize {
            return None;
        }
        let body =
            serde_json::json!({"model": self.model, "prompt": text, "add_special_tokens": false});
        let request = self.envelope.ask(Endpoint::Tokenize, body.to_string());
        // A target without it may answer in any way, or break the connection.
        let answer = fetch(&self.lane, request).await.ok();
        let count = answer
            .filter(|answer| answer.status == 200)
            .and_then(|answer| serde_json::from_slice::<Tokenized>(&answer.body).ok());
        self.has_tokenize &= count.is_some();
        count.map(|told| told.count)
    }

    /// Asks; again where the target is not ready, as long as there is patience.
    async fn ask(&mut self, question: &Question) -> RequestOutcome {
        loop {
            let began = Instant::now();
            let outcome = self.send(question).await;
            match self.problem(question, &outcome) {
                Some(error) if self.patience.outlasts(&error, began).await => {}
                _ => return outcome,
            }
        }
    }

    /// What is wrong with an answer.
    fn problem(&self, question: &Question, outcome: &RequestOutcome) -> Option<TargetError> {
        let path = question.endpoint.path();
        Some(match (outcome.result, outcome.status) {
            (SendResult::Ok, _) => return None,
            (SendResult::Failed(FailureKind::Truncated), Some(200)) => {
                TargetError::new(self.target, Problem::Foreign { path })
            }
            (_, Some(status)) if status != 200 => {
                TargetError::new(self.target, Problem::Refused { path, status })
            }
            (SendResult::Failed(kind), _) => self.failed(path, kind),
            (SendResult::Cancelled, _) => self.failed(path, FailureKind::Reset),
        })
    }

    async fn send(&mut self, question: &Question) -> RequestOutcome {
        let salt = Salt::new(self.options.seed, Cache::Fresh, PROBES);
        let mut messages: Vec<(Role, String)> = question
            .messages
            .iter()
            .zip(0_u64..)
            .map(|(&(role, words), part)| {
                let index = u64::from(self.sent) * 16 + part;
                (role, plain_words(salt, index, words, &self.words))
            })
            .collect();
        if let (Some(text), Some((_, first))) = (&question.text, messages.first_mut()) {
            first.clone_from(text);
        }
        let ids = question.as_ids.then(|| {
            let table = IdTable::new(&self.words, self.options.prompts.tokenizer.as_ref());
            let texts = messages.iter().map(|(_, text)| table.ids(text));
            texts.collect::<Vec<_>>()
        });
        let media: Vec<DraftMedia> = question
            .media
            .and_then(|shape| self.studio.make_shape(0, shape, u64::from(self.sent)))
            .into_iter()
            .collect();
        let params = RequestParams {
            n: 1,
            token_ids: question.as_ids,
            stream: question.endpoint != streaming(question.endpoint, false),
            ..RequestParams::default()
        };
        let wire = synthesise(&Draft {
            endpoint: question.endpoint,
            model: &self.model,
            messages: &messages,
            batch: !question.recorded.has_roles(),
            ids: ids.as_deref(),
            media: &media,
            tools: question.tools,
            cache_marks: &[],
            adapter: None,
            params,
            output: question.output,
            forcing: question.forced.by(),
        });
        let request = self.envelope.post(question.endpoint, wire);
        let outcome = exchange(
            &self.lane,
            Box::new(Prepared {
                index: u64::from(self.sent),
                planned_us: 0,
                intended_us: self.lane.clock.now_us(),
                turn: Turn::default(),
                recorded: RecordedTimes::default(),
                recorded_gaps: GapSketch::default(),
                endpoint: question.endpoint,
                stream: params.stream,
                request,
                gaps: None,
                answer: None,
                cancel: None,
                new_connection: None,
                reader_bytes_per_s: None,
                recorded_prompt_tokens: None,
                recorded_output_tokens: None,
                wanted_prompt_tokens: None,
                wanted_output_tokens: None,
                planned_shared_tokens: 0,
            }),
        )
        .await;
        self.sent += 1;
        self.simulated |= outcome.simulated;
        outcome
    }

    fn failed(&self, path: &'static str, kind: FailureKind) -> TargetError {
        let problem = match kind {
            FailureKind::Timeout => Problem::Silent {
                path,
                after: self.options.probe_timeout,
            },
            FailureKind::NotHttp => Problem::NotHttp,
            FailureKind::Connect => Problem::Absent("no further connection".to_owned()),
            FailureKind::Tls => Problem::Unreachable("no further connection".to_owned()),
            _ => Problem::Reset(path),
        };
        TargetError::new(self.target, problem)
    }
}

/// The run number of probes, which no run of a replay has.
const PROBES: u64 = u64::MAX - 1;

fn answer(outcome: &RequestOutcome) -> Answer {
    Answer {
        prompt_tokens: outcome.prompt_tokens,
        output_tokens: outcome.output_tokens,
    }
}

/// What `/tokenize` answers; the ids are of no use here.
#[derive(serde::Deserialize)]
struct Tokenized {
    count: u32,
}

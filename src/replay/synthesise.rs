use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::dialect::{AnswerText, Draft, DraftMedia, OutputLength, synthesise};
use crate::shape::{
    BlockSpec, Endpoint, Exchange, GapSketch, Outcome, RequestParams, Role, ShapeStatus,
};

use super::calibrate::Calibration;
use super::client::{Envelope, Message};
use super::conversation::{Gaps, Repeated};
use super::outcome::RecordedTimes;
use super::plan::{PlannedRequest, Turn};
use super::prompt::{Counts, PromptAs, PromptOptions, Prompter, Salt, Studio, times};

/// How the recorded answers' lengths are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthPolicy {
    /// Exactly as long, where the target can be forced; else at most as long.
    #[default]
    Exact,
    /// At most as long.
    Cap,
    /// As the recorded request said.
    Free,
}

/// Where a replayed request differs from the recorded one beyond its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Alteration {
    /// `stream_options.include_usage` was set, so that the target tells its token counts.
    UsageAsked,
    /// Video or documents were left out, or more pictures than a replay makes.
    MediaLeftOut,
    /// Pictures or sound whose size the trace does not tell were sent at an everyday one.
    MediaAssumed,
    /// Requests went to another endpoint than the recorded one.
    OtherEndpoint,
    /// A prompt of token ids was sent as words.
    TokenIdsAsWords,
    /// The answer's length was not recorded (the exchange failed, or was cancelled), so one was assumed.
    LengthAssumed,
    /// The recorded answer was empty; one token was asked for.
    EmptyAnswer,
    /// The target cannot be forced to a length; the answer was only capped.
    LengthCapped,
    /// Several answers to one prompt were asked for, all of the same length.
    AnswersAlike,
    /// The body was not readable when it was recorded; a prompt of its size was sent.
    ShapeUnknown,
    /// The prompt was larger than a replay writes, and was cut.
    PromptCut,
    /// Answers to earlier turns stand in the prompt as this target gave them.
    LiveHistory,
    /// Such an answer was not to be had (it failed, was no text, came too late, or was let go), and was made up.
    HistoryMadeUp,
    /// A field of the request that the target's dialect cannot carry, or that a replay does not.
    Field(&'static str),
}

impl Alteration {
    /// For reports.
    pub fn describe(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Field(field) => return format!("{field} was not sent as recorded").into(),
            Self::UsageAsked => "stream_options.include_usage was set to learn token counts",
            Self::MediaLeftOut => {
                "video or documents, or more pictures than a replay makes, were left out"
            }
            Self::MediaAssumed => "pictures or sound of unknown size were sent at an everyday one",
            Self::OtherEndpoint => "the request went to another endpoint than the recorded one",
            Self::TokenIdsAsWords => "a prompt of token ids was sent as words",
            Self::LengthAssumed => "the recorded answer's length is unknown; one was assumed",
            Self::EmptyAnswer => "the recorded answer was empty; one token was asked for",
            Self::LiveHistory => "earlier answers are the target's own, not the recorded length",
            Self::HistoryMadeUp => "an earlier answer was not to be had, and was made up",
            Self::LengthCapped => "the target cannot be forced to a length; the answer was capped",
            Self::AnswersAlike => "several answers to one prompt were asked for at one length",
            Self::ShapeUnknown => {
                "the recorded body was not readable; a prompt of its size was sent"
            }
            Self::PromptCut => "the recorded prompt is larger than a replay writes; it was cut",
        })
    }
}

/// How many requests were altered, by what.
pub type Alterations = BTreeMap<Alteration, u64>;

/// Where a recorded client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancel {
    /// After this many token events.
    TokenEvents(u32),
    /// This long after sending.
    After(u64),
}

/// A request ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) index: u64,
    pub(super) planned_us: u64,
    pub(super) intended_us: u64,
    pub(super) turn: Turn,
    pub(super) recorded: RecordedTimes,
    pub(super) recorded_gaps: GapSketch,
    pub(super) endpoint: Endpoint,
    pub(super) stream: bool,
    pub(super) request: Message,
    /// Answers that are still missing in its body.
    pub(super) gaps: Option<Gaps>,
    /// Where the text of its answer goes, where a later turn repeats it.
    pub(super) answer: Option<Arc<OnceLock<AnswerText>>>,
    pub(super) cancel: Option<Cancel>,
    pub(super) recorded_prompt_tokens: Option<u32>,
    pub(super) recorded_output_tokens: Option<u32>,
    pub(super) wanted_prompt_tokens: Option<u32>,
    pub(super) wanted_output_tokens: Option<u32>,
    pub(super) planned_shared_tokens: u32,
}

/// A planned request with all that depends on the ones before it: its bytes can be made at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settled {
    pub(super) planned: PlannedRequest,
    pub(super) counts: Counts,
    pub(super) output: OutputLength,
    /// Messages that shall hold the target's own answers.
    pub(super) repeated: Vec<Repeated>,
}

impl Settled {
    /// About the bytes that it takes in memory.
    pub(super) fn held_bytes(&self) -> usize {
        let Exchange {
            request, response, ..
        } = &self.planned.exchange;
        size_of::<Self>()
            + size_of_val(&request.blocks[..])
            + size_of_val(&request.messages[..])
            + size_of_val(&request.media[..])
            + size_of_val(response.gaps.buckets())
            + size_of_val(&self.repeated[..])
            + self.counts.held_bytes()
    }
}

/// Turns planned requests into bytes: settles each in the order of the plan, and writes it when it is needed.
pub(super) struct Synthesiser<'a> {
    prompter: Prompter,
    studio: Studio,
    options: PromptOptions,
    calibration: &'a Calibration,
    envelope: Envelope,
    policy: LengthPolicy,
    alterations: Alterations,
    /// Answers whose length is known, for those whose length is not.
    answers: u64,
    answer_tokens: u64,
}

/// Base64 digits of one prompt's pictures and sound, beyond which no more are made.
const MOST_MEDIA_DIGITS: usize = 48 << 20;

/// Assumed length of an answer as long as none is known.
const EVERYDAY_ANSWER: u64 = 128;

impl<'a> Synthesiser<'a> {
    pub(super) fn new(
        salt: Salt,
        spec: Option<BlockSpec>,
        calibration: &'a Calibration,
        envelope: Envelope,
        policy: LengthPolicy,
        options: PromptOptions,
    ) -> Self {
        Self {
            prompter: Prompter::new(salt, spec, options.token_ratio),
            studio: Studio::default(),
            options,
            calibration,
            envelope,
            policy,
            alterations: Alterations::new(),
            answers: 0,
            answer_tokens: 0,
        }
    }

    pub(super) fn alterations(self) -> Alterations {
        self.alterations
    }

    /// The next request of the plan.
    pub(super) fn settle(&mut self, planned: PlannedRequest) -> Settled {
        let exchange = &planned.exchange;
        let known = self.calibration.of(exchange.endpoint);
        let endpoint = known.endpoint(exchange.endpoint, exchange.request.params.stream);
        let costs = match &known.id_costs {
            Some(costs) if self.goes_as_ids(exchange) => costs,
            _ => &known.costs,
        };
        let counts = self.prompter.settle(exchange, endpoint, costs);
        let output = self.output(exchange);
        Settled {
            planned,
            counts,
            output,
            repeated: Vec::new(),
        }
    }

    /// The bytes of a settled request.
    pub(super) fn write(&mut self, settled: &Settled) -> Prepared {
        let Settled {
            planned,
            counts,
            output,
            repeated,
        } = settled;
        let exchange = &planned.exchange;
        let known = self.calibration.of(exchange.endpoint);
        let mut params = self.params(exchange);
        let endpoint = known.endpoint(exchange.endpoint, params.stream);
        self.note(Alteration::OtherEndpoint, known.send_as.is_some());
        let words = &self.calibration.words;
        let mut prompt = self
            .prompter
            .write(planned.index, exchange, counts, endpoint, words);
        let missing = mark(&mut prompt.messages, repeated);
        self.note(Alteration::LiveHistory, !missing.is_empty());
        self.note(Alteration::PromptCut, prompt.cut);
        let as_ids = self.goes_as_ids(exchange);
        self.note(Alteration::TokenIdsAsWords, params.token_ids && !as_ids);
        params.token_ids = as_ids;
        let ids: Option<Vec<Vec<u32>>> = as_ids.then(|| {
            let texts = prompt.messages.iter();
            texts
                .map(|(_, text)| self.calibration.ids.ids(text))
                .collect()
        });
        let media = self.media(exchange, &prompt.media_seeds);
        let model = exchange
            .model
            .and_then(|model| self.options.models.get(&model));
        let wire = synthesise(&Draft {
            endpoint,
            model: model.unwrap_or(&self.calibration.model),
            messages: &prompt.messages,
            batch: !exchange.endpoint.has_roles(),
            ids: ids.as_deref(),
            media: &media,
            tools: exchange.request.tools,
            params,
            output: *output,
            forcing: known.forced.by(),
        });
        for &field in &wire.altered {
            self.note(Alteration::Field(field), true);
        }
        let gaps = (!missing.is_empty()).then(|| Gaps::find(&wire.body, missing));
        Prepared {
            index: planned.index,
            planned_us: planned.intended_us,
            intended_us: planned.intended_us,
            turn: planned.turn,
            recorded: RecordedTimes::of(exchange),
            recorded_gaps: exchange.response.gaps.clone(),
            endpoint,
            stream: params.stream,
            request: self.envelope.post(endpoint, wire),
            // Nobody knows how many tokens the answers will be.
            wanted_prompt_tokens: gaps.is_none().then_some(prompt.tokens),
            gaps,
            answer: None,
            cancel: cancel(exchange),
            recorded_prompt_tokens: exchange.request.prompt_tokens.map(|tokens| tokens.count),
            recorded_output_tokens: exchange.response.output_tokens.map(|tokens| tokens.count),
            wanted_output_tokens: match (output, exchange.outcome) {
                (OutputLength::Exact(each) | OutputLength::Cap(each), Outcome::Completed) => {
                    Some(each.saturating_mul(self.answers_to(exchange)))
                }
                _ => None,
            },
            planned_shared_tokens: prompt.shared_tokens,
        }
    }

    /// Answers that a request asks for: `n` to each of its prompts.
    fn answers_to(&self, exchange: &Exchange) -> u32 {
        let request = &exchange.request;
        let known = self.calibration.of(exchange.endpoint);
        let sent_to = known.endpoint(exchange.endpoint, request.params.stream);
        let prompts = match (exchange.endpoint, sent_to) {
            (Endpoint::Completions, Endpoint::Completions) => request.messages.len().max(1),
            _ => 1,
        };
        let prompts = u32::try_from(prompts).unwrap_or(u32::MAX);
        u32::from(request.params.n.max(1)).saturating_mul(prompts)
    }

    /// Whether a prompt goes out as token ids.
    fn goes_as_ids(&self, exchange: &Exchange) -> bool {
        let wanted = match self.options.prompt_as {
            PromptAs::Auto => exchange.request.params.token_ids,
            PromptAs::Text => false,
            PromptAs::TokenIds => true,
        };
        wanted && self.calibration.of(exchange.endpoint).id_costs.is_some()
    }

    /// The pictures and clips of a prompt.
    fn media(&mut self, exchange: &Exchange, seeds: &[u64]) -> Vec<DraftMedia> {
        let parts = &exchange.request.media;
        let mut made = Vec::new();
        let mut digits = 0;
        let mut assumed = false;
        for (part, &seed) in parts.iter().zip(seeds) {
            if digits > MOST_MEDIA_DIGITS {
                break;
            }
            let picture = self.studio.make(usize::from(part.message), part, seed);
            if let Some(picture) = picture {
                assumed |= part.bytes == 0;
                digits += picture.base64.len();
                made.push(picture);
            }
        }
        self.note(Alteration::MediaAssumed, assumed);
        self.note(Alteration::MediaLeftOut, made.len() < parts.len());
        made.sort_by_key(|part| part.message);
        made
    }

    fn params(&mut self, exchange: &Exchange) -> RequestParams {
        let mut params = exchange.request.params;
        params.n = params.n.max(1);
        if exchange.shape != ShapeStatus::Known {
            self.note(Alteration::ShapeUnknown, true);
            params.stream |= exchange.response.events > 0;
        }
        let tells_if_asked =
            |it: Endpoint| matches!(it, Endpoint::ChatCompletions | Endpoint::Completions);
        let known = self.calibration.of(exchange.endpoint);
        let endpoint = known.endpoint(exchange.endpoint, params.stream);
        if params.stream && tells_if_asked(endpoint) && !params.include_usage {
            params.include_usage = true;
            self.note(Alteration::UsageAsked, tells_if_asked(exchange.endpoint));
        }
        params
    }

    fn output(&mut self, exchange: &Exchange) -> OutputLength {
        if self.policy == LengthPolicy::Free || !exchange.endpoint.generates() {
            return OutputLength::Free;
        }
        let recorded = exchange.response.output_tokens.map(|tokens| tokens.count);
        let tokens = match (exchange.outcome, recorded) {
            (Outcome::Completed, Some(tokens)) => {
                self.answers += 1;
                self.answer_tokens += u64::from(tokens);
                self.note(Alteration::EmptyAnswer, tokens == 0);
                tokens
            }
            _ => {
                self.note(Alteration::LengthAssumed, true);
                self.assumed(exchange, recorded)
            }
        };
        let answers = self.answers_to(exchange);
        self.note(Alteration::AnswersAlike, answers > 1);
        let each = times(tokens, self.options.token_ratio);
        let each = each.div_ceil(answers).max(1);
        if self.policy == LengthPolicy::Exact {
            if self.calibration.of(exchange.endpoint).is_exact() {
                return OutputLength::Exact(each);
            }
            self.note(Alteration::LengthCapped, true);
        }
        OutputLength::Cap(each)
    }

    /// The length of an answer that was never seen whole: what the request allowed, or the mean of those seen so far; for one
    /// that is to be cancelled, certainly more than the recorded client waited for.
    fn assumed(&self, exchange: &Exchange, seen: Option<u32>) -> u32 {
        let mean = self
            .answer_tokens
            .checked_div(self.answers)
            .unwrap_or(EVERYDAY_ANSWER);
        let mean = u32::try_from(mean).unwrap_or(u32::MAX);
        let params = exchange.request.params;
        let assumed = if cancel(exchange).is_some() {
            let beyond = seen.unwrap_or(0).saturating_mul(2).saturating_add(64);
            params.max_tokens.unwrap_or(beyond.max(mean))
        } else {
            params.max_tokens.map_or(mean, |most| most.min(mean))
        };
        assumed.max(1)
    }

    fn note(&mut self, alteration: Alteration, happened: bool) {
        if happened {
            *self.alterations.entry(alteration).or_default() += 1;
        }
    }
}

/// Puts marks in the place of repeated answers, and gives what was made up for each.
fn mark(messages: &mut [(Role, String)], repeated: &[Repeated]) -> Vec<(u64, String)> {
    let mark = |it: &Repeated| {
        let (_, text) = messages.get_mut(it.message)?;
        let made_up = std::mem::replace(text, Gaps::mark(it.answer_to));
        Some((it.answer_to, made_up))
    };
    repeated.iter().filter_map(mark).collect()
}

/// A client that had seen tokens goes after as many; one that had seen none goes after as long.
fn cancel(exchange: &Exchange) -> Option<Cancel> {
    let Outcome::ClientCancelled { at_us } = exchange.outcome else {
        return None;
    };
    Some(match exchange.response.token_events {
        0 => Cancel::After(at_us),
        events => Cancel::TokenEvents(events),
    })
}

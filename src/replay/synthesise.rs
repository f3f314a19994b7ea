mod alteration;
mod length;
mod marks;
mod prepared;

pub use self::alteration::{Alteration, Alterations};
pub use self::length::LengthPolicy;
pub(super) use self::prepared::{Cancel, Prepared, Settled};

use crate::dialect::{Draft, DraftMedia, OutputLength, synthesise};
use crate::shape::{
    BlockSpec, Dialect, Endpoint, Exchange, Outcome, RequestParams, Role, ShapeStatus,
};

use super::calibrate::Calibration;
use super::client::Envelope;
use super::conversation::{Gaps, Repeated};
use super::outcome::RecordedTimes;
use super::plan::PlannedRequest;
use super::prompt::{PromptAs, PromptOptions, Prompter, Salt, Studio};
use super::readers::Readers;

/// Turns planned requests into bytes: settles each in the order of the plan, and writes it when it is needed.
pub(super) struct Synthesiser<'a> {
    prompter: Prompter,
    spec: Option<BlockSpec>,
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
            spec,
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
        let adapted = exchange.endpoint.dialect() == Dialect::Tgi && exchange.model.is_some();
        let model = exchange
            .model
            .and_then(|model| self.options.models.get(&model));
        let adapter = model.filter(|_| adapted).map(String::as_str);
        let wire = synthesise(&Draft {
            endpoint,
            model: model.unwrap_or(&self.calibration.model),
            messages: &prompt.messages,
            batch: !exchange.endpoint.has_roles(),
            ids: ids.as_deref(),
            media: &media,
            tools: exchange.request.tools,
            cache_marks: &marks::marks(exchange, self.spec),
            adapter,
            params,
            output: *output,
            forcing: known.forced.by(),
        });
        let lacks_adapter = adapted && adapter.is_none();
        self.note(Alteration::Field("adapter_id"), lacks_adapter);
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
            cancel: Cancel::of(exchange),
            new_connection: exchange.new_connection,
            reader_bytes_per_s: Readers::AsRecorded.recorded_bytes_per_s(exchange),
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

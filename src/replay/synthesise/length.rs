//! How long an answer is asked for.

use serde::Serialize;

use super::{Alteration, Cancel, Synthesiser};
use crate::dialect::OutputLength;
use crate::replay::prompt::times;
use crate::shape::{Endpoint, Exchange, Outcome};

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

impl Synthesiser<'_> {
    /// The length to ask of each answer.
    pub(super) fn output(&mut self, exchange: &Exchange) -> OutputLength {
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
        let assumed = if Cancel::of(exchange).is_some() {
            let beyond = seen.unwrap_or(0).saturating_mul(2).saturating_add(64);
            params.max_tokens.unwrap_or(beyond.max(mean))
        } else {
            params.max_tokens.map_or(mean, |most| most.min(mean))
        };
        assumed.max(1)
    }

    /// Answers that a request asks for: `n` to each of its prompts.
    pub(super) fn answers_to(&self, exchange: &Exchange) -> u32 {
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
}

/// Assumed length of an answer as long as none is known.
const EVERYDAY_ANSWER: u64 = 128;

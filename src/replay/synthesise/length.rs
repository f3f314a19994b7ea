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
        self.note(Alteration::AnswersAlike, self.answers_to(exchange) > 1);
        let recorded = self.prompts_of(exchange).saturating_mul(asked(exchange));
        let each = times(tokens, self.options.token_ratio);
        let each = each.div_ceil(recorded).max(1);
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

    /// Answers that a request asks for: `n` to each of its prompts, where it can say so at the endpoint that it goes to.
    pub(super) fn answers_to(&self, exchange: &Exchange) -> u32 {
        let to_each = match self.sent_to(exchange) {
            Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::GeminiGenerate
            | Endpoint::GeminiStream => asked(exchange),
            _ => 1,
        };
        self.prompts_of(exchange).saturating_mul(to_each)
    }

    /// Prompts of a request as it goes out.
    fn prompts_of(&self, exchange: &Exchange) -> u32 {
        let prompts = match (exchange.endpoint, self.sent_to(exchange)) {
            (Endpoint::Completions, Endpoint::Completions) => exchange.request.messages.len(),
            _ => 1,
        };
        u32::try_from(prompts.max(1)).unwrap_or(u32::MAX)
    }

    fn sent_to(&self, exchange: &Exchange) -> Endpoint {
        let known = self.calibration.of(exchange.endpoint);
        known.endpoint(exchange.endpoint, exchange.request.params.stream)
    }
}

/// Answers to each prompt that the recorded request asked for.
fn asked(exchange: &Exchange) -> u32 {
    u32::from(exchange.request.params.n.max(1))
}

/// Assumed length of an answer as long as none is known.
const EVERYDAY_ANSWER: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::calibrate::{Calibration, EndpointCalibration, Forced};
    use crate::replay::plan::{PlannedRequest, Turn};
    use crate::replay::synthesise::Prepared;
    use crate::replay::testing::{exchange, synthesiser};
    use crate::shape::{TokenCount, TokenSource};

    /// Of a target that the calibration found to be so.
    fn of(found: EndpointCalibration) -> Calibration {
        let mut calibration = Calibration::assumed("m");
        calibration
            .endpoints
            .insert(Endpoint::ChatCompletions, found);
        calibration
    }

    fn written(synthesiser: &mut Synthesiser<'_>, exchange: Exchange) -> (OutputLength, Prepared) {
        let settled = synthesiser.settle(PlannedRequest {
            index: 0,
            intended_us: 0,
            turn: Turn::default(),
            exchange,
        });
        let prepared = synthesiser.write(&settled);
        (settled.output, prepared)
    }

    /// What is asked of each of four answers of 400 tokens in all, and what is held against the target's count.
    fn asked_of(sent_as: Option<Endpoint>) -> (OutputLength, Option<u32>) {
        let calibration = of(EndpointCalibration {
            send_as: sent_as,
            forced: Forced::Both,
            ..EndpointCalibration::default()
        });
        let mut synthesiser = synthesiser(&calibration);
        let mut exchange = exchange(0);
        exchange.request.params.n = 4;
        exchange.response.output_tokens = Some(TokenCount {
            count: 400,
            source: TokenSource::Usage,
        });
        let (output, prepared) = written(&mut synthesiser, exchange);
        (output, prepared.wanted_output_tokens)
    }

    /// The fields of a request for an answer of ten tokens whose client allowed 500 and would have no fewer than 3, and what was altered.
    fn fields(policy: LengthPolicy, forced: Forced) -> (serde_json::Value, Vec<Alteration>) {
        let calibration = of(EndpointCalibration {
            forced,
            ..EndpointCalibration::default()
        });
        let mut synthesiser = synthesiser(&calibration);
        synthesiser.policy = policy;
        let mut exchange = exchange(0);
        exchange.request.params.max_tokens = Some(500);
        exchange.request.params.min_tokens = Some(3);
        let (_, prepared) = written(&mut synthesiser, exchange);
        let body: serde_json::Value = serde_json::from_slice(prepared.request.body()).unwrap();
        let names = ["max_tokens", "min_tokens", "ignore_eos", "logit_bias"];
        let fields = names.map(|name| body[name].clone());
        (fields.into(), synthesiser.alterations.into_keys().collect())
    }

    #[test]
    fn each_policy_asks_for_a_length_in_its_own_way() {
        use serde_json::json;
        let of = |policy, forced: &Forced| fields(policy, forced.clone()).0;
        let both = &Forced::Both;
        assert_eq!(of(LengthPolicy::Exact, both), json!([10, 10, true, null]));
        assert_eq!(of(LengthPolicy::Cap, both), json!([10, null, null, null]));
        assert_eq!(of(LengthPolicy::Free, both), json!([500, 3, null, null]));
        let bias = &Forced::LogitBias(vec![2]);
        let banned = json!([10, null, null, {"2": -100}]);
        assert_eq!(of(LengthPolicy::Exact, bias), banned);
        assert_eq!(of(LengthPolicy::Cap, bias), json!([10, null, null, null]));
        assert_eq!(of(LengthPolicy::Free, bias), json!([500, null, null, null]));
    }

    #[test]
    fn that_a_length_is_only_capped_is_told_where_it_was_not_asked_for() {
        let told = |policy, forced| {
            let (fields, altered) = fields(policy, forced);
            assert_eq!(fields[0], 10);
            altered.contains(&Alteration::LengthCapped)
        };
        assert!(told(LengthPolicy::Exact, Forced::No));
        assert!(!told(LengthPolicy::Exact, Forced::Both));
        assert!(!told(LengthPolicy::Cap, Forced::No));
    }

    #[test]
    fn an_api_that_gives_one_answer_is_held_to_one() {
        let each = OutputLength::Exact(100);
        assert_eq!(asked_of(None), (each, Some(400)));
        assert_eq!(asked_of(Some(Endpoint::Messages)), (each, Some(100)));
    }
}

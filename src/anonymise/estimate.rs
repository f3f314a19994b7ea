//! Token counts where no server told them.

use std::collections::HashMap;

use crate::shape::{Exchange, ModelId, TokenCount, TokenSource};

/// Learns, model by model, how many tokens there are to what can be measured, from the exchanges whose server counted; and says
/// it for the others.
#[derive(Default)]
pub(super) struct Estimator {
    models: HashMap<Option<ModelId>, Model>,
}

/// What the recorder itself measured of an exchange.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Tokens of the prompt by the local tokenizer.
    pub(super) prompt_tokens: Option<u32>,
    /// Tokens of the answer by the local tokenizer.
    pub(super) answer_tokens: Option<u32>,
    /// Bytes of the answer's text, 0 where unknown.
    pub(super) answer_bytes: u64,
}

/// What is known of one model.
struct Model {
    /// Prompt tokens to bytes of text.
    prompt: Ratio,
    /// Prompt tokens as the server counts them, its chat template included, to those of the local tokenizer.
    tokenizer: Ratio,
    /// Tokens of the answer, reasoning left out, to bytes of its text.
    answer: Ratio,
    /// The same to token events of streams: several to an event where the server decodes several steps before it sends, or guesses ahead.
    events: Ratio,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            prompt: Ratio::believed(1.0 / BYTES_PER_TOKEN),
            tokenizer: Ratio::believed(1.0),
            answer: Ratio::believed(1.0 / BYTES_PER_TOKEN),
            events: Ratio::believed(1.0),
        }
    }
}

/// English text under the tokenizers in use: what is believed before anything is known.
const BYTES_PER_TOKEN: f64 = 4.0;
/// From so many tokens to an event on, a count of events is no count of tokens.
const SEVERAL: f64 = 1.5;

impl Estimator {
    /// Learns from what a server counted, and fills in or corrects what none did.
    pub(super) fn complete(&mut self, exchange: &mut Exchange, measured: Measured) {
        let Measured {
            prompt_tokens,
            answer_tokens,
            answer_bytes,
        } = measured;
        let model = self.models.entry(exchange.model).or_default();
        let request = &mut exchange.request;
        let texts = request.messages.iter().map(|it| u64::from(it.bytes));
        let bytes = texts.sum::<u64>() + u64::from(request.tools.bytes);
        if let Some(prompt) = &mut request.prompt_tokens {
            // Pictures and sounds are tokens too, of which the text says nothing.
            let told = prompt.source == TokenSource::Usage && request.media.is_empty();
            if told {
                model.prompt.learn(prompt.count, bytes);
                if let Some(tokens) = prompt_tokens {
                    model.tokenizer.learn(prompt.count, tokens.into());
                }
            } else if prompt.source != TokenSource::Usage {
                *prompt = match prompt_tokens {
                    Some(tokens) => TokenCount {
                        count: model.tokenizer.of(tokens.into()),
                        source: TokenSource::Tokenizer,
                    },
                    None => TokenCount {
                        count: model.prompt.of(bytes),
                        source: TokenSource::Estimated,
                    },
                };
            }
        }
        let response = &mut exchange.response;
        match response.output_tokens {
            Some(output) if output.source == TokenSource::Usage && request.params.n <= 1 => {
                let reasoning = response.reasoning_tokens.unwrap_or(0);
                let answer = output.count.saturating_sub(reasoning);
                model.answer.learn(answer, answer_bytes);
                // Of events it is not told which of them are reasoning: only without any, counted or shown, are both of one thing.
                let shown = response.first_answer_us != response.first_token_us;
                if reasoning == 0 || !shown {
                    model.events.learn(answer, response.token_events.into());
                }
            }
            Some(output)
                if output.source == TokenSource::Counted && model.events.is_over(SEVERAL) =>
            {
                response.output_tokens = Some(TokenCount {
                    count: model.events.of(output.count.into()),
                    source: TokenSource::Estimated,
                });
            }
            None if answer_bytes > 0 => {
                // It read the first choice alone.
                let counted = answer_tokens.filter(|_| request.params.n <= 1);
                response.output_tokens = Some(match counted {
                    Some(count) => TokenCount {
                        count,
                        source: TokenSource::Tokenizer,
                    },
                    None => TokenCount {
                        count: model.answer.of(answer_bytes),
                        source: TokenSource::Estimated,
                    },
                });
            }
            _ => {}
        }
    }
}

/// A ratio of sums, in which what was seen long ago fades.
struct Ratio {
    tokens: f64,
    measured: f64,
}

impl Ratio {
    /// A ratio that is believed as much as one exchange of this many units would make it be.
    const BELIEF: f64 = 400.0;
    /// Beyond this many units the past is halved: some thousand exchanges.
    const MEMORY: f64 = 10e6;

    fn believed(ratio: f64) -> Self {
        Self {
            tokens: ratio * Self::BELIEF,
            measured: Self::BELIEF,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "sizes of requests")]
    fn learn(&mut self, tokens: u32, measured: u64) {
        if tokens == 0 || measured == 0 {
            return;
        }
        self.tokens += f64::from(tokens);
        self.measured += measured as f64;
        if self.measured > Self::MEMORY {
            self.tokens /= 2.0;
            self.measured /= 2.0;
        }
    }

    fn is_over(&self, ratio: f64) -> bool {
        self.tokens > ratio * self.measured
    }

    /// Tokens of what was measured, rounded up: what is there has a token.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is not negative"
    )]
    fn of(&self, measured: u64) -> u32 {
        (measured as f64 * self.tokens / self.measured).ceil() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, MessageShape, Method, Role, TraceTime};

    fn exchange(
        model: u32,
        bytes: u32,
        prompt: TokenCount,
        output: Option<TokenCount>,
    ) -> Exchange {
        let mut exchange = Exchange::bare(
            TraceTime::default(),
            Endpoint::ChatCompletions,
            Method::Post,
        );
        exchange.model = Some(ModelId(model));
        exchange.request.messages = vec![MessageShape {
            role: Role::User,
            bytes,
            tokens: None,
        }];
        exchange.request.prompt_tokens = Some(prompt);
        exchange.response.output_tokens = output;
        exchange
    }

    fn said(answer_bytes: u64) -> Measured {
        Measured {
            answer_bytes,
            ..Measured::default()
        }
    }

    fn asked(prompt_tokens: u32) -> Measured {
        Measured {
            prompt_tokens: Some(prompt_tokens),
            ..Measured::default()
        }
    }

    const UNKNOWN: TokenCount = TokenCount {
        count: 0,
        source: TokenSource::Estimated,
    };

    fn usage(count: u32) -> TokenCount {
        TokenCount {
            count,
            source: TokenSource::Usage,
        }
    }

    #[test]
    fn each_model_has_a_ratio_of_its_own_and_four_bytes_to_begin_with() {
        let mut estimator = Estimator::default();
        for _ in 0..50 {
            let mut told = exchange(0, 3000, usage(1500), Some(usage(300)));
            estimator.complete(&mut told, said(900));
            assert_eq!(told.request.prompt_tokens, Some(usage(1500)));
        }
        let estimated = |count| {
            Some(TokenCount {
                count,
                source: TokenSource::Estimated,
            })
        };
        let mut known = exchange(0, 1000, UNKNOWN, None);
        estimator.complete(&mut known, said(600));
        let near = |count: Option<TokenCount>, expected: u32| {
            let count = count.unwrap();
            assert_eq!(count.source, TokenSource::Estimated);
            assert!(count.count.abs_diff(expected) <= expected / 50, "{count:?}");
        };
        near(known.request.prompt_tokens, 500);
        near(known.response.output_tokens, 200);
        let mut unknown = exchange(1, 1000, UNKNOWN, None);
        estimator.complete(&mut unknown, said(0));
        assert_eq!(unknown.request.prompt_tokens, estimated(250));
        assert_eq!(unknown.response.output_tokens, None);
    }

    #[test]
    fn events_of_several_tokens_are_told_by_the_streams_that_have_usage() {
        let mut estimator = Estimator::default();
        let mut stream = |model, output, token_events| {
            let mut exchange = exchange(model, 1000, UNKNOWN, Some(output));
            exchange.response.token_events = token_events;
            estimator.complete(&mut exchange, said(4 * u64::from(token_events)));
            exchange.response.output_tokens.unwrap()
        };
        let counted = TokenCount {
            count: 50,
            source: TokenSource::Counted,
        };
        assert_eq!(stream(0, counted, 50), counted, "nothing is known yet");
        for _ in 0..100 {
            stream(0, usage(300), 100);
            // Now and then two in one.
            stream(1, usage(120), 100);
        }
        let several = stream(0, counted, 50);
        assert_eq!(several.source, TokenSource::Estimated);
        assert!((140..=150).contains(&several.count), "{several:?}");
        assert_eq!(stream(1, counted, 50), counted);
    }

    #[test]
    fn reasoning_that_is_counted_apart_and_streamed_too_says_nothing_of_events() {
        let mut estimator = Estimator::default();
        let mut stream = |output, reasoning, first_answer_us| {
            let mut exchange = exchange(0, 1000, UNKNOWN, Some(output));
            let response = &mut exchange.response;
            response.token_events = 100;
            response.reasoning_tokens = reasoning;
            response.first_token_us = Some(5);
            response.first_answer_us = first_answer_us;
            estimator.complete(&mut exchange, said(400));
            exchange.response.output_tokens.unwrap().count
        };
        let counted = TokenCount {
            count: 100,
            source: TokenSource::Counted,
        };
        for _ in 0..100 {
            stream(usage(300), None, Some(70));
            // Half of the events are of the half of the tokens that are reasoning.
            stream(usage(300), Some(150), Some(70));
            stream(usage(300), Some(300), None);
            // Reasoning that stays with the server.
            stream(usage(1300), Some(1000), Some(5));
        }
        let several = stream(counted, None, Some(70));
        assert!((290..=300).contains(&several), "{several}");
    }

    #[test]
    fn a_tokenizers_count_is_corrected_by_what_the_template_adds() {
        let mut estimator = Estimator::default();
        for _ in 0..200 {
            let mut told = exchange(0, 4000, usage(1100), None);
            estimator.complete(&mut told, asked(1000));
        }
        let mut untold = exchange(0, 4000, UNKNOWN, None);
        estimator.complete(&mut untold, asked(2000));
        let count = untold.request.prompt_tokens.unwrap();
        assert_eq!(count.source, TokenSource::Tokenizer);
        assert!((2195..=2201).contains(&count.count), "{count:?}");
    }

    #[test]
    fn an_answer_that_no_server_counted_has_the_tokenizers_tokens() {
        let mut estimator = Estimator::default();
        let measured = Measured {
            answer_tokens: Some(70),
            ..said(400)
        };
        let mut count = |n, output| {
            let mut exchange = exchange(0, 1000, UNKNOWN, output);
            exchange.request.params.n = n;
            estimator.complete(&mut exchange, measured);
            let tokens = exchange.response.output_tokens.unwrap();
            (tokens.count, tokens.source)
        };
        assert_eq!(count(1, None), (70, TokenSource::Tokenizer));
        assert_eq!(count(2, None), (100, TokenSource::Estimated));
        assert_eq!(count(1, Some(usage(80))), (80, TokenSource::Usage));
    }
}

//! What the simulator answers, known from the first moment: a pure function of the seed, the prompt and what was asked of
//! the length, whatever else the server is doing.

use super::Config;
use super::engine::Prompt;
use super::noise::{mix, normal};
use super::tokenizer;
use super::words::word;

/// What a request says about the length of its answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LengthAsk {
    /// At most this many tokens.
    pub max_tokens: Option<u32>,
    /// At least this many.
    pub min_tokens: u32,
    /// Go on to the most there may be.
    pub ignore_eos: bool,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// It was complete.
    Stop,
    /// It reached the most tokens it may have.
    Length,
}

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Words.
    Text,
    /// The JSON arguments of a tool call, with words in them.
    ToolCall,
}

/// One answer, token by token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    key: u64,
    tokens: u32,
    finish: Finish,
    form: Form,
}

impl Answer {
    /// The answer that choice `choice` of a request with this prompt gets. The prompt must be shorter than the longest
    /// sequence.
    pub(super) fn plan(
        config: &Config,
        prompt: &Prompt,
        choice: u32,
        ask: LengthAsk,
        form: Form,
    ) -> Self {
        let key = mix(mix(config.seed, prompt.hash()), u64::from(choice));
        let room = config
            .longest_sequence()
            .saturating_sub(prompt.len())
            .max(1);
        let most = ask.max_tokens.unwrap_or(room).clamp(1, room);
        let shortest = match form {
            Form::Text => 1,
            Form::ToolCall => TOOL_CALL_LEAST,
        };
        let natural = if ask.ignore_eos {
            most
        } else {
            drawn_length(config, key).max(ask.min_tokens).max(shortest)
        };
        let (tokens, finish) = if natural >= most {
            (most, Finish::Length)
        } else {
            (natural, Finish::Stop)
        };
        Self {
            key,
            tokens,
            finish,
            form,
        }
    }

    /// How many tokens it has.
    pub(super) fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Why it ends.
    pub(super) fn finish(&self) -> Finish {
        self.finish
    }

    /// What it looks like.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// The text of its token number `ordinal`.
    pub(super) fn piece(&self, ordinal: u32) -> &'static str {
        let bits = mix(self.key, u64::from(ordinal));
        match self.form {
            Form::Text => word(bits, ordinal == 0),
            Form::ToolCall => {
                let closes = self.tokens >= TOOL_CALL_LEAST;
                match TOOL_CALL_OPENS.get(ordinal as usize) {
                    Some(opening) => opening,
                    None if closes && ordinal + 1 == self.tokens => "}",
                    None if closes && ordinal + 2 == self.tokens => "\"",
                    None => word(bits, ordinal == TOOL_CALL_LEAST - 3),
                }
            }
        }
    }

    /// The id of its token number `ordinal`: what the tokenizer gives for it in the whole text.
    pub(super) fn token_id(&self, ordinal: u32) -> u32 {
        tokenizer::id_of(self.piece(ordinal).as_bytes())
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        (0..self.tokens)
            .map(|ordinal| self.piece(ordinal))
            .collect()
    }
}

const TOOL_CALL_OPENS: [&str; 6] = ["{", "\"", "text", "\"", ":", "\""];
/// The opening, one word and the closing.
const TOOL_CALL_LEAST: u32 = 9;

/// Log-normal, as real answer lengths roughly are.
fn drawn_length(config: &Config, key: u64) -> u32 {
    let spread = (config.answer_tokens_sigma * normal(mix(key, u64::MAX))).exp();
    // A float beyond the range saturates.
    #[allow(clippy::cast_possible_truncation)]
    let drawn = (f64::from(config.answer_tokens_median) * spread).round() as u32;
    drawn.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, ask: LengthAsk, form: Form) -> Answer {
        let config = Config::profile("fast").unwrap();
        let prompt = Prompt::new(tokenizer::ids(text), config.block_tokens);
        Answer::plan(&config, &prompt, 0, ask, form)
    }

    fn at_most(tokens: u32) -> LengthAsk {
        LengthAsk {
            max_tokens: Some(tokens),
            ..LengthAsk::default()
        }
    }

    #[test]
    fn an_answer_tokenises_to_the_tokens_that_were_generated() {
        for (tokens, form) in [
            (1, Form::Text),
            (300, Form::Text),
            (3, Form::ToolCall),
            (9, Form::ToolCall),
            (40, Form::ToolCall),
        ] {
            let ask = LengthAsk {
                ignore_eos: true,
                ..at_most(tokens)
            };
            let answer = plan("a prompt", ask, form);
            let generated: Vec<u32> = (0..tokens)
                .map(|ordinal| answer.token_id(ordinal))
                .collect();
            assert_eq!(
                tokenizer::ids(&answer.text()),
                generated,
                "{}",
                answer.text()
            );
        }
    }

    #[test]
    fn a_tool_call_that_is_not_cut_short_is_json() {
        for text in ["one", "two", "three", "four"] {
            let answer = plan(text, LengthAsk::default(), Form::ToolCall);
            let parsed: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
            assert!(parsed["text"].is_string());
            assert_eq!(answer.finish(), Finish::Stop);
        }
    }

    #[test]
    fn length_is_forced_bounded_or_drawn_as_asked() {
        let drawn = plan("hello", LengthAsk::default(), Form::Text);
        assert_eq!(drawn, plan("hello", LengthAsk::default(), Form::Text));
        assert_eq!(drawn.finish(), Finish::Stop);

        let least = LengthAsk {
            min_tokens: 500,
            ..LengthAsk::default()
        };
        assert_eq!(plan("hello", least, Form::Text).tokens(), 500);

        let cut = plan("hello", at_most(2), Form::Text);
        assert_eq!((cut.tokens(), cut.finish()), (2, Finish::Length));

        let forced = LengthAsk {
            min_tokens: 77,
            ignore_eos: true,
            max_tokens: Some(77),
        };
        let forced = plan("hello", forced, Form::Text);
        assert_eq!((forced.tokens(), forced.finish()), (77, Finish::Length));
    }

    #[test]
    fn drawn_lengths_spread_around_the_median() {
        let mut lengths: Vec<u32> = (0..2_000)
            .map(|i| plan(&format!("prompt {i}"), LengthAsk::default(), Form::Text).tokens())
            .collect();
        lengths.sort_unstable();
        assert!((36..=44).contains(&lengths[1_000]), "{}", lengths[1_000]);
        assert!(lengths[200] < 20 && lengths[1_800] > 80);
    }
}

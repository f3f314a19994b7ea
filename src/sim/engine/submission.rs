use super::Prompt;
use crate::sim::Config;
use crate::sim::answer::{Answer, Form, LengthAsk};

/// A request, planned to its last token.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(super) sequences: Vec<Planned>,
}

/// One sequence to be computed.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) prompt: Prompt,
    pub(super) answer: Answer,
    /// The first of its prompt's choices, which the prompt is accounted to.
    pub(super) leads: bool,
}

/// Why a request cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is nothing to compute.
    #[error("the prompt is empty")]
    Empty,
    /// It would not fit, even alone.
    #[error(
        "this model's maximum context length is {longest} tokens; the prompt has {prompt} and {answer} were asked for"
    )]
    TooLong {
        /// Tokens of the longest sequence there can be.
        longest: u32,
        /// Tokens of the prompt.
        prompt: u64,
        /// Tokens of answer asked for.
        answer: u32,
    },
    /// The queue has no room.
    #[error("the server is overloaded: its queue is full")]
    QueueFull,
}

impl Submission {
    /// Plans `choices` answers to each prompt. Choice `c` of prompt `p` is sequence `p * choices + c`.
    ///
    /// # Errors
    /// When a prompt is empty, or it and the answer asked for can never fit.
    pub(crate) fn plan(
        config: &Config,
        prompts: &[Prompt],
        choices: u32,
        ask: LengthAsk,
        form: Form,
    ) -> Result<Self, Refusal> {
        let mut sequences = Vec::new();
        for prompt in prompts {
            check_fit(config, u64::from(prompt.len()), ask)?;
            sequences.extend((0..choices).map(|choice| Planned {
                prompt: prompt.clone(),
                answer: Answer::plan(config, prompt, choice, ask, form),
                leads: choice == 0,
            }));
        }
        if sequences.is_empty() {
            return Err(Refusal::Empty);
        }
        Ok(Self { sequences })
    }

    /// The answers, one for each sequence.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        self.sequences
            .iter()
            .map(|planned| planned.answer)
            .collect()
    }

    /// Tokens of its prompts, each counted once.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        self.sequences
            .iter()
            .filter(|planned| planned.leads)
            .map(|planned| u64::from(planned.prompt.len()))
            .sum()
    }
}

/// Whether a prompt of so many tokens and the answer asked for can ever be computed.
pub(crate) fn check_fit(config: &Config, prompt: u64, ask: LengthAsk) -> Result<(), Refusal> {
    if prompt == 0 {
        return Err(Refusal::Empty);
    }
    let longest = config.longest_sequence();
    let answer = ask.max_tokens.unwrap_or(1).max(ask.min_tokens).max(1);
    if prompt + u64::from(answer) > u64::from(longest) {
        return Err(Refusal::TooLong {
            longest,
            prompt,
            answer,
        });
    }
    Ok(())
}

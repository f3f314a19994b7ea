//! The check that needs no evaluator: fixed prompts with greedy decoding, to which a deterministic server gives the same answers idle and
//! under load. What a batch changes in them is seen so. Answers are held as hashes of their words, and only until they are compared.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use super::Phase;
use crate::measure::{EvaluatedTest, Evaluation, TestOutcome};
use crate::replay::{AskOptions, Asked, Calibration, SendResult, Stop, Target, ask_greedily};

/// Prompts whose answers are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    prompts: Vec<Prompt>,
}

#[derive(Clone, PartialEq, Eq)]
struct Prompt {
    id: String,
    text: String,
}

/// A prompt of the user's own is shown nowhere.
impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)
    }
}

impl Canary {
    /// Twelve prompts that want an answer of some length, so that a difference has room to show.
    pub fn house() -> Self {
        let numbered = HOUSE.iter().zip(1..);
        let prompts = numbered.map(|(text, number)| Prompt {
            id: format!("prompt {number}"),
            text: (*text).to_owned(),
        });
        Self {
            prompts: prompts.collect(),
        }
    }

    /// A prompt a line; empty lines and those that begin with `#` are none. Each is called by its line.
    ///
    /// # Errors
    /// When the file cannot be read, holds no prompt or too many.
    pub fn read(path: &Path) -> Result<Self, String> {
        let told = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        let lines = text.lines().zip(1..).map(|(line, at)| (line.trim(), at));
        let prompts: Vec<Prompt> = lines
            .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
            .map(|(line, at)| Prompt {
                id: format!("line {at}"),
                text: line.to_owned(),
            })
            .collect();
        match prompts.len() {
            0 => Err(told(&"there is no prompt in it; write one a line")),
            1..=MOST => Ok(Self { prompts }),
            many => Err(told(&format!("{many} prompts are more than {MOST}"))),
        }
    }

    /// Asks all of it once; while the target is idle twice, which shows what changes without any load. Blocks until that is done,
    /// `patience` is at its end or `stop` is asked.
    pub fn evaluate(
        &self,
        target: &Target,
        calibration: &Calibration,
        phase: Phase,
        patience: Duration,
        stop: &Stop,
    ) -> Evaluation {
        let options = AskOptions {
            answer_tokens: ANSWER_TOKENS,
            silence: patience.min(SILENCE),
            patience,
        };
        let times = match phase {
            Phase::Idle => 2,
            Phase::Loaded => 1,
        };
        let texts = self.prompts.iter().map(|prompt| prompt.text.as_str());
        let questions = (0..times).flat_map(|_| texts.clone());
        let answers = match ask_greedily(target, calibration, questions, options, stop) {
            Ok(answers) => answers,
            Err(error) => {
                return Evaluation {
                    problem: Some(format!("canary: {error}")),
                    ..Evaluation::default()
                };
            }
        };
        self.evaluation(&answers, times, patience, stop.is_requested())
    }

    fn evaluation(
        &self,
        answers: &[Asked],
        times: usize,
        patience: Duration,
        stopped: bool,
    ) -> Evaluation {
        let prompts = self.prompts.len();
        let (first, again) = answers.split_at_checked(prompts).unwrap_or((answers, &[]));
        let tests = self.prompts.iter().enumerate().filter_map(|(at, prompt)| {
            let asked = first.get(at)?;
            let answer = asked.text.as_ref().map(|text| words(text.as_str()));
            let again = again.get(at).and_then(|asked| asked.text.as_ref());
            let took_us = asked.outcome.end_us.checked_sub(asked.outcome.sent_us?);
            Some(EvaluatedTest {
                id: prompt.id.clone(),
                outcome: match &answer {
                    Some(_) => TestOutcome::Passed,
                    None => TestOutcome::Error,
                },
                latency_ms: took_us.filter(|_| answer.is_some()).map(milliseconds),
                answer,
                answer_again: again.map(|text| words(text.as_str())),
                ..EvaluatedTest::default()
            })
        });
        let tests: Vec<EvaluatedTest> = tests.collect();
        let missing = tests
            .iter()
            .filter(|test| test.outcome == TestOutcome::Error)
            .count();
        let asked = answers.len();
        let problem = if stopped {
            Some("canary: ended, since the replay was stopped".to_owned())
        } else if asked < prompts * times {
            Some(format!(
                "canary: {asked} of {} questions were answered within {patience:?}; --probe-timeout gives it more time",
                prompts * times
            ))
        } else if missing > 0 {
            let example = first.iter().find(|asked| asked.text.is_none());
            let example = example.map_or("no answer", why);
            Some(format!(
                "canary: {missing} of {prompts} prompts have no answer to compare ({example})"
            ))
        } else {
            None
        };
        Evaluation {
            tests,
            problem,
            ..Evaluation::default()
        }
    }
}

/// Why there is no answer.
fn why(asked: &Asked) -> &'static str {
    match asked.outcome.result {
        SendResult::Ok => "it was empty; a model that reasons first may not have come to it",
        SendResult::Cancelled => "it was given up",
        SendResult::Failed(kind) => kind.name(),
    }
}

/// The words of an answer, each with the space behind it: two answers are the same text where these are the same.
fn words(text: &str) -> Vec<u64> {
    let words = text.split_inclusive(char::is_whitespace).take(MOST_WORDS);
    words
        .map(|word| {
            let mut hasher = DefaultHasher::new();
            word.hash(&mut hasher);
            hasher.finish()
        })
        .collect()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "exact below 2^53 us = 285 years"
)]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1e3
}

/// Tokens of an answer: a difference early in it changes the rest.
const ANSWER_TOKENS: u32 = 64;
/// A target that says nothing for so long is not waited for.
const SILENCE: Duration = Duration::from_secs(60);
/// More prompts are an evaluation, and want an evaluator.
const MOST: usize = 1000;
/// Of a server that does not keep to the answer's length.
const MOST_WORDS: usize = 4096;

const HOUSE: [&str; 12] = [
    "Explain in one paragraph why the sky is blue.",
    "List the first twenty prime numbers, separated by commas.",
    "Write a short story about a lighthouse keeper who finds a letter.",
    "Translate into French, German and Spanish: the train leaves at seven in the morning.",
    "Write a function in Python that returns the n-th Fibonacci number, with a docstring.",
    "What are the advantages and the drawbacks of remote work? Name three of each.",
    "Give a step by step recipe for a vegetable soup for four people.",
    "Summarise how photosynthesis works for a ten-year-old child.",
    "A farmer has 17 sheep. All but 9 run away, and then 4 come back. How many are there? Show the steps.",
    "Answer as JSON with the keys name, year and country: the first person in space.",
    "Write a polite e-mail that moves a meeting from Tuesday to Thursday.",
    "Describe the difference between a process and a thread to a new programmer.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_prompt_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("prompts.txt");
        std::fs::write(&file, "# ours\n\nfirst one\n  second one \n").unwrap();
        let canary = Canary::read(&file).unwrap();
        let told: Vec<_> = canary
            .prompts
            .iter()
            .map(|prompt| (prompt.id.as_str(), prompt.text.as_str()))
            .collect();
        assert_eq!(told, [("line 3", "first one"), ("line 4", "second one")]);
        assert!(!format!("{canary:?}").contains("first"));
        std::fs::write(&file, "# nothing\n").unwrap();
        let error = Canary::read(&file).unwrap_err();
        assert!(error.contains("prompts.txt: there is no prompt"), "{error}");
        assert!(Canary::read(&dir.path().join("none")).is_err());
    }

    #[test]
    fn two_answers_are_the_same_where_every_word_and_space_is() {
        assert_eq!(words("a b\nc"), words("a b\nc"));
        assert_ne!(words("a b\nc"), words("a b c"));
        assert_ne!(words("a b"), words("a b "));
        assert!(words("").is_empty());
    }
}

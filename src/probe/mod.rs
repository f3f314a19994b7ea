//! Evaluators of answer quality, run beside a replay: the user's own promptfoo, or any other command.
//!
//! An evaluator is a program that asks the candidate by itself. Whatever becomes of it (missing, failing, hanging) is told in its
//! result, and never ends a replay.

mod command;
mod process;
mod promptfoo;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::measure::Evaluation;

/// Who judges the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// promptfoo, by this configuration.
    Promptfoo(PathBuf),
    /// A command line of the shell.
    Command(String),
}

/// Whose answers are judged.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name in results.
    pub name: String,
    /// Its base URL, without `/v1`.
    pub url: String,
    /// The model that is asked for.
    pub model: String,
    /// The key that it wants.
    pub key: Option<Key>,
}

/// An API key, shown nowhere.
#[derive(Clone)]
pub struct Key(pub String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// When an evaluator is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// While nothing is replayed.
    Idle,
    /// While the replay runs.
    Loaded,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Loaded => "loaded",
        }
    }
}

impl Probe {
    /// Its name in results.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Promptfoo(_) => "promptfoo",
            Self::Command(_) => "cmd",
        }
    }

    /// Runs it once. Blocks until it has ended, `patience` has, or `give_up` says so.
    pub fn evaluate(
        &self,
        candidate: &Candidate,
        phase: Phase,
        patience: Duration,
        give_up: &dyn Fn() -> bool,
    ) -> Evaluation {
        let began = Instant::now();
        let evaluated = match self {
            Self::Promptfoo(config) => {
                promptfoo::evaluate(config, candidate, phase, patience, give_up)
            }
            Self::Command(line) => command::evaluate(line, candidate, phase, patience, give_up),
        };
        Evaluation {
            took_s: began.elapsed().as_secs_f64(),
            ..evaluated.unwrap_or_else(|problem| Evaluation {
                problem: Some(problem),
                ..Evaluation::default()
            })
        }
    }
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("promptfoo", file)) if !file.trim().is_empty() => {
                let file = PathBuf::from(file.trim());
                if !file.is_file() {
                    return Err(format!("{}: there is no such file", file.display()));
                }
                Ok(Self::Promptfoo(file))
            }
            Some(("cmd", line)) if !line.trim().is_empty() => {
                Ok(Self::Command(line.trim().to_owned()))
            }
            _ => Err("write promptfoo:FILE or cmd:COMMAND".to_owned()),
        }
    }
}

/// What every evaluator is told of the candidate, under the names that the providers' own clients read, too.
fn environment(candidate: &Candidate, phase: Phase) -> Vec<(&'static str, String)> {
    let url = candidate.url.trim_end_matches('/');
    // Clients want some key, also where the server wants none.
    let key = candidate.key.as_ref().map_or("none", |key| key.0.as_str());
    vec![
        ("REENACT_PROBE_PHASE", phase.name().to_owned()),
        ("REENACT_TARGET_NAME", candidate.name.clone()),
        ("REENACT_TARGET_URL", url.to_owned()),
        ("REENACT_MODEL", candidate.model.clone()),
        ("OPENAI_BASE_URL", format!("{url}/v1")),
        ("OPENAI_API_BASE_URL", format!("{url}/v1")),
        ("OPENAI_API_KEY", key.to_owned()),
        ("ANTHROPIC_BASE_URL", url.to_owned()),
        ("ANTHROPIC_API_KEY", key.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_kind_and_what_it_needs() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(
            format!("promptfoo:{file}").parse(),
            Ok(Probe::Promptfoo(file.into()))
        );
        assert_eq!(
            "cmd: ./check --all".parse(),
            Ok(Probe::Command("./check --all".into()))
        );
        for (text, word) in [
            ("promptfoo:/nowhere.yaml", "no such file"),
            ("deepeval", "write promptfoo:FILE"),
            ("cmd:", "write promptfoo:FILE"),
        ] {
            let error = text.parse::<Probe>().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        let candidate = Candidate {
            name: "a".into(),
            url: "http://a:1/".into(),
            model: "m".into(),
            key: Some(Key("s3cret".into())),
        };
        assert!(!format!("{candidate:?}").contains("s3cret"));
        let told = environment(&candidate, Phase::Loaded);
        assert!(told.contains(&("OPENAI_BASE_URL", "http://a:1/v1".into())));
        assert!(told.contains(&("ANTHROPIC_API_KEY", "s3cret".into())));
    }
}

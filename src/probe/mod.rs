//! Evaluators of answer quality, run beside a replay: the user's own promptfoo, any other command, or a comparison of answers to fixed prompts.
//!
//! An evaluator asks the candidate by itself. Whatever becomes of it (missing, failing, hanging) is told in its
//! result, and never ends a replay.

mod canary;
mod command;
mod door;
mod graders;
mod process;
mod promptfoo;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::measure::Evaluation;
use crate::replay::{Calibration, Stop, Target};
pub use canary::Canary;

/// Who judges the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// promptfoo, by this configuration.
    Promptfoo(PathBuf),
    /// A command line of the shell.
    Command(String),
    /// Fixed prompts, whose answers are compared.
    Canary(Canary),
}

/// Whose answers are judged, as a program is told.
#[derive(Debug, Clone)]
struct Candidate {
    /// Its name in results.
    name: String,
    /// Its base URL, without `/v1`.
    url: String,
    /// The model that is asked for.
    model: String,
    /// The key that it wants.
    key: Option<Key>,
}

/// An API key, shown nowhere.
#[derive(Clone)]
struct Key(String);

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
            Self::Canary(_) => "canary",
        }
    }

    /// Runs it once. Blocks until it has ended, `patience` has, or `stop` is asked.
    pub fn evaluate(
        &self,
        target: &Target,
        calibration: &Calibration,
        phase: Phase,
        patience: Duration,
        stop: &Stop,
    ) -> Evaluation {
        let began = Instant::now();
        let candidate = Candidate {
            name: target.name.clone(),
            url: target.url.to_string(),
            model: calibration.model.clone(),
            key: target.credentials.key().map(|key| Key(key.to_owned())),
        };
        let give_up = || stop.is_requested();
        let evaluated = match self {
            Self::Promptfoo(config) => {
                promptfoo::evaluate(config, target, &candidate, phase, patience, &give_up)
            }
            Self::Command(line) => command::evaluate(line, &candidate, phase, patience, &give_up),
            Self::Canary(canary) => Ok(canary.evaluate(target, calibration, phase, patience, stop)),
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
            None if text == "canary" => Ok(Self::Canary(Canary::house())),
            Some(("canary", file)) if !file.trim().is_empty() => {
                Canary::read(std::path::Path::new(file.trim())).map(Self::Canary)
            }
            Some(("cmd", line)) if !line.trim().is_empty() => {
                Ok(Self::Command(line.trim().to_owned()))
            }
            _ => Err("write promptfoo:FILE, cmd:COMMAND, canary or canary:FILE".to_owned()),
        }
    }
}

/// Tells an evaluator of the candidate, and takes away what would lead it elsewhere.
fn tell(command: &mut Command, candidate: &Candidate, phase: Phase) {
    command.envs(environment(candidate, phase));
    // It counts before OPENAI_BASE_URL where it is set.
    command.env_remove("OPENAI_API_HOST");
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
    fn a_host_of_the_users_own_does_not_lead_elsewhere() {
        let candidate = Candidate {
            name: "a".into(),
            url: "http://a:1".into(),
            model: "m".into(),
            key: None,
        };
        let mut command = Command::new("evaluator");
        tell(&mut command, &candidate, Phase::Idle);
        let told = |name: &str| command.get_envs().find(|(known, _)| *known == name);
        assert_eq!(told("OPENAI_API_HOST").map(|(_, value)| value), Some(None));
        assert!(told("OPENAI_BASE_URL").is_some_and(|(_, value)| value.is_some()));
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

//! What is told of one replay, and kept beside its results.

use std::fmt;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::running::Process;

/// The file in a replay's directory that says what it was.
pub(super) const FILE: &str = "gate.json";

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Running,
    /// Every objective was met.
    Passed,
    /// One was missed.
    Failed,
    /// The measurement cannot be trusted.
    Invalid,
    /// It could not run.
    Error,
    /// Somebody ended it.
    Cancelled,
}

/// As its API says it.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl State {
    /// What an exit code of `reenact replay` says.
    pub(super) fn of(exit_code: Option<i32>) -> Self {
        match exit_code {
            Some(0) => Self::Passed,
            Some(3) => Self::Failed,
            Some(4) => Self::Invalid,
            _ => Self::Error,
        }
    }

    /// Whether there is a verdict, good or bad, or none to be had any more.
    pub(super) fn is_decided(self) -> bool {
        self != Self::Running
    }
}

/// One replay, as it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) id: String,
    /// What the caller calls it: asked for again under the same key, it is not run again.
    pub(super) key: String,
    pub(super) state: State,
    /// `NAME=URL`, as callers named them.
    #[serde(default)]
    pub(super) targets: Vec<String>,
    pub(super) started_at: String,
    /// Of the replay, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Process>,
    #[serde(default)]
    pub(super) ended_at: Option<String>,
    #[serde(default)]
    pub(super) exit_code: Option<i32>,
    /// Why it ended so.
    #[serde(default)]
    pub(super) reasons: Vec<String>,
    /// Each objective with its value, as the result document has it.
    #[serde(default)]
    pub(super) objectives: Vec<Value>,
    /// The path of its report, where there is one.
    #[serde(default)]
    pub(super) report: Option<String>,
}

impl Account {
    /// One that begins now.
    pub(super) fn begun(id: String, key: String, targets: Vec<String>) -> Self {
        Self {
            id,
            key,
            state: State::Running,
            targets,
            started_at: now(),
            process: None,
            ended_at: None,
            exit_code: None,
            reasons: Vec::new(),
            objectives: Vec::new(),
            report: None,
        }
    }

    /// It has ended; `dir` holds what it left. A replay that was `cancelled` has no verdict.
    pub(super) fn end(&mut self, dir: &Path, exit_code: Option<i32>, cancelled: bool) {
        self.ended_at = Some(now());
        self.process = None;
        self.exit_code = exit_code;
        self.state = if cancelled {
            State::Cancelled
        } else {
            State::of(exit_code)
        };
        if dir.join("report.html").is_file() {
            self.report = Some(format!("/replays/{}/report.html", self.id));
        }
        if let Some(told) = Told::read(dir) {
            self.reasons = told.verdict.reasons;
            self.objectives = told.verdict.objectives;
        }
        match self.state {
            State::Cancelled => self.reasons = vec!["it was ended before its end".to_owned()],
            State::Error => self.reasons = complaints(dir, exit_code),
            State::Failed if self.reasons.is_empty() => {
                let missed = self
                    .objectives
                    .iter()
                    .filter(|objective| objective["status"] == "fail");
                self.reasons = missed.filter_map(in_words).collect();
            }
            _ => {}
        }
    }

    /// Keeps it beside the results, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, dir: &Path) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.flush()?;
        file.persist(dir.join(FILE))?;
        Ok(())
    }

    /// What was kept there. One that ran when its gate was killed is ended, since it would be measured with the next, and told as an error.
    pub(super) fn kept(dir: &Path) -> Option<Self> {
        let bytes = std::fs::read(dir.join(FILE)).ok()?;
        let mut account: Self = serde_json::from_slice(&bytes).ok()?;
        if !account.state.is_decided() {
            if let Some(process) = account.process.take() {
                process.end();
            }
            account.state = State::Error;
            account.reasons = vec!["the gate ended before it did".to_owned()];
        }
        Some(account)
    }
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

fn in_words(objective: &Value) -> Option<String> {
    let text = |field: &str| objective[field].as_str();
    Some(format!(
        "{}: {}: {}",
        text("target")?,
        text("expr")?,
        text("reason")?
    ))
}

/// The part of a result document that is told.
#[derive(Deserialize)]
struct Told {
    verdict: Verdict,
}

#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default)]
    objectives: Vec<Value>,
}

impl Told {
    fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join("result.json")).ok()?).ok()
    }
}

/// The file in a replay's directory that has what it said.
pub(super) const LOG: &str = "replay.log";

/// Its last words: an error, and the hint that mends it.
fn complaints(dir: &Path, exit_code: Option<i32>) -> Vec<String> {
    let log = std::fs::read_to_string(dir.join(LOG)).unwrap_or_default();
    let told: Vec<String> = log
        .lines()
        .filter(|line| line.starts_with("error: ") || line.starts_with("hint: "))
        .map(str::to_owned)
        .collect();
    match (told.is_empty(), exit_code) {
        (false, _) => told,
        (true, Some(code)) => vec![format!("the replay ended with exit code {code}")],
        (true, None) => vec!["the replay was killed".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn ended(dir: &Path, exit_code: Option<i32>, cancelled: bool) -> Account {
        let mut account = Account::begun("000001".to_owned(), "k".to_owned(), Vec::new());
        account.end(dir, exit_code, cancelled);
        account
    }

    const RESULT: &str = r#"{"verdict":{"status":"fail","objectives":[
        {"target":"a","expr":"ttft.p99<1ms","status":"fail","reason":"3.00 ms against 1.00 ms"},
        {"target":"a","expr":"e2e.p99<1s","status":"pass","reason":"5.00 ms against 1.00 s"}]}}"#;

    #[test]
    fn exit_codes_are_states_and_missed_objectives_reasons() {
        let dir = dir_with(&[("result.json", RESULT), ("report.html", "")]);
        let account = ended(dir.path(), Some(3), false);
        assert_eq!(account.state, State::Failed);
        assert_eq!(account.state.to_string(), "failed", "as its API has it");
        assert_eq!(
            account.reasons,
            ["a: ttft.p99<1ms: 3.00 ms against 1.00 ms"]
        );
        assert_eq!(
            account.report.as_deref(),
            Some("/replays/000001/report.html")
        );
        assert_eq!(ended(dir.path(), Some(0), false).state, State::Passed);
        assert_eq!(ended(dir.path(), Some(4), false).state, State::Invalid);
        assert_eq!(ended(dir.path(), Some(0), true).state, State::Cancelled);
    }

    #[test]
    fn one_that_could_not_run_says_why() {
        let dir = dir_with(&[(LOG, "reading\nerror: no such trace\nhint: name one\n")]);
        let account = ended(dir.path(), Some(1), false);
        assert_eq!(account.state, State::Error);
        assert_eq!(account.reasons, ["error: no such trace", "hint: name one"]);
        assert_eq!(
            ended(dir_with(&[]).path(), None, false).reasons,
            ["the replay was killed"]
        );
    }

    #[test]
    fn what_ran_when_the_gate_ended_is_an_error_afterwards() {
        let dir = dir_with(&[]);
        let account = Account::begun("000001".to_owned(), "k".to_owned(), Vec::new());
        account.keep(dir.path()).unwrap();
        assert_eq!(Account::kept(dir.path()).unwrap().state, State::Error);
    }
}

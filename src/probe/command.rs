//! Any evaluator that runs as a command: its contract is an exit code and a little JSON (docs/quality.md).

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::process;
use super::{Candidate, Phase, tell};
use crate::measure::{EvaluatedTest, Evaluation, TestOutcome};

/// What it may print: one object, or as its last line.
#[derive(Deserialize)]
struct Printed {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    id: String,
    #[serde(default)]
    pass: Option<bool>,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    latency_ms: Option<f64>,
    /// There was nothing to judge.
    #[serde(default)]
    error: bool,
}

pub(super) fn evaluate(
    line: &str,
    candidate: &Candidate,
    phase: Phase,
    patience: Duration,
    give_up: &dyn Fn() -> bool,
) -> Result<Evaluation, String> {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    tell(&mut command, candidate, phase);
    let ended =
        process::run(&mut command, patience, give_up).map_err(|unended| unended.told("cmd"))?;
    let code = ended.status.code();
    if let Some(printed) = printed(&ended.printed) {
        return Ok(Evaluation {
            tests: printed.tests.into_iter().map(Test::evaluated).collect(),
            ..Evaluation::default()
        });
    }
    match code {
        // Without JSON the command is one test.
        Some(code @ (0 | 1)) => Ok(Evaluation {
            tests: vec![EvaluatedTest {
                id: "exit code".to_owned(),
                outcome: if code == 0 {
                    TestOutcome::Passed
                } else {
                    TestOutcome::Failed
                },
                ..EvaluatedTest::default()
            }],
            ..Evaluation::default()
        }),
        Some(code) => Err(ended.told(&format!("cmd: exit code {code} and no JSON"))),
        None => Err(ended.told("cmd: a signal ended it")),
    }
}

/// The whole of it, or its last line.
fn printed(text: &str) -> Option<Printed> {
    let last = || text.trim_end().lines().next_back().unwrap_or_default();
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(last()))
        .ok()
}

impl Test {
    fn evaluated(self) -> EvaluatedTest {
        EvaluatedTest {
            id: self.id,
            outcome: match (self.error, self.pass) {
                (false, Some(true)) => TestOutcome::Passed,
                (false, Some(false)) => TestOutcome::Failed,
                _ => TestOutcome::Error,
            },
            score: self.score.filter(|score| score.is_finite()),
            latency_ms: self.latency_ms.filter(|ms| ms.is_finite()),
            ..EvaluatedTest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            name: "candidate".into(),
            url: "http://127.0.0.1:1".into(),
            model: "m".into(),
            key: None,
        }
    }

    fn run(line: &str) -> Result<Evaluation, String> {
        evaluate(
            line,
            &candidate(),
            Phase::Loaded,
            Duration::from_secs(60),
            &|| false,
        )
    }

    #[test]
    fn its_json_counts_whatever_stands_before_it() {
        let line = r#"echo noise; printf '{"tests":[{"id":"a","pass":true,"score":0.5},{"id":"b","pass":false,"latency_ms":7},{"id":"c","error":true}]}'; exit 9"#;
        let tests = run(line).unwrap().tests;
        let outcomes: Vec<_> = tests.iter().map(|test| test.outcome).collect();
        assert_eq!(
            outcomes,
            [TestOutcome::Passed, TestOutcome::Failed, TestOutcome::Error]
        );
        assert_eq!(
            (tests[0].score, tests[1].latency_ms),
            (Some(0.5), Some(7.0))
        );
    }

    #[test]
    fn without_json_the_exit_code_is_the_test() {
        assert_eq!(run("true").unwrap().tests[0].outcome, TestOutcome::Passed);
        assert_eq!(run("exit 1").unwrap().tests[0].outcome, TestOutcome::Failed);
        let broken = run("echo no such module >&2; exit 2").unwrap_err();
        assert!(
            broken.contains("exit code 2") && broken.contains("no such module"),
            "{broken}"
        );
        let silent = run("exit 7").unwrap_err();
        assert_eq!(silent, "cmd: exit code 7 and no JSON");
    }

    #[test]
    fn it_is_told_whom_to_ask_and_when() {
        let line = r#"test "$OPENAI_BASE_URL $REENACT_PROBE_PHASE $REENACT_MODEL" = "http://127.0.0.1:1/v1 loaded m""#;
        assert_eq!(run(line).unwrap().tests[0].outcome, TestOutcome::Passed);
    }
}

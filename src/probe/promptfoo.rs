//! The user's own promptfoo, by the user's own configuration: addresses and keys come to its providers by environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::door::{Door, Passed};
use super::graders;
use super::process::{self, Unended};
use super::{Candidate, Phase, tell};
use crate::measure::{EvaluatedTest, Evaluation, TestOutcome};
use crate::replay::Target;

/// What it writes.
#[derive(Deserialize)]
struct Written {
    results: Results,
    #[serde(default)]
    config: Value,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(default)]
    success: bool,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    latency_ms: Option<f64>,
    #[serde(default)]
    prompt_idx: u64,
    #[serde(default)]
    test_idx: u64,
    #[serde(default)]
    provider: Value,
    /// 0 none, 1 an assertion, 2 an error of the provider.
    #[serde(default)]
    failure_reason: Option<u64>,
    #[serde(default)]
    grading_result: Option<Grading>,
    #[serde(default)]
    response: Option<Response>,
    /// With what the configuration gives to every test.
    #[serde(default)]
    test_case: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grading {
    #[serde(default)]
    component_results: Option<Vec<Component>>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    pass: bool,
    #[serde(default)]
    assertion: Option<Assertion>,
}

#[derive(Deserialize)]
struct Assertion {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    provider: Value,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    cached: bool,
}

pub(super) fn evaluate(
    config: &Path,
    target: &Target,
    candidate: &Candidate,
    phase: Phase,
    patience: Duration,
    give_up: &dyn Fn() -> bool,
) -> Result<Evaluation, String> {
    let place = |error: std::io::Error| format!("promptfoo: no place for its results: {error}");
    let dir = tempfile::tempdir().map_err(place)?;
    let out = dir.path().join("out.json");
    let door =
        Door::open(target, &candidate.model).map_err(|error| format!("promptfoo: {error}"))?;
    let behind = Candidate {
        url: door.url(),
        ..candidate.clone()
    };
    let mut command = Command::new(program(config));
    tell(&mut command, &behind, phase);
    command
        .arg("eval")
        .arg("-c")
        .arg(config)
        // From its cache it would answer without asking, and still pass every test of latency.
        .args(["--no-cache", "--no-table", "--no-progress-bar"])
        .arg("-o")
        .arg(&out)
        .env("PROMPTFOO_CONFIG_DIR", dir.path())
        .env("PROMPTFOO_CACHE_ENABLED", "false")
        .env("PROMPTFOO_DISABLE_TELEMETRY", "1")
        .env("PROMPTFOO_DISABLE_UPDATE", "1")
        .env("PROMPTFOO_DISABLE_SHARING", "1");
    let ended = process::run(&mut command, patience, give_up).map_err(|unended| match unended {
        Unended::Unstarted(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "promptfoo is not installed: npm install --global promptfoo; or name it in REENACT_PROMPTFOO"
                .to_owned()
        }
        other => other.told("promptfoo"),
    })?;
    let written = std::fs::read(&out).ok();
    let written = written.and_then(|bytes| serde_json::from_slice::<Written>(&bytes).ok());
    let Some(written) = written else {
        let code = ended
            .status
            .code()
            .map_or("a signal".to_owned(), |code| format!("exit code {code}"));
        return Err(ended.told(&format!("promptfoo: {code} and no results")));
    };
    let passed = door.passed();
    let elsewhere = own_addresses(&written.config);
    Ok(Evaluation {
        problem: problem(&written, candidate, &behind, &passed),
        remarks: passed
            .renamed
            .iter()
            .map(|name| renamed(name, &candidate.model))
            .collect(),
        // Providers that have the target's address by themselves went past the door.
        requests: elsewhere.is_empty().then_some(passed.requests),
        refused: elsewhere.is_empty().then_some(passed.refused),
        tests: written.results.results.iter().map(evaluated).collect(),
        ..Evaluation::default()
    })
}

/// Named by the user, else the project's own beside its configuration, else the one on the path.
fn program(config: &Path) -> PathBuf {
    if let Some(named) = std::env::var_os("REENACT_PROMPTFOO").filter(|named| !named.is_empty()) {
        return named.into();
    }
    let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let beside = config
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("node_modules/.bin/promptfoo"))
        .find(|program| program.is_file());
    beside.unwrap_or_else(|| PathBuf::from("promptfoo"))
}

/// Why its results are not what they seem.
fn problem(
    written: &Written,
    candidate: &Candidate,
    behind: &Candidate,
    passed: &Passed,
) -> Option<String> {
    let rows = &written.results.results;
    let cached = |row: &&Row| {
        row.response
            .as_ref()
            .is_some_and(|response| response.cached)
    };
    let cached = rows.iter().filter(cached).count();
    if cached > 0 {
        return Some(format!(
            "promptfoo: {cached} answers came from a cache, and not from the target"
        ));
    }
    let own = own_addresses(&written.config);
    let elsewhere = own.iter().find(|address| {
        [candidate, behind]
            .iter()
            .all(|it| !lies_at(address, &it.url))
    });
    if let Some(address) = elsewhere {
        return Some(format!(
            "promptfoo: its configuration sends to {address} by itself, so the target was not asked; leave apiBaseUrl out"
        ));
    }
    if let Some(kind) = self_graded(written) {
        return Some(format!(
            "promptfoo: the grader of `{kind}` has no address of its own, so the target graded its own answers; give defaultTest.options.provider \
             a config with apiBaseUrl and apiKeyEnvar (docs/quality.md)"
        ));
    }
    let silent = own.is_empty() && passed.requests == 0 && !rows.is_empty();
    silent.then(|| {
        format!(
            "promptfoo: it has {} results and sent the target nothing; its providers take no address from OPENAI_BASE_URL or ANTHROPIC_BASE_URL",
            rows.len()
        )
    })
}

fn renamed(asked: &str, model: &str) -> String {
    format!(
        "its configuration asks for `{asked}`, which the target does not have: it was asked for `{model}`"
    )
}

/// The kind of an assertion by which the target judged itself, where there is one.
fn self_graded(written: &Written) -> Option<&str> {
    let every_test = written.config.pointer(GRADER_OF_ALL);
    written.results.results.iter().find_map(|row| {
        let of_test = row.test_case.pointer("/options/provider");
        let checks = row.grading_result.as_ref()?.component_results.as_ref()?;
        checks.iter().find_map(|check| {
            let assertion = check.assertion.as_ref()?;
            let named = [Some(&assertion.provider), of_test, every_test];
            let grader = named.into_iter().flatten().find(|named| !named.is_null());
            graders::asks_target(&assertion.kind, grader).then_some(assertion.kind.as_str())
        })
    })
}

/// Whether an address is a server's, or of something below it: `http://m-old/v1` does not lie at `http://m`.
fn lies_at(address: &str, server: &str) -> bool {
    let below = address.strip_prefix(server.trim_end_matches('/'));
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Where a configuration names the grader of every test.
const GRADER_OF_ALL: &str = "/defaultTest/options/provider";

/// Addresses that providers of a configuration have of their own.
fn own_addresses(config: &Value) -> Vec<String> {
    let providers = config.get("providers").and_then(Value::as_array);
    providers
        .into_iter()
        .flatten()
        .filter_map(|provider| {
            // It may stand under its name: `- openai:chat:m: {config: …}`.
            let named = provider.as_object().filter(|it| it.len() == 1);
            let named = named.and_then(|it| it.values().next());
            let address = graders::own_address(provider).or_else(|| graders::own_address(named?));
            address?.as_str().map(str::to_owned)
        })
        .collect()
}

fn evaluated(row: &Row) -> EvaluatedTest {
    let provider = ["label", "id"]
        .iter()
        .filter_map(|key| row.provider.get(*key)?.as_str())
        .find(|name| !name.is_empty())
        .or_else(|| row.provider.as_str())
        .unwrap_or("provider");
    let components = row
        .grading_result
        .as_ref()
        .and_then(|graded| graded.component_results.as_ref());
    EvaluatedTest {
        id: format!(
            "test {}, prompt {}, {provider}",
            row.test_idx + 1,
            row.prompt_idx + 1
        ),
        outcome: match (row.success, row.failure_reason) {
            (true, _) => TestOutcome::Passed,
            (false, Some(2)) => TestOutcome::Error,
            (false, _) => TestOutcome::Failed,
        },
        score: row.score,
        latency_ms: row.latency_ms,
        checks: components
            .into_iter()
            .flatten()
            .filter_map(|component| {
                Some((component.assertion.as_ref()?.kind.clone(), component.pass))
            })
            .collect(),
        ..EvaluatedTest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = r#"{"results":{"version":3,"results":[
        {"success":true,"score":1,"latencyMs":12,"promptIdx":0,"testIdx":1,"provider":{"id":"openai:m","label":""},"failureReason":0,
         "response":{"output":"secret words","cached":false},
         "gradingResult":{"pass":true,"componentResults":[{"pass":true,"assertion":{"type":"latency","threshold":5000}}]}},
        {"success":false,"score":0,"latencyMs":3,"promptIdx":1,"testIdx":0,"provider":"anthropic:m","failureReason":2,"error":"429"},
        {"success":false,"promptIdx":0,"testIdx":0,"provider":{"id":"x"},"failureReason":1,
         "gradingResult":{"componentResults":[{"pass":false,"assertion":{"type":"javascript"}},{"pass":true,"assertion":null}]}}]},
        "config":{"providers":["openai:m",{"id":"x","config":{"apiBaseUrl":"https://elsewhere/v1"}}]}}"#;

    fn candidate(url: &str) -> Candidate {
        Candidate {
            name: "a".into(),
            url: url.into(),
            model: "m".into(),
            key: None,
        }
    }

    #[test]
    fn rows_are_told_by_test_prompt_and_provider_and_hold_no_answers() {
        let written: Written = serde_json::from_str(WRITTEN).unwrap();
        let tests: Vec<EvaluatedTest> = written.results.results.iter().map(evaluated).collect();
        assert_eq!(tests[0].id, "test 2, prompt 1, openai:m");
        assert_eq!(tests[1].id, "test 1, prompt 2, anthropic:m");
        let outcomes: Vec<_> = tests.iter().map(|test| test.outcome).collect();
        assert_eq!(
            outcomes,
            [TestOutcome::Passed, TestOutcome::Error, TestOutcome::Failed]
        );
        assert_eq!(tests[0].checks, [("latency".to_owned(), true)]);
        assert_eq!(tests[2].checks, [("javascript".to_owned(), false)]);
        assert!(!format!("{tests:?}").contains("secret"));
    }

    fn told_of(written: &Written, url: &str, requests: u64) -> Option<String> {
        let passed = Passed {
            requests,
            ..Passed::default()
        };
        problem(
            written,
            &candidate(url),
            &candidate("http://127.0.0.1:9"),
            &passed,
        )
    }

    #[test]
    fn results_without_a_request_are_told() {
        let mut written: Written = serde_json::from_str(WRITTEN).unwrap();
        written.config = Value::Null;
        let told = told_of(&written, "http://127.0.0.1:1", 0).unwrap();
        assert!(
            told.contains("3 results and sent the target nothing"),
            "{told}"
        );
        assert_eq!(told_of(&written, "http://127.0.0.1:1", 1), None);
    }

    #[test]
    fn a_configuration_with_an_address_of_its_own_is_told() {
        let written: Written = serde_json::from_str(WRITTEN).unwrap();
        let told = told_of(&written, "http://127.0.0.1:1", 3).unwrap();
        assert!(told.contains("https://elsewhere/v1"), "{told}");
        assert_eq!(told_of(&written, "https://elsewhere", 3), None);
        assert_eq!(told_of(&written, "https://elsewhere/", 3), None);
        // Not every address that begins alike is the target's.
        assert!(told_of(&written, "https://else", 3).is_some());
        let mut under_its_name = written;
        under_its_name.config = serde_json::json!({"providers": [
            {"openai:chat:m": {"config": {"apiBaseUrl": "https://elsewhere/v1"}}},
        ]});
        let told = told_of(&under_its_name, "http://127.0.0.1:1", 3).unwrap();
        assert!(told.contains("https://elsewhere/v1"), "{told}");
    }

    #[test]
    fn answers_from_a_cache_are_told() {
        let text = WRITTEN.replace("\"cached\":false", "\"cached\":true");
        let written: Written = serde_json::from_str(&text).unwrap();
        let told = told_of(&written, "https://elsewhere", 3).unwrap();
        assert!(told.contains("1 answers came from a cache"), "{told}");
    }

    #[test]
    fn a_grader_that_asks_the_target_is_told_wherever_it_is_named() {
        let graded = |assertion: &str, options: &str, all: &str| {
            let text = format!(
                r#"{{"results":{{"results":[{{"success":true,"testCase":{{"options":{options}}},
                    "gradingResult":{{"componentResults":[{{"pass":true,"assertion":{assertion}}}]}}}}]}},
                    "config":{{"defaultTest":{all}}}}}"#
            );
            let written: Written = serde_json::from_str(&text).unwrap();
            told_of(&written, "http://127.0.0.1:1", 2)
        };
        let rubric = r#"{"type":"llm-rubric"}"#;
        let told = graded(rubric, "{}", "null").unwrap();
        assert!(
            told.contains("`llm-rubric`") && told.contains("apiBaseUrl"),
            "{told}"
        );
        let own = r#"{"id":"openai:chat:judge","config":{"apiBaseUrl":"https://judge/v1"}}"#;
        let here = r#""openai:chat:judge""#;
        let options = |provider: &str| format!(r#"{{"provider":{provider}}}"#);
        let asserted = format!(r#"{{"type":"llm-rubric","provider":{own}}}"#);
        assert_eq!(graded(&asserted, &options(here), "null"), None);
        assert_eq!(graded(rubric, &options(own), "null"), None);
        assert_eq!(
            graded(rubric, "{}", &format!(r#"{{"options":{}}}"#, options(own))),
            None
        );
        assert!(graded(rubric, &options(here), "null").is_some());
        assert_eq!(graded(r#"{"type":"latency"}"#, "{}", "null"), None);
    }
}

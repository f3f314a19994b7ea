//! What promptfoo does without a word, by a stand-in for it.

use std::path::Path;
use std::process::Command;

use super::front::{refusing, refusing_front};
use super::support::{Server, reenact};
use super::{replay, status, trace};

/// A promptfoo that asks each test's question until it is not refused, as the real one does, and writes what it writes.
const STAND_IN: &str = r#"#!/usr/bin/env python3
import json, os, sys, urllib.request, urllib.error
out = sys.argv[sys.argv.index("-o") + 1]
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
asks = int(os.environ["STAND_IN_ASKS"])
check = os.environ.get("STAND_IN_CHECK")
grading = {"componentResults": [{"pass": True, "assertion": json.loads(check)}]} if check else None
rows = []
for test in range(2):
    for _ in range(asks):
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello promptfoo"}], "max_tokens": 2}).encode()
        while True:
            request = urllib.request.Request(url, body, {"content-type": "application/json"})
            try:
                urllib.request.urlopen(request).read()
                break
            except urllib.error.HTTPError as error:
                assert error.code == 429, error.code
    rows.append({"success": True, "score": 1, "latencyMs": 9, "promptIdx": 0, "testIdx": test, "provider": {"id": "openai:m"},
                 "failureReason": 0, "gradingResult": grading, "response": {"output": "x", "cached": False}})
json.dump({"results": {"version": 3, "results": rows}, "config": {}}, open(out, "w"))
"#;

fn with_stand_in(dir: &Path, asks: &str) -> (Command, String) {
    use std::os::unix::fs::PermissionsExt;
    let (program, config) = (dir.join("promptfoo"), dir.join("promptfooconfig.yaml"));
    std::fs::write(&program, STAND_IN).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(&config, "prompts: [hello]\n").unwrap();
    let mut command = reenact(["replay"]);
    command
        .env("REENACT_PROMPTFOO", &program)
        .env("STAND_IN_ASKS", asks);
    (command, format!("promptfoo:{}", config.display()))
}

#[test]
fn what_promptfoo_repeats_without_a_word_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 200);
    let sim = Server::sim(&["--profile", "fast"]);
    let front = refusing_front(&sim);
    let (mut command, probe) = with_stand_in(dir.path(), "1");
    let (_, document) = replay(
        &mut command,
        &trace,
        &["--target", &front, "--no-keep-alive", "--probe", &probe],
    );
    let quality = &document["targets"][0]["quality"];
    for phase in ["idle", "loaded"] {
        assert_eq!(quality[phase]["passed"], 2, "{quality:#}");
        assert_eq!(quality[phase]["requests"], 4, "{quality:#}");
        assert_eq!(quality[phase]["refused"], 2, "{quality:#}");
        assert!(
            quality[phase].get("latency_p50_ms").is_none(),
            "{quality:#}"
        );
    }
    let remark = quality["remarks"][0].as_str().unwrap();
    assert!(
        remark.contains("idle: the target refused 2 requests (429)"),
        "{remark}"
    );
}

#[test]
fn a_model_that_the_target_does_not_have_is_asked_for_under_the_targets_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 200);
    let sim = Server::sim(&["--profile", "fast"]);
    let front = refusing(&sim, |_, question| {
        question
            .contains(r#""model": "m""#)
            .then_some("404 Not Found")
    });
    let (mut command, probe) = with_stand_in(dir.path(), "1");
    let objective = "quality.pass_rate>=100%";
    let (_, document) = replay(
        &mut command,
        &trace,
        &[
            "--target",
            &front,
            "--no-keep-alive",
            "--probe",
            &probe,
            "--slo",
            objective,
        ],
    );
    let quality = &document["targets"][0]["quality"];
    for phase in ["idle", "loaded"] {
        assert_eq!(quality[phase]["passed"], 2, "{quality:#}");
        assert_eq!(quality[phase]["requests"], 2, "{quality:#}");
    }
    let remark = quality["remarks"][0].as_str().unwrap();
    assert!(
        remark.contains("idle: its configuration asks for `m`, which the target does not have"),
        "{remark}"
    );
    assert_eq!(status(&document, objective).0, "pass");
}

#[test]
fn its_questions_carry_the_headers_that_the_replays_own_do() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 200);
    let sim = Server::sim(&["--profile", "fast"]);
    // As a gateway before several tenants would.
    let front = refusing(&sim, |head, _| {
        (!head.contains("x-tenant: blue")).then_some("403 Forbidden")
    });
    let (mut command, probe) = with_stand_in(dir.path(), "1");
    let args = [
        "--target",
        &front,
        "--no-keep-alive",
        "--probe",
        &probe,
        "--header",
        "x-tenant: blue",
    ];
    let (_, document) = replay(&mut command, &trace, &args);
    let quality = &document["targets"][0]["quality"];
    for phase in ["idle", "loaded"] {
        assert_eq!(quality[phase]["passed"], 2, "{quality:#}");
    }
}

#[test]
fn a_target_that_grades_itself_has_not_passed() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100);
    let sim = Server::sim(&["--profile", "fast"]);
    let objective = "quality.pass_rate>=1%";
    let judged_by = |assertion: &str| {
        let (mut command, probe) = with_stand_in(dir.path(), "1");
        command.env("STAND_IN_CHECK", assertion);
        let args = ["--target", &sim.url, "--probe", &probe, "--slo", objective];
        let (_, document) = replay(&mut command, &trace, &args);
        let (status, reason) = status(&document, objective);
        (status.to_owned(), reason.to_owned())
    };
    let (status, reason) = judged_by(r#"{"type": "llm-rubric", "value": "is polite"}"#);
    assert_eq!(status, "not_measured");
    assert!(
        reason.contains("grader of `llm-rubric`") && reason.contains("apiBaseUrl"),
        "{reason}"
    );
    let own = r#"{"type": "llm-rubric", "provider": {"id": "openai:chat:judge", "config": {"apiBaseUrl": "https://judge.example/v1"}}}"#;
    let (status, reason) = judged_by(own);
    assert_eq!(status, "pass", "{reason}");
}

#[test]
fn a_promptfoo_that_answers_without_asking_has_measured_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 60);
    let sim = Server::sim(&["--profile", "fast"]);
    let (mut command, probe) = with_stand_in(dir.path(), "0");
    let objective = "quality.pass_rate>=1%";
    let (_, document) = replay(
        &mut command,
        &trace,
        &["--target", &sim.url, "--probe", &probe, "--slo", objective],
    );
    let (status, reason) = status(&document, objective);
    assert_eq!(status, "not_measured");
    assert!(
        reason.contains("2 results and sent the target nothing"),
        "{reason}"
    );
}

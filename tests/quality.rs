//! Answers judged by an evaluator, idle and under load, through the built binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use support::{Server, reenact, skipped, stdout_of};

/// A trace of short streams, 30 ms apart.
fn trace(dir: &Path, requests: u32) -> PathBuf {
    spaced(dir, requests, 30)
}

fn spaced(dir: &Path, requests: u32, apart_ms: u32) -> PathBuf {
    let rows: String = (0..requests)
        .map(|i| {
            let at = i * apart_ms;
            format!(r#"{{"timestamp":{at},"input_length":32,"output_length":4,"hash_ids":[{i}]}}"#)
                + "\n"
        })
        .collect();
    let (file, trace) = (dir.join("rows.jsonl"), dir.join("trace.rt"));
    std::fs::write(&file, rows).unwrap();
    let import = ["import".as_ref(), "mooncake".as_ref(), file.as_os_str()];
    stdout_of(import.into_iter().chain(["-o".as_ref(), trace.as_os_str()]));
    trace
}

fn replay(command: &mut Command, trace: &Path, args: &[&str]) -> (Output, Value) {
    let output = command
        .arg(trace)
        .args(args)
        .args(["--fidelity", "lateness=10s", "--fidelity", "ks=1", "--json"])
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output, document)
}

fn status<'a>(document: &'a Value, expr: &str) -> (&'a str, &'a str) {
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    let one = objectives.iter().find(|one| one["expr"] == expr).unwrap();
    (
        one["status"].as_str().unwrap(),
        one["reason"].as_str().unwrap(),
    )
}

#[test]
fn what_load_does_to_answers_is_told_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100);
    let sim = Server::sim(&["--profile", "fast"]);
    // It passes everything while idle, and one of two under load.
    let script = dir.path().join("judge");
    let text = "test \"$REENACT_TARGET_URL\" = \"$1\" || exit 7\n\
        if [ $REENACT_PROBE_PHASE = idle ]; then second=true ms=10; else second=false ms=30; fi\n\
        echo \"{\\\"tests\\\":[{\\\"id\\\":\\\"a\\\",\\\"pass\\\":true,\\\"latency_ms\\\":$ms,\\\"score\\\":0.5},{\\\"id\\\":\\\"b\\\",\\\"pass\\\":$second}]}\"\n";
    std::fs::write(&script, text).unwrap();
    let probe = format!("cmd:sh {} {}", script.display(), sim.url);
    let (output, document) = replay(
        &mut reenact(["replay"]),
        &trace,
        &[
            "--target",
            &sim.url,
            "--probe",
            &probe,
            "--slo",
            "quality.pass_rate>=40%",
            "--slo",
            "quality.flips<=0",
        ],
    );
    let quality = &document["targets"][0]["quality"];
    assert_eq!(quality["evaluator"], "cmd", "{quality:#}");
    assert_eq!(
        (
            &quality["idle"]["pass_rate"],
            &quality["loaded"]["pass_rate"]
        ),
        (&1.0.into(), &0.5.into())
    );
    assert_eq!(quality["worsened"], serde_json::json!(["b"]));
    assert_eq!(quality["overlap"], 1.0, "{quality:#}");
    let latency = serde_json::json!({"n": 1, "idle": 10.0, "loaded": 30.0, "change": 20.0});
    assert_eq!(quality["latency_ms"], latency, "{quality:#}");
    assert_eq!(quality["latencies"][0]["id"], "a");
    assert_eq!(quality["score"]["change"], 0.0);
    assert_eq!(status(&document, "quality.pass_rate>=40%").0, "pass");
    assert_eq!(status(&document, "quality.flips<=0").0, "fail");
    assert_eq!(output.status.code(), Some(3));
}

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

/// Refuses every second question with 429 before a simulator, one request a connection.
fn refusing_front(sim: &Server) -> String {
    let questions = AtomicU64::new(0);
    front(sim, move |_| {
        let odd = !questions.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        (!odd).then_some("429 Too Many Requests")
    })
}

/// Stands before a simulator, one request a connection; `judge` says by what status a question of promptfoo's is refused.
fn front(
    sim: &Server,
    judge: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let behind: Arc<str> = sim.url.trim_start_matches("http://").into();
    let judge = Arc::new(judge);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (behind, judge) = (Arc::clone(&behind), Arc::clone(&judge));
            // A client that breaks off ends its own thread.
            std::thread::spawn(move || {
                client.and_then(|client| answer_or_refuse(client, &behind, &*judge))
            });
        }
    });
    url
}

fn answer_or_refuse(
    mut client: TcpStream,
    behind: &str,
    judge: &dyn Fn(&str) -> Option<&'static str>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    // The replay's own requests are of other words.
    let question = String::from_utf8_lossy(&body);
    let is_question = question.contains("hello promptfoo");
    if let Some(status) = is_question.then(|| judge(&question)).flatten() {
        let refusal =
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return client.write_all(refusal.as_bytes());
    }
    let mut server = TcpStream::connect(behind)?;
    let head = String::from_utf8(head).unwrap();
    for line in head.lines().filter(|line| !line.is_empty()) {
        if !line.to_lowercase().starts_with("connection:") {
            server.write_all(format!("{line}\r\n").as_bytes())?;
        }
    }
    server.write_all(b"connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    std::io::copy(&mut server, &mut client).map(drop)
}

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
    let front = front(&sim, |question| {
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

#[test]
fn an_evaluator_that_is_missing_fails_or_hangs_costs_the_replay_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 40);
    let sim = Server::sim(&["--profile", "fast"]);
    let config = dir.path().join("promptfooconfig.yaml");
    std::fs::write(&config, "prompts: [hello]\n").unwrap();
    let promptfoo = format!("promptfoo:{}", config.display());
    for (probe, word) in [
        (promptfoo.as_str(), "promptfoo is not installed"),
        (
            "cmd:echo out of order >&2; exit 5",
            "exit code 5 and no JSON: out of order",
        ),
        ("cmd:sleep 1000", "no end after 300ms"),
    ] {
        let mut command = reenact(["replay"]);
        command.env("REENACT_PROMPTFOO", "/nowhere/promptfoo");
        let (output, document) = replay(
            &mut command,
            &trace,
            &[
                "--target",
                &sim.url,
                "--probe",
                probe,
                "--probe-timeout",
                "300ms",
                "--slo",
                "quality.pass_rate>=1%",
            ],
        );
        assert_eq!(document["targets"][0]["requests"]["ok"], 40, "{probe}");
        let (status, reason) = status(&document, "quality.pass_rate>=1%");
        assert_eq!(status, "not_measured", "{probe}");
        assert!(reason.contains(word), "{probe}: {reason}");
        assert_eq!(output.status.code(), Some(3), "{probe}");
    }
}

/// A replay against one or two targets.
fn canary(trace: &Path, targets: &[&Server], args: &[&str]) -> (Output, Value) {
    let named: Vec<String> = targets
        .iter()
        .zip(["stable", "candidate"])
        .map(|(sim, name)| format!("{name}={}", sim.url))
        .collect();
    let mut all: Vec<&str> = Vec::new();
    for target in &named {
        all.extend(["--target", target.as_str()]);
    }
    all.extend(args);
    replay(&mut reenact(["replay"]), trace, &all)
}

#[test]
fn answers_that_depend_on_the_batch_are_found_and_those_that_do_not_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let trace = spaced(dir.path(), 500, 10);
    let prompts = dir.path().join("prompts.txt");
    std::fs::write(&prompts, "# ours\nmarmalade recipe\n\nzeppelin history\n").unwrap();
    let probe = format!("canary:{}", prompts.display());
    // Whatever else is in the engine changes its answers; while it is idle it gives the same again.
    let steady = Server::sim(&["--profile", "fast"]);
    let drifting = Server::sim(&[
        "--profile",
        "fast",
        "--nondeterministic-above",
        "1",
        "--slowdown",
        "20",
    ]);
    let (output, document) = canary(
        &trace,
        &[&steady, &drifting],
        &[
            "--probe",
            &probe,
            "--slo",
            "quality.canary.identical>=99%",
            "--slo",
            "quality.canary.distance<=0.01",
        ],
    );
    let [stable, candidate] =
        [0, 1].map(|target| &document["targets"][target]["quality"]["canary"]);
    for (quality, phase) in [(stable, "idle"), (stable, "loaded"), (candidate, "idle")] {
        assert_eq!(
            (&quality[phase]["n"], &quality[phase]["identical"]),
            (&2.into(), &2.into()),
            "{phase}: {quality:#}"
        );
    }
    assert_eq!(candidate["loaded"]["identical"], 0, "{candidate:#}");
    assert!(candidate["loaded"]["distance_mean"].as_f64().unwrap() > 0.5);
    assert_eq!(
        candidate["loaded"]["changed"],
        serde_json::json!(["line 2", "line 4"])
    );
    // Both are simulators of one seed, so idle they say the same.
    assert_eq!(candidate["first"]["identical"], 2, "{candidate:#}");
    assert!(stable.get("first").is_none());
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    let judged: Vec<_> = objectives
        .iter()
        .map(|one| {
            (
                one["target"].as_str().unwrap(),
                one["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        judged
            .iter()
            .filter(|one| **one == ("stable", "pass"))
            .count(),
        2
    );
    assert_eq!(
        judged
            .iter()
            .filter(|one| **one == ("candidate", "fail"))
            .count(),
        2
    );
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("marmalade") && !said.contains("zeppelin"),
        "{said}"
    );
}

#[test]
fn a_target_of_another_seed_answers_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 60);
    let sims = [
        Server::sim(&["--profile", "fast"]),
        Server::sim(&["--profile", "fast", "--seed", "99"]),
    ];
    let (_, document) = canary(&trace, &[&sims[0], &sims[1]], &["--probe", "canary"]);
    let quality = &document["targets"][1]["quality"];
    assert_eq!(quality["canary"]["idle"]["identical"], 12, "{quality:#}");
    assert_eq!(quality["canary"]["first"]["identical"], 0, "{quality:#}");
}

#[test]
fn a_probe_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 1);
    for (probe, word) in [
        (
            "promptfoo:nowhere.yaml",
            "nowhere.yaml: there is no such file",
        ),
        ("canary:nowhere.txt", "nowhere.txt: "),
        (
            "deepeval",
            "write promptfoo:FILE, cmd:COMMAND, canary or canary:FILE",
        ),
    ] {
        let mut command = reenact(["replay"]);
        command
            .arg(&trace)
            .args(["--target", "http://127.0.0.1:1", "--probe", probe]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn runs_that_nobody_would_judge_are_refused_before_anything_is_sent() {
    for (args, word) in [
        (&["--sweep", "1,2"][..], "--sweep or --find-max"),
        (
            &["--find-max", "--slo", "errors.rate<1%"],
            "--sweep or --find-max",
        ),
        (&["--shard", "0/2"], "--shard"),
    ] {
        let output = reenact(["replay", "x.rt", "--target", "http://127.0.0.1:1"])
            .args(["--probe", "canary"])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("--probe does not go with {word}")) && said.contains("hint: "),
            "{said}"
        );
    }
}

/// The example that users come with: two prompts, two providers, an assertion on latency and one in JavaScript.
const CONFIG: &str = "
prompts:
  - 'Write a tweet about {{topic}}'
  - 'Write a concise, funny tweet about {{topic}}'
providers:
  - openai:chat:gpt-4o-mini
  - anthropic:messages:claude-3-5-haiku-20241022
defaultTest:
  assert:
    - type: latency
      threshold: 5000
    - type: javascript
      value: output.length < 500
tests:
  - vars: { topic: bananas }
  - vars: { topic: avocado toast }
";

#[test]
#[ignore = "needs promptfoo (1.4 GB of npm): npm install promptfoo, and its program in REENACT_PROMPTFOO"]
fn a_real_promptfoo_runs_as_its_user_wrote_it() {
    if std::env::var_os("REENACT_PROMPTFOO").is_none() {
        skipped("REENACT_PROMPTFOO names no promptfoo");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 2000);
    let config = dir.path().join("promptfooconfig.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let sims = [(); 2].map(|()| Server::sim(&["--profile", "fast"]));
    let key = dir.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    let (output, document) = replay(
        &mut reenact(["replay"]),
        &trace,
        &[
            "--target",
            &format!("stable={}", sims[0].url),
            "--target",
            &format!("candidate={}", sims[1].url),
            "--api-key-file",
            key.to_str().unwrap(),
            "--probe",
            &format!("promptfoo:{}", config.display()),
            "--slo",
            "quality.pass_rate>=90%",
            "--slo",
            "quality.pass_rate>-5%",
        ],
    );
    for target in 0..2 {
        let quality = &document["targets"][target]["quality"];
        for phase in ["idle", "loaded"] {
            assert_eq!(quality[phase]["n"], 8, "{quality:#}");
            assert_eq!(quality[phase]["passed"], 8, "{quality:#}");
            assert_eq!(quality[phase]["requests"], 8, "{quality:#}");
            assert_eq!(
                quality[phase]["checks"]["latency"],
                serde_json::json!([8, 8])
            );
            assert_eq!(
                quality[phase]["checks"]["javascript"],
                serde_json::json!([8, 8])
            );
        }
        assert!(quality.get("problems").is_none(), "{quality:#}");
    }
    assert_eq!(status(&document, "quality.pass_rate>=90%").0, "pass");
    assert_eq!(status(&document, "quality.pass_rate>-5%").0, "pass");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("s3cret"));
}

//! `reenact gate`: a controller starts a replay with a POST and polls its verdict.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::Server;
use support::http::{connect, status};
use support::traffic::short_requests;

/// What a gate answered.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn ask(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("\r\n{body}"));
    let mut stream = connect(url);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    let text = String::from_utf8(answer.clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: status(&answer),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Fidelity is no matter of these tests: the machine may be busy.
const LOOSE: [&str; 4] = ["--fidelity", "lateness=10s", "--fidelity", "ks=1"];

fn gate(dir: &Path, options: &[&str], replay: &[&str]) -> Server {
    Server::launch(&mut gate_command(dir, options, replay))
}

fn gate_command(dir: &Path, options: &[&str], replay: &[&str]) -> Command {
    let mut command = support::reenact(["gate", "--listen", "127.0.0.1:0", "--results"]);
    command.arg(dir.join("results")).args(options).arg("--");
    command.args(replay).args(LOOSE);
    command
}

/// Polls until it is decided.
fn decided(url: &str, path: &str) -> Value {
    support::answered(|| {
        let answer = ask(url, "GET", path, &[], "");
        match answer.status {
            200 => return Ok(answer.json()),
            202 => assert!(answer.head.contains("retry-after"), "{}", answer.head),
            other => panic!("{other}: {}", answer.body),
        }
        Err(answer.body)
    })
}

#[test]
fn a_trace_that_is_not_there_yet_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let there = short_requests(dir.path(), 1);
    let missing = dir.path().join("nowhere.rt");
    let traces = [&there, &missing].map(|path| path.to_str().unwrap());
    let replay = [traces[0], traces[1], "--target=http://127.0.0.1:1"];
    let (_, log) = gate(dir.path(), &[], &replay).terminate();
    assert!(
        log.contains("nowhere.rt: No such file") && !log.contains(traces[0]),
        "{log}"
    );
}

#[test]
fn why_a_gate_cannot_start_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let results = dir.path().to_str().unwrap();
    let file = file.to_str().unwrap();
    let at_a_file = format!("cannot keep results in {file}: it is not a directory\n");
    for (listen, results, says, mend) in [
        (
            &*taken,
            results,
            "cannot listen on 127.0.0.1:",
            "hint: --listen names a free address",
        ),
        (
            "127.0.0.1:0",
            file,
            &*at_a_file,
            "hint: --results names a directory",
        ),
    ] {
        let command = ["gate", "--listen", listen, "--results", results];
        let replay = ["--", "t.rt", "--target=http://127.0.0.1:1"];
        let output = support::run([&command[..], &replay].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says) && said.contains(mend), "{said}");
    }
}

#[test]
fn a_post_starts_a_replay_and_polling_tells_its_verdict() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 50);
    let trace = trace.to_str().unwrap();
    let slow = format!("--target=candidate={}", sim.url);
    let gate = gate(
        dir.path(),
        &[],
        &[
            trace,
            &slow,
            "--slo",
            "errors.rate<1%",
            "--slo",
            "e2e.p50<1us",
        ],
    );
    let begun = ask(&gate.url, "POST", "/replays", &[], r#"{"key":"release 7"}"#);
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert!(begun.head.contains("location: /replays/000001"));
    assert_eq!(begun.json()["state"], "running");
    // Asked for again, it is the same one; another has to wait.
    let again = ask(&gate.url, "POST", "/replays", &[], r#"{"key":"release 7"}"#);
    assert_eq!(again.json()["id"], "000001");
    let other = ask(&gate.url, "POST", "/replays", &[], "");
    assert_eq!(other.status, 409, "{}", other.body);
    assert_eq!(other.json()["running"]["id"], "000001");
    let undecided = ask(
        &gate.url,
        "POST",
        "/verdicts",
        &[],
        r#"{"key":"release 7"}"#,
    );
    assert_eq!(undecided.status, 503, "{}", undecided.body);

    let told = decided(&gate.url, "/replays/latest");
    assert_eq!(told["state"], "failed", "{told}");
    assert_eq!(told["exit_code"], 3);
    let reason = told["reasons"][0].as_str().unwrap();
    assert!(reason.contains("e2e.p50<1us"), "{reason}");
    assert_eq!(told["objectives"].as_array().unwrap().len(), 2);
    let report = ask(&gate.url, "GET", told["report"].as_str().unwrap(), &[], "");
    assert!(report.status == 200 && report.body.contains("<html"));
    let verdict = ask(
        &gate.url,
        "POST",
        "/verdicts",
        &[],
        r#"{"key":"release 7"}"#,
    );
    assert_eq!(
        (verdict.status, &verdict.json()["state"]),
        (200, &json!("failed"))
    );
    // Nothing else of the directory is to be had.
    for path in [
        "/replays/000001/gate.json",
        "/replays/000001/..%2f..%2ftrace.rt",
    ] {
        assert_eq!(ask(&gate.url, "GET", path, &[], "").status, 404, "{path}");
    }

    // What was decided is still known to the next gate.
    drop(gate);
    let next = self::gate(dir.path(), &[], &[trace, &slow]);
    assert_eq!(decided(&next.url, "/replays/000001")["state"], "failed");
    // Forgotten, its key may be used again.
    assert_eq!(
        ask(&next.url, "DELETE", "/replays/000001", &[], "").status,
        200
    );
    assert!(!dir.path().join("results/000001").exists());
    let begun = ask(&next.url, "POST", "/replays", &[], r#"{"key":"release 7"}"#);
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(decided(&next.url, "/replays/latest")["state"], "passed");
}

#[test]
fn a_replay_is_ended_by_its_caller_or_with_its_gate() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 50);
    let target = format!("--target=a={}", sim.url);
    let endless = [trace.to_str().unwrap(), &target, "--loop-for", "1h"];
    let first = gate(dir.path(), &[], &endless);
    ask(&first.url, "POST", "/replays", &[], r#"{"key":"a"}"#);
    assert_eq!(
        ask(&first.url, "DELETE", "/replays/latest", &[], "").status,
        202
    );
    assert_eq!(decided(&first.url, "/replays/latest")["state"], "cancelled");
    // A key whose replay was cancelled has no verdict: it is run anew.
    let begun = ask(&first.url, "POST", "/replays", &[], r#"{"key":"a"}"#);
    assert_eq!(begun.json()["id"], "000002", "{}", begun.body);
    let (status, said) = first.terminate();
    assert!(status.success(), "{said}");
    let kept = std::fs::read(dir.path().join("results/000002/gate.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["state"], "cancelled");
}

/// Whether a process is there: gone, or a zombie until someone looks after it, it is not.
fn is_there(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|state| !state.contains(") Z "))
}

fn wait_for_the_end_of(pid: &str) {
    support::answered(|| match is_there(pid) {
        true => Err(format!("{pid} goes on")),
        false => Ok(()),
    });
}

#[test]
fn what_a_killed_gate_had_started_ends_with_it() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 50);
    let target = format!("--target=a={}", sim.url);
    // An evaluator that hangs, and what it has started.
    let pids = dir.path().join("pids");
    let probe = format!("cmd:sleep 1000 & echo $$ $! end > {}; wait", pids.display());
    let judged = [trace.to_str().unwrap(), &target, "--probe", &probe];
    let mut first = gate(dir.path(), &[], &judged);
    let begun = ask(&first.url, "POST", "/replays", &[], "").json();
    let replay = begun["process"]["pid"].to_string();
    let told = support::answered(|| {
        let told = std::fs::read_to_string(&pids).unwrap_or_default();
        told.contains("end").then_some(told).ok_or_else(String::new)
    });
    let evaluator: Vec<&str> = told.split_whitespace().take(2).collect();
    let all = [evaluator.as_slice(), &[&replay]].concat();
    assert!(all.iter().all(|pid| is_there(pid)), "{all:?}");
    first.signal(rustix::process::Signal::KILL);
    first.wait();
    all.iter().for_each(|pid| wait_for_the_end_of(pid));
    let next = gate(dir.path(), &[], &judged);
    assert_eq!(decided(&next.url, "/replays/latest")["state"], "error");
}

#[test]
fn where_no_shell_is_what_a_killed_gate_left_running_is_ended_by_the_next() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 50);
    let target = format!("--target=a={}", sim.url);
    let endless = [trace.to_str().unwrap(), &target, "--loop-for", "1h"];
    let mut command = gate_command(dir.path(), &[], &endless);
    let mut first = Server::launch_with(command.env("PATH", "/nowhere"), Stdio::null());
    let begun = ask(&first.url, "POST", "/replays", &[], r#"{"key":"a"}"#).json();
    let pid = begun["process"]["pid"].to_string();
    first.signal(rustix::process::Signal::KILL);
    first.wait();
    // Nobody was left who would end it.
    assert!(is_there(&pid));
    let next = gate(dir.path(), &[], &endless);
    assert_eq!(decided(&next.url, "/replays/latest")["state"], "error");
    wait_for_the_end_of(&pid);
}

#[test]
fn callers_name_targets_where_they_may_and_bring_the_token() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 20);
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let options = [
        "--allow-target",
        "127.0.0.1",
        "--token-file",
        token.to_str().unwrap(),
    ];
    let gate = gate(
        dir.path(),
        &options,
        &[trace.to_str().unwrap(), "--slo", "errors.rate<1%"],
    );
    let admitted = [("Authorization", "Bearer s3cret")];
    let post = |headers: &[(&str, &str)], path: &str, body: &Value| {
        ask(&gate.url, "POST", path, headers, &body.to_string())
    };
    let there = json!({"key": "k", "targets": [{"name": "canary", "url": sim.url}]});
    assert_eq!(post(&[], "/replays", &there).status, 401);
    assert_eq!(
        post(&[("Authorization", "Bearer s3cre")], "/replays", &there).status,
        401
    );
    assert_eq!(ask(&gate.url, "GET", "/healthz", &[], "").status, 200);
    let elsewhere = json!({"targets": [{"name": "a", "url": "http://192.0.2.1:8000"}]});
    assert_eq!(post(&admitted, "/replays", &elsewhere).status, 403);
    assert_eq!(post(&admitted, "/replays", &json!({})).status, 400);
    assert_eq!(
        post(&admitted, "/replays", &json!({"key": "x".repeat(70_000)})).status,
        413
    );

    // Flagger asks again and again, and promotes on 200.
    let hook = json!({
        "name": "chat", "namespace": "prod", "phase": "Progressing", "checksum": "85d557f47b",
        "metadata": {"targets": format!("canary={}", sim.url)},
    });
    assert_eq!(post(&admitted, "/flagger/rollback", &hook).status, 404);
    support::answered(|| {
        let answer = post(&admitted, "/flagger/confirm", &hook);
        match answer.status {
            200 => Ok(()),
            503 => Err(answer.body),
            other => panic!("{other}: {}", answer.body),
        }
    });
    assert_eq!(post(&admitted, "/flagger/rollback", &hook).status, 412);
    // The same key for another candidate is no verdict on that one.
    let other =
        json!({"key": "prod/chat/85d557f47b", "targets": [{"name": "other", "url": sim.url}]});
    assert_eq!(post(&admitted, "/verdicts", &other).status, 409);
    let keyless = json!({"targets": [{"name": "canary", "url": sim.url}]});
    assert_eq!(post(&admitted, "/verdicts", &keyless).status, 400);
    let all = ask(&gate.url, "GET", "/replays", &admitted, "").json();
    assert_eq!(all[0]["targets"][0], format!("canary={}", sim.url));
    assert_eq!(all.as_array().unwrap().len(), 1);
}

#[test]
fn a_replay_that_cannot_run_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let gate = gate(
        dir.path(),
        &[],
        &["/nowhere.rt", "--target", "http://127.0.0.1:1"],
    );
    ask(&gate.url, "POST", "/replays", &[], "");
    let told = decided(&gate.url, "/replays/latest");
    assert_eq!(told["state"], "error", "{told}");
    assert!(
        told["reasons"][0].as_str().unwrap().contains("/nowhere.rt"),
        "{told}"
    );
}

#[test]
fn a_command_line_that_no_gate_can_run_is_told_at_its_start() {
    for (line, told) in [
        (
            vec!["t.rt", "--target", "http://a", "--speeed", "2"],
            "--speeed",
        ),
        (vec!["t.rt"], "--target"),
        (
            vec!["t.rt", "--target", "http://a", "--out", "x"],
            "--results",
        ),
        (vec!["t.rt", "--target", "http://a", "--json"], "--json"),
    ] {
        let args = ["gate", "--listen", "127.0.0.1:0", "--"]
            .into_iter()
            .chain(line);
        let output = support::run(args);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(told) && said.contains("hint: "), "{said}");
    }
}

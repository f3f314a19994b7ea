//! What a replay's clients are like, told by the result: how fast they read, what they speak, and which connections they have.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::traffic::requests_at;
use support::{Server, exchanges, python, reenact, stdout_of};

/// Answers of a thousand tokens, some 200 KB each.
const TOKENS: u32 = 1000;
const REQUESTS: u64 = 8;

/// Replays a few long streams; the result, held to its schema.
fn replayed(dir: &Path, url: &str, args: &[&str]) -> Value {
    let trace = requests_at(dir, (0..REQUESTS).map(|i| i * 20), (32, TOKENS));
    let result = replayed_trace(dir, &trace, url, args);
    assert_eq!(result["targets"][0]["requests"]["ok"], REQUESTS);
    result
}

/// The result of a replay, held to its schema.
fn replayed_trace(dir: &Path, trace: &Path, url: &str, args: &[&str]) -> Value {
    let out = dir.join("out");
    let output = reenact(["replay"])
        .arg(trace)
        .args(["--target", url, "--out"])
        .arg(&out)
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // 4 where the machine was too busy to pace; the files are the same.
    assert!(matches!(output.status.code(), Some(0 | 4)), "{said}");
    let result = out.join("result.json");
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/result.schema.json");
    let validate = "import json, jsonschema, sys; jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    let validated = python()
        .args(["-c", validate, schema])
        .arg(&result)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&validated.stderr);
    assert!(validated.status.success(), "{said}");
    serde_json::from_slice(&std::fs::read(result).unwrap()).unwrap()
}

fn e2e_ms(result: &Value, figure: &str) -> f64 {
    result["targets"][0]["latency"]["e2e_ms"][figure]
        .as_f64()
        .unwrap()
}

fn remarks(result: &Value) -> String {
    result["targets"][0]["fidelity"]["remarks"].to_string()
}

#[test]
fn slow_readers_wait_for_their_links_and_the_result_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let result = replayed(dir.path(), &sim.url, &["--read-rate", "128KiB/s"]);
    // At least 150 bytes an event, less what the link's own window holds.
    let least_ms = f64::from(TOKENS) * 150.0 / 131.072 - 100.0;
    assert!(e2e_ms(&result, "min") > least_ms, "{result}");
    let rate = &result["plan"]["read_rate"];
    assert_eq!(
        (&rate["bytes_per_s"], &rate["share"]),
        (&131_072.into(), &1.0.into())
    );
    let said = remarks(&result);
    assert!(
        said.contains(
            "8 requests had clients that take at most 128.0 KiB/s (--read-rate), and 8 of"
        ),
        "{said}"
    );
    assert_eq!(result["targets"][0]["protocol"], "http/1.1");
}

#[test]
fn a_share_of_the_clients_is_slow_over_http2_too() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    // It speaks HTTP/2 to clients that do, whatever the simulator speaks.
    let recorder = Server::recorder(&sim.url, dir.path(), &["--upstream-protocol", "http1"]);
    let args = ["--http2", "--read-rate", "128KiB/s:50%"];
    let result = replayed(dir.path(), &recorder.url, &args);
    assert_eq!(result["targets"][0]["protocol"], "h2c");
    assert_eq!(result["plan"]["read_rate"]["share"], 0.5);
    let least_ms = f64::from(TOKENS) * 150.0 / 131.072 - 100.0;
    assert!(e2e_ms(&result, "max") > least_ms, "{result}");
    let said = remarks(&result);
    assert!(said.contains("over HTTP/2: 2 connections"), "{said}");
    // As the hash has it.
    assert!(said.contains("3 requests had clients that take"), "{said}");
}

/// Which of a trace's requests for tokens were the first on their connections.
fn first_on_theirs(trace: &Path) -> Vec<bool> {
    let exchanges = exchanges(trace);
    let inference = exchanges.iter().filter(|it| it["method"] == "POST");
    inference
        .map(|it| it["new_connection"].as_bool().unwrap())
        .collect()
}

/// A trace of short streams, one every 40 ms, that tells which were the first on their connections.
fn with_connections(dir: &Path, begins: &[bool]) -> PathBuf {
    let at_ms = (0..begins.len() as u64).map(|i| i * 40);
    let trace = requests_at(dir, at_ms, (32, 4));
    let lines: String = exchanges(&trace)
        .into_iter()
        .zip(begins)
        .map(|(mut exchange, &begins)| {
            exchange["new_connection"] = begins.into();
            // As long as an answer takes, as a recorder knows it.
            exchange["response"]["end_us"] = 5_000.into();
            format!("{exchange}\n")
        })
        .collect();
    let (rows, trace) = (dir.join("told.jsonl"), dir.join("told.rt"));
    std::fs::write(&rows, lines).unwrap();
    let import = ["import".as_ref(), "jsonl".as_ref(), rows.as_os_str()];
    stdout_of(import.into_iter().chain(["-o".as_ref(), trace.as_os_str()]));
    trace
}

#[test]
fn connections_are_as_recorded_and_record_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let begins = [true, false, true, false, false, true, true, false];
    let trace = with_connections(dir.path(), &begins);
    let sim = Server::sim(&["--profile", "null"]);
    let again = dir.path().join("again");
    let recorder = Server::recorder(&sim.url, &again, &[]);
    let args = ["--threads", "1"];
    let result = replayed_trace(dir.path(), &trace, &recorder.url, &args);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert_eq!(first_on_theirs(&again), begins);
    let mode = &result["plan"]["connections"];
    assert_eq!(mode, &serde_json::json!({"mode": "recorded"}));
    let said = remarks(&result);
    assert!(
        said.contains(
            "4 requests began a connection in the trace, and 4 of them did here; 4 used one again, and 4 of them did"
        ),
        "{said}"
    );
}

#[test]
fn the_plan_says_which_connections_there_will_be() {
    let dir = tempfile::tempdir().unwrap();
    let told = with_connections(dir.path(), &[true, true, false]);
    let silent = dir.path().join("trace.rt");
    let plan = |trace: &Path, args: &[&str]| {
        let run = |form: &[&str]| {
            let output = reenact(["replay", "--dry-run", "--target", "http://127.0.0.1:9"])
                .arg(trace)
                .args(args)
                .args(form)
                .output()
                .unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        let json = run(&["--json"]);
        let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        let lines = run(&[]);
        let line = lines.lines().find(|line| line.starts_with("connections "));
        (
            first["plan"]["connections"].to_string(),
            line.unwrap_or_default().to_owned(),
        )
    };
    let requests = "2 requests began one in the trace, 1 used one again";
    let mode = |mode: &str| format!(r#"{{"mode":"{mode}"}}"#);
    for (args, json, words) in [
        (&[][..], mode("recorded"), "as recorded; "),
        (
            &["--connections", "recorded"],
            mode("recorded"),
            "as recorded; ",
        ),
        (
            &["--connections", "shared"],
            mode("shared"),
            "shared by all requests; ",
        ),
        (
            &["--connections", "7"],
            r#"{"limit":7,"mode":"at_most"}"#.to_owned(),
            "shared by all requests; at most 7 at once; ",
        ),
        (
            &["--no-keep-alive"],
            mode("one_each"),
            "one for each request; ",
        ),
        (&["--http2"], mode("shared"), "shared by all requests; "),
    ] {
        let words = format!("connections {words}{requests}");
        assert_eq!(plan(&told, args), (json, words), "{args:?}");
    }
    assert_eq!(plan(&silent, &[]), (mode("shared"), String::new()));
    let both = reenact(["replay", "--dry-run", "--target", "http://127.0.0.1:9"])
        .arg(&told)
        .args(["--http2", "--connections", "recorded"])
        .output()
        .unwrap();
    assert_eq!(both.status.code(), Some(2));
    let untold = reenact(["replay", "--dry-run", "--target", "http://127.0.0.1:9"])
        .arg(&silent)
        .args(["--connections", "recorded"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&untold.stderr);
    assert_eq!(untold.status.code(), Some(1), "{said}");
    assert!(
        said.contains("does not tell") && said.contains("hint: leave --connections out"),
        "{said}"
    );
}

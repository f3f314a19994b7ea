//! What a replay's clients are like, told by the result: how fast they read, and what they speak.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::traffic::requests_at;
use support::{Server, python, reenact};

/// Answers of a thousand tokens, some 200 KB each.
const TOKENS: u32 = 1000;
const REQUESTS: u64 = 8;

/// Replays a few long streams; the result, held to its schema.
fn replayed(dir: &Path, url: &str, args: &[&str]) -> Value {
    let trace = requests_at(dir, (0..REQUESTS).map(|i| i * 20), (32, TOKENS));
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
    let result: Value = serde_json::from_slice(&std::fs::read(result).unwrap()).unwrap();
    assert_eq!(result["targets"][0]["requests"]["ok"], REQUESTS);
    result
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

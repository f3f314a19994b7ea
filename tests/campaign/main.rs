//! Several runs as one experiment, driven through the built binary against simulated servers.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

#[path = "../support/mod.rs"]
mod support;

mod comparing;
mod conversations;
mod limit;
mod loads;
mod runs;
mod shards;
mod shards_at_work;
mod windows;
mod words;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use support::{python, reenact, skipped, stdout_of};

/// A trace of `requests` short streams, `every_ms` apart, of 64 prompt tokens and `output` tokens each.
fn trace(dir: &Path, requests: u64, every_ms: u64, output: u32) -> PathBuf {
    let mut text = String::new();
    for i in 0..requests {
        let at = i * every_ms;
        writeln!(
            text,
            r#"{{"timestamp":{at},"input_length":64,"output_length":{output},"hash_ids":[{i}]}}"#
        )
        .unwrap();
    }
    imported(dir, &text)
}

/// A trace of these rows, as Mooncake has them.
fn imported(dir: &Path, text: &str) -> PathBuf {
    let rows = dir.join("rows.jsonl");
    std::fs::write(&rows, text).unwrap();
    let trace = dir.join("trace.rt");
    stdout_of([
        "import".as_ref(),
        "mooncake".as_ref(),
        rows.as_os_str(),
        "-o".as_ref(),
        trace.as_os_str(),
    ]);
    trace
}

/// Fails the test unless a document is of its schema.
fn hold_to_schema(document: &[u8], schema: &str) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join(schema);
    let validate = "import json, jsonschema, sys; jsonschema.validate(json.load(sys.stdin), json.load(open(sys.argv[1])))";
    let mut python = python()
        .args(["-c", validate])
        .arg(schema)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(document).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether a step was not paced: it ends a search early.
fn has_invalid_step(document: &Value) -> bool {
    let targets = document["targets"].as_array().into_iter().flatten();
    let steps = targets.filter_map(|target| target["steps"].as_array());
    { steps }.any(|steps| steps.iter().any(|step| step["verdict"] == "invalid"))
}

/// Replays, and gives what it said and its result document.
fn replay(trace: &Path, args: &[&str]) -> (Output, Value) {
    let output = reenact(["replay"])
        .arg(trace)
        .args(args)
        .arg("--json")
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    hold_to_schema(&output.stdout, "docs/result.schema.json");
    (output, document)
}

/// The same, again and again where this machine is too busy to pace; `None` where it stays so, which is no finding of a test.
fn paced(trace: &Path, args: &[&str]) -> Option<(Output, Value)> {
    paced_anew(|| replay(trace, args))
}

/// The same, where each try needs a server that remembers nothing of those before.
fn paced_anew(replay: impl FnMut() -> (Output, Value)) -> Option<(Output, Value)> {
    let tries = std::iter::repeat_with(replay).take(5);
    let paced = { tries }
        .find(|(output, document)| output.status.code() != Some(4) && !has_invalid_step(document));
    if paced.is_none() {
        skipped("this machine is too busy to pace a few requests a second");
    }
    paced
}

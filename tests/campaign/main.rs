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

/// The same, again and again where this machine is too busy to pace; `None` where it stays so, which is no finding of a test. What is invalid
/// for any other reason fails the test at once.
fn paced(trace: &Path, args: &[&str]) -> Option<(Output, Value)> {
    paced_anew(|| replay(trace, args))
}

/// The same, where each try needs a server that remembers nothing of those before.
fn paced_anew(replay: impl FnMut() -> (Output, Value)) -> Option<(Output, Value)> {
    let tries = std::iter::repeat_with(replay).take(5);
    let paced = { tries }.find(|(output, document)| {
        let invalid = output.status.code() == Some(4) || has_invalid_step(document);
        if invalid {
            let others = reasons_beside_pace(document);
            assert!(others.is_empty(), "{others:?} in {document:#}");
        }
        !invalid
    });
    if paced.is_none() {
        skipped("this machine is too busy to pace a few requests a second");
    }
    paced
}

/// Why a result is invalid, as far as that is not a machine that was too busy to send in time; or that it does not say why.
fn reasons_beside_pace(document: &Value) -> Vec<String> {
    let verdict = document["verdict"]["reasons"].as_array().into_iter();
    let targets = document["targets"].as_array().into_iter().flatten();
    let steps = targets.filter_map(|target| target["steps"].as_array());
    let steps = steps.flatten().filter(|step| step["verdict"] == "invalid");
    let reasons = { verdict.flatten() }.chain(steps.map(|step| &step["reason"]));
    let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
    if reasons.is_empty() {
        return vec!["no reason was given".to_owned()];
    }
    // A step's are joined, and a bar that was missed is a sentence of two parts: what was found, and what is allowed.
    let parts = reasons.iter().flat_map(|reason| reason.split("; "));
    let others = parts.filter(|part| !PACE.iter().any(|pace| part.contains(pace)));
    others.map(str::to_owned).collect()
}

/// How late sends were, how far their gaps were from those meant, the generator's processor time; and the bars of these.
const PACE: [&str; 4] = [
    "ms late at P99",
    "Kolmogorov–Smirnov distance",
    "the generator used",
    "is allowed",
];

#[test]
fn a_result_is_tried_again_only_where_its_machine_was_too_busy() {
    let of = |verdict: &[&str], step: &str| {
        let steps = [serde_json::json!({"verdict": "invalid", "reason": step})];
        let document =
            serde_json::json!({"verdict": {"reasons": verdict}, "targets": [{"steps": steps}]});
        reasons_beside_pace(&document)
    };
    let late =
        "a: sends were 12.1 ms late at P99; 3.0 ms is allowed (the generator was the bottleneck)";
    let busy = "run 2: the generator used 97 % of its cores; 80 % is allowed";
    let bunched = "the gaps between sends are not those that were meant: their Kolmogorov–Smirnov distance is 0.31; 0.10 is allowed";
    assert!(of(&[late, busy], &format!("{late}; {bunched}")).is_empty());
    let off = "prompts were 7.0 % off in tokens; 1.0 % is allowed";
    assert_eq!(
        of(&[late], &format!("{late}; {off}")),
        ["prompts were 7.0 % off in tokens"]
    );
    assert_eq!(
        of(
            &["a: 3 requests were not sent: too many were in flight"],
            late
        )
        .len(),
        1
    );
    assert_eq!(reasons_beside_pace(&Value::Null).len(), 1);
}

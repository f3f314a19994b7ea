//! Answers judged by an evaluator, idle and under load, through the built binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod canary;
mod front;
mod judged;
mod promptfoo;
mod pytest;
mod real;
mod refused;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::stdout_of;

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

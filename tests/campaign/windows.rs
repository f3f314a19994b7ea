//! What of a run is measured.

use std::path::Path;

use serde_json::Value;

use crate::conversations::{conversations, requests};
use crate::limit::ANY_PACE;
use crate::support::Server;
use crate::{replay, trace};

fn us(request: &Value, name: &str) -> u64 {
    request[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {request}"))
}

/// The only target's figures, with a prelude of so many milliseconds, and every request that was sent.
fn measured(dir: &Path, trace: &Path, target: &str, prelude_ms: u64) -> (Value, Vec<Value>) {
    std::fs::create_dir_all(dir).unwrap();
    let out = dir.join(format!("out-{prelude_ms}"));
    let prelude = format!("{prelude_ms}ms");
    let args = [
        "--target",
        target,
        "--prelude",
        &prelude,
        "--out",
        out.to_str().unwrap(),
    ];
    let (_, document) = replay(trace, &[&args[..], &ANY_PACE].concat());
    (document["targets"][0].clone(), requests(&out))
}

#[test]
fn a_prelude_is_sent_and_in_no_figure_and_nothing_is_drained_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 40, 25, 4);
    // Some 200 ms for each answer: eight of the prelude are open when the window begins.
    let sim = Server::sim(&["--profile", "fast", "--step-base", "50000"]);
    let (target, sent) = measured(dir.path(), &trace, &sim.url, 500);
    assert_eq!(sent.len(), 40);
    assert_eq!(target["window"]["prelude_s"], 0.5);
    assert_eq!(target["window"]["prelude_requests"], 20);
    assert!((target["window"]["measured_s"].as_f64().unwrap() - 0.475).abs() < 0.002);
    for count in ["planned", "sent", "ok"] {
        assert_eq!(target["requests"][count], 20, "{count}");
    }
    assert_eq!(target["latency"]["e2e_ms"]["count"], 20);
    let (prelude, window): (Vec<_>, Vec<_>) =
        { sent.iter() }.partition(|request| us(request, "planned_us") < 500_000);
    let last_end = prelude.iter().map(|it| us(it, "end_us")).max().unwrap();
    let first_sent = window.iter().map(|it| us(it, "sent_us")).min().unwrap();
    assert!(first_sent < last_end, "{first_sent} {last_end}");
    // What was measured are those of the window: the longest of them is the longest that is told.
    let took = |it: &&Value| us(it, "end_us") - us(it, "intended_us");
    let longest = window.iter().map(took).max().unwrap() as f64 / 1e3;
    let told = target["latency"]["e2e_ms"]["max"].as_f64().unwrap();
    assert!((told / longest - 1.0).abs() < 0.01, "{told} {longest}");
}

#[test]
fn later_turns_of_conversations_that_began_in_the_prelude_are_measured_where_the_plan_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let trace = conversations(dir.path(), 8);
    for (name, step_us) in [("fast", "1000"), ("slow", "10000")] {
        let sim = Server::sim(&["--profile", "fast", "--step-base", step_us]);
        let dir = dir.path().join(name);
        // Between the instants of two requests.
        let (target, sent) = measured(&dir, &trace, &sim.url, 58);
        let is_measured = |it: &&Value| us(it, "planned_us") >= 58_000;
        let window: Vec<_> = sent.iter().filter(is_measured).collect();
        assert_eq!((sent.len(), window.len()), (32, 26), "{name}");
        let began_before = |it: &&&Value| us(it, "turn") > 0 && us(it, "session") < 4;
        assert!(window.iter().filter(began_before).count() > 8, "{name}");
        assert_eq!(target["latency"]["e2e_ms"]["count"], 26, "{name}");
        assert_eq!(target["window"]["prelude_requests"], 6, "{name}");
    }
}

#[test]
fn a_prelude_as_long_as_the_run_measures_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 5, 10, 2);
    let sim = Server::sim(&["--profile", "fast"]);
    let args = ["--target", &sim.url, "--prelude", "1s"];
    let (output, document) = replay(&trace, &[&args[..], &ANY_PACE].concat());
    assert_eq!(output.status.code(), Some(4));
    let reasons = document["verdict"]["reasons"].to_string();
    assert!(
        reasons.contains("--prelude is as long as the run"),
        "{reasons}"
    );
}

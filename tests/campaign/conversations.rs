use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::replay;
use super::support::{Server, reenact, stdout_of};

/// Conversations of four turns, each 40 ms after the one before (of whose answer the rows tell no time), 10 tokens an answer.
pub(super) fn conversations(dir: &Path, count: u64) -> PathBuf {
    let rows = dir.join("rows.jsonl");
    let mut text = String::new();
    for session in 0..count {
        let at = session * 15;
        writeln!(
            text,
            r#"{{"session_id":"{session}","timestamp":{at},"input_length":64,"output_length":10}}"#
        )
        .unwrap();
        for _ in 0..3 {
            writeln!(
                text,
                r#"{{"session_id":"{session}","delay":40,"input_length":64,"output_length":10}}"#
            )
            .unwrap();
        }
    }
    std::fs::write(&rows, text).unwrap();
    let trace = dir.join("trace.rt");
    let import = ["import", "aiperf"].map(AsRef::as_ref);
    let out = ["-o".as_ref(), trace.as_os_str()];
    stdout_of([&import[..], &[rows.as_os_str()], &out].concat());
    trace
}

/// Requests of one run, by the plan's order.
pub(super) fn requests(out: &Path) -> Vec<Value> {
    let log = std::fs::read(out.join("requests.jsonl.zst")).unwrap();
    let log = String::from_utf8(zstd::decode_all(&log[..]).unwrap()).unwrap();
    let mut requests: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    requests.sort_by_key(|request| request["index"].as_u64());
    requests
}

#[test]
fn linked_turns_wait_for_answers_and_independent_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let trace = conversations(dir.path(), 8);
    // An answer of 10 tokens takes some 100 ms.
    let sim = Server::sim(&["--profile", "fast", "--step-base", "10000"]);
    for (mode, waits) in [("linked", true), ("catch-up", true), ("independent", false)] {
        let out = dir.path().join(mode);
        let out_arg = out.to_str().unwrap();
        let args = ["--target", &sim.url, "--sessions", mode, "--out", out_arg];
        let (_, document) = replay(&trace, &args);
        assert_eq!(document["plan"]["sessions"], mode);
        let requests = requests(&out);
        assert_eq!(requests.len(), 32);
        let mut ends: HashMap<u64, u64> = HashMap::new();
        for request in &requests {
            let us = |name: &str| request[name].as_u64().unwrap();
            assert_eq!(request["result"], "ok", "{request}");
            let (session, turn) = (us("session"), us("turn"));
            let before = ends.insert(session, us("end_us"));
            match (mode, before) {
                ("linked", Some(end_us)) => assert_eq!(us("intended_us"), end_us + 40_000),
                ("catch-up", Some(end_us)) => {
                    assert_eq!(us("intended_us"), end_us.max(us("planned_us")));
                }
                _ => assert_eq!(us("intended_us"), us("planned_us"), "turn {turn}"),
            }
        }
        let slipped = requests
            .iter()
            .any(|it| it["intended_us"].as_u64() > it["planned_us"].as_u64());
        assert_eq!(slipped, waits, "{mode}");
        let turns = &document["targets"][0]["turns"];
        if mode == "independent" {
            assert!(turns.is_null(), "{turns:#}");
        } else {
            assert_eq!(turns["turns"], 24, "{turns:#}");
            assert!(turns["slip_max_us"].as_u64().unwrap() > 0, "{turns:#}");
        }
    }
}

#[test]
fn a_trace_without_later_turns_is_said_to_be_replayed_independently() {
    let dir = tempfile::tempdir().unwrap();
    let trace = super::trace(dir.path(), 5, 5, 2);
    let sim = Server::sim(&["--profile", "fast"]);
    let (_, document) = replay(&trace, &["--target", &sim.url]);
    assert_eq!(document["plan"]["sessions"], "independent");
}

#[test]
fn an_unknown_way_of_sending_turns_is_refused_with_those_there_are() {
    let output = reenact(["replay", "x.rt", "--target", "http://127.0.0.1:1"])
        .args(["--sessions", "linkd"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("catch-up") && text.contains("independent"),
        "{text}"
    );
    let contradiction = reenact(["replay", "x.rt", "--target", "http://127.0.0.1:1"])
        .args(["--sessions", "independent", "--live-history"])
        .output()
        .unwrap();
    assert_eq!(contradiction.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&contradiction.stderr).contains("--sessions linked"));
}

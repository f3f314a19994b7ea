//! What a recorder with a mirror leaves at its end: a result in the form of a replay's.

use std::io::{Read, Write};
use std::path::Path;

use serde_json::Value;

use super::support::http::{post, refusing, send, status};
use super::support::wire::{Upstream, Wire, metric_reaches as reaches};
use super::support::{RECORD, Server, browser, http, reenact, run};
use super::{exchanges, python};

/// A recorder that mirrors everything to `candidate`, and where its admin endpoint is.
fn recorder(dir: &Path, upstream: &str, candidate: &str) -> (Server, String) {
    let to = format!("next={candidate}");
    let out = dir.join("out");
    let args = ["--mirror", &to, "--mirror-share", "1", "--mirror-out"];
    let args = [&args[..], &[out.to_str().unwrap()]].concat();
    let mut recorder = Server::recorder(upstream, &dir.join("trace"), &args);
    let admin = recorder.wait_for_url("admin on ");
    (recorder, admin)
}

/// Asks for `count` short streams, two turns to a conversation.
fn ask(url: &str, count: usize) {
    for i in 0..count {
        let session = (i / 2).to_string();
        let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":5,"messages":[{"role":"user","content":"hello there"}]}"#;
        let headers = [("x-conversation-id", session.as_str())];
        let answer = send(url, &post("/v1/chat/completions", &headers, body));
        assert_eq!(status(&answer), 200);
    }
}

fn result(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("result.json")).unwrap()).unwrap()
}

/// Holds a result to its schema.
fn is_of_its_schema(dir: &Path) {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/result.schema.json");
    let validate = "import json, jsonschema, sys; jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    let mut command = python();
    command.args(["-c", validate, schema]);
    let output = command.arg(dir.join("result.json")).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_recorder_that_is_told_to_end_leaves_what_its_mirror_came_to_as_a_replay_does() {
    let dir = tempfile::tempdir().unwrap();
    let production = Server::sim(&["--profile", "fast"]);
    let candidate = Server::sim(&["--profile", "fast", "--slowdown", "6"]);
    let (recorder, admin) = recorder(dir.path(), &production.url, &candidate.url);
    ask(&recorder.url, 40);
    let answered = "reenact_mirror_duration_seconds_count{target=\"next\",code=\"200\"}";
    reaches(&admin, answered, 40);
    let (ended, log) = recorder.terminate();
    assert!(ended.success(), "{log}");

    let out = dir.path().join("out/mirror-000001");
    // On a machine that is too busy for it the result is whole without its comparison, which may have been about to be written.
    let is_bare = log.contains("but for its comparison");
    let mut files = names(&out);
    files.retain(|name| !(is_bare && name.ends_with(".partial")));
    assert_eq!(
        files,
        [
            "gaps.json.zst",
            "hgrm",
            "histograms.json.zst",
            "junit.xml",
            "percentiles.csv",
            "report.html",
            "requests.jsonl.zst",
            "result.json",
            "summary.md",
            "timeline.csv"
        ],
        "{log}"
    );
    is_of_its_schema(&out);
    let document = result(&out);
    let [next, recorded] = &document["targets"].as_array().unwrap()[..] else {
        panic!("{document:#}");
    };
    assert_eq!(
        (&next["name"], &recorded["name"]),
        (&"next".into(), &"recorded".into())
    );
    for target in [next, recorded] {
        assert_eq!(target["requests"]["ok"], 40, "{target:#}");
        assert_eq!(target["latency"]["ttft_ms"]["count"], 40);
        assert_eq!(target["latency"]["itl_ms"]["count"], 160);
        assert_eq!(target["latency"]["tpot_ms"]["count"], 40);
    }
    assert_eq!(document["simulated"], true);
    assert_eq!(document["plan"]["conversations"], 20);
    assert_eq!(document["mirror"]["dropped"], serde_json::json!({}));
    let shared = next["fidelity"].get("prefix_share_sent");
    assert_eq!(shared, None, "nobody planned what prompts share");
    assert!(
        document["started_at"]
            .as_str()
            .unwrap()
            .ends_with("T00:00:00Z")
    );
    match document["comparison"].get(0) {
        Some(compared) => {
            assert_eq!(compared["baseline"], "recorded");
            assert_eq!(compared["pairs"], 40);
        }
        None => assert!(is_bare, "{log}"),
    }
    let summary = std::fs::read_to_string(out.join("summary.md")).unwrap();
    assert!(
        summary.starts_with("# Mirror: ") && summary.contains("40 requests of live traffic"),
        "{summary}"
    );
    // What a recorder says of them is what a replay says of the trace that it wrote.
    assert_eq!(exchanges(&dir.path().join("trace")).len(), 40);

    let results = out.to_str().unwrap();
    let slo = ["--slo", "ttft.p50<+10%", "--json"];
    let judged = run([&["compare", "recorded", results], &slo[..]].concat());
    let told: Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(told["objectives"][0]["status"], "fail", "{told:#}");
    assert_eq!(told["comparison"]["scope"], "this live traffic alone");
    // Nothing else was sent the same, itself least of all.
    let beside = run(["compare", results, results]);
    let said = String::from_utf8_lossy(&beside.stderr);
    assert_eq!(beside.status.code(), Some(1), "{said}");
    assert!(said.contains("is of live traffic"), "{said}");
    let page = browser::open(&out.join("report.html"));
    assert_eq!(page.console, "");
    assert!(page.dom.contains("mirror report") && page.dom.contains("live traffic"));
}

#[test]
fn a_candidate_that_is_down_leaves_a_result_of_failures() {
    let dir = tempfile::tempdir().unwrap();
    let production = Server::sim(&["--profile", "fast"]);
    let (_held, candidate) = refusing();
    let (recorder, admin) = recorder(dir.path(), &production.url, &candidate);
    ask(&recorder.url, 6);
    let failed = "reenact_mirror_failed_total{target=\"next\",reason=\"connect\"}";
    reaches(&admin, failed, 6);
    let (ended, log) = recorder.terminate();
    assert!(ended.success(), "{log}");
    let out = dir.path().join("out/mirror-000001");
    is_of_its_schema(&out);
    let document = result(&out);
    let requests = &document["targets"][0]["requests"];
    assert_eq!(requests["failed"], 6, "{document:#}");
    assert_eq!(requests["sent"], 0);
    assert_eq!(requests["errors"], serde_json::json!({"connect": 6}));
    assert_eq!(document["targets"][1]["requests"]["ok"], 6);
    let summary = std::fs::read_to_string(out.join("summary.md")).unwrap();
    assert!(
        summary.starts_with("# Mirror: measured\n")
            && summary.contains("next failed 6 of 6 requests."),
        "{summary}"
    );
    let results = out.to_str().unwrap();
    let judged = run(["compare", "recorded", results]);
    assert_eq!(judged.status.code(), Some(3), "{judged:?}");
}

#[test]
fn what_the_candidate_never_answers_is_a_timeout_and_ends_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let production = Server::sim(&["--profile", "fast"]);
    let candidate = http::upstream(|mut stream| {
        let mut bytes = [0; 4096];
        while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
    })
    .0;
    let (recorder, admin) = recorder(dir.path(), &production.url, &candidate);
    ask(&recorder.url, 3);
    reaches(&admin, "reenact_recorded_total", 3);
    let (ended, log) = recorder.terminate();
    assert!(ended.success(), "{log}");
    assert_eq!(exchanges(&dir.path().join("trace")).len(), 3);
    let out = dir.path().join("out/mirror-000001");
    is_of_its_schema(&out);
    let document = result(&out);
    assert_eq!(document["mirror"]["open_at_the_end"], 3, "{document:#}");
    let requests = &document["targets"][0]["requests"];
    assert_eq!(requests["errors"], serde_json::json!({"timeout": 3}));
    assert_eq!(requests["sent"], 3, "it had them");
}

#[test]
fn what_a_client_did_not_wait_for_is_not_asked_of_the_candidate() {
    let dir = tempfile::tempdir().unwrap();
    // Its answers begin, and end only once their client has gone.
    let production = http::upstream(|mut stream| {
        let _ = http::read_request(&mut stream);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let token = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        let _ = stream.write_all(format!("{head}{token}").as_bytes());
        let mut bytes = [0; 4096];
        while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
    })
    .0;
    let candidate = Server::sim(&["--profile", "fast", "--slowdown", "50"]);
    let (recorder, admin) = recorder(dir.path(), &production, &candidate.url);
    let body = r#"{"model":"m","stream":true,"max_tokens":40,"messages":[{"role":"user","content":"hello there"}]}"#;
    let mut client = Wire::connect(&recorder.url);
    client.send(post("/v1/chat/completions", &[], body));
    client.read_until("\"a\"");
    client.reset();
    reaches(&admin, "reenact_recorded_total", 1);
    let (ended, log) = recorder.terminate();
    assert!(ended.success(), "{log}");
    let document = result(&dir.path().join("out/mirror-000001"));
    let requests = &document["targets"][0]["requests"];
    assert_eq!(requests["cancelled"], 1, "{document:#}");
    assert_eq!(document["targets"][1]["requests"]["cancelled"], 1);
}

#[test]
fn what_a_client_did_not_wait_for_may_break_off_and_its_first_token_counts() {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    const TOKEN: &str = "2f\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\r\n";
    const WHOLE: &str = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let dir = tempfile::tempdir().unwrap();
    let (production, candidate) = (Upstream::start(), Upstream::start());
    let (recorder, admin) = recorder(dir.path(), &production.url(), &candidate.url());
    let body = r#"{"model":"m","stream":true,"max_tokens":40,"messages":[{"role":"user","content":"hello there"}]}"#;
    let mut client = Wire::connect(&recorder.url);
    client.send(post("/v1/chat/completions", &[], body));
    let mut leaving = production.accept();
    leaving.read_until(body);
    leaving.send([HEAD, TOKEN].concat());
    client.read_until("\"a\"");
    let mut breaking = candidate.accept();
    breaking.read_until(body);
    breaking.send([HEAD, TOKEN].concat());
    // One more from beginning to end: the mirror, which has one thread, has then seen the first one's token, too.
    let body = r#"{"model":"m","messages":[{"role":"user","content":"good bye"}]}"#;
    let mut other = Wire::connect(&recorder.url);
    other.send(post("/v1/chat/completions", &[], body));
    for side in [&production, &candidate] {
        let mut side = side.accept();
        side.read_until(body);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        let length = WHOLE.len();
        side.send(format!("{head}Content-Length: {length}\r\n\r\n{WHOLE}"));
    }
    let answered = "reenact_mirror_duration_seconds_count{target=\"next\",code=\"200\"}";
    reaches(&admin, answered, 1);
    client.reset();
    reaches(&admin, "reenact_recorded_total", 2);
    drop(breaking);
    let broken = "reenact_mirror_failed_total{target=\"next\",reason=\"truncated\"}";
    reaches(&admin, broken, 1);
    let (ended, log) = recorder.terminate();
    assert!(ended.success(), "{log}");
    let document = result(&dir.path().join("out/mirror-000001"));
    for target in document["targets"].as_array().unwrap() {
        assert_eq!(target["requests"]["cancelled"], 1, "{document:#}");
        assert_eq!(target["requests"]["ok"], 1, "{document:#}");
        assert_eq!(target["latency"]["ttft_ms"]["count"], 1, "{document:#}");
    }
}

#[test]
fn what_ends_while_recording_is_paused_is_counted_and_in_no_figure() {
    let dir = tempfile::tempdir().unwrap();
    let production = Server::sim(&["--profile", "fast"]);
    let (recorder, admin) = recorder(dir.path(), &production.url, &production.url);
    ask(&recorder.url, 2);
    reaches(&admin, "reenact_recorded_total", 2);
    let paused = send(&admin, &post("/recording/pause", &[], ""));
    assert_eq!(status(&paused), 200);
    ask(&recorder.url, 3);
    reaches(&admin, "reenact_dropped_total{reason=\"paused\"}", 3);
    let (ended, log) = recorder.terminate();
    assert!(ended.success(), "{log}");
    let document = result(&dir.path().join("out/mirror-000001"));
    assert_eq!(document["targets"][0]["requests"]["planned"], 2);
    assert_eq!(document["mirror"]["without_production"], 3, "{document:#}");
}

#[test]
fn a_mirror_that_nobody_used_says_so_and_each_start_has_its_own_result() {
    let dir = tempfile::tempdir().unwrap();
    let production = Server::sim(&["--profile", "fast"]);
    for number in 1..3 {
        let (recorder, _admin) = recorder(dir.path(), &production.url, &production.url);
        let (ended, log) = recorder.terminate();
        assert!(ended.success(), "{log}");
        let out = dir.path().join(format!("out/mirror-00000{number}"));
        is_of_its_schema(&out);
        let document = result(&out);
        assert_eq!(document["verdict"]["status"], "invalid", "{document:#}");
    }
}

#[test]
fn a_result_that_cannot_be_or_would_tell_too_much_is_refused_before_anything_listens() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = |out: &Path, more: &[&str]| {
        let mut command = reenact(RECORD);
        command.args(["--upstream", "http://127.0.0.1:9", "--trace-dir"]);
        command.arg(dir.path().join("trace"));
        command.args(["--mirror", "next=http://127.0.0.1:9", "--mirror-out"]);
        let output = command.arg(out).args(more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("listening on"), "{said}");
        (output.status.code(), said)
    };
    let (code, said) = refused(&file.join("out"), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--mirror-out"), "{said}");
    for option in [
        ["--quantise-lengths", "16"],
        ["--time-jitter", "1s"],
        ["--time-shift", "1s"],
        ["--drop-sessions", "10%"],
    ] {
        let (code, said) = refused(&dir.path().join("out"), &option);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(option[0]), "{said}");
    }
}

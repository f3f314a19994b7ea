use std::path::Path;
use std::process::Stdio;

use crate::support::{Server, answered, http, reenact};
use crate::{replay, trace};

/// The target and the run of each request in a result's log, as they ended.
fn logged(out: &Path) -> Vec<(String, u64)> {
    let log = std::fs::read(out.join("requests.jsonl.zst")).unwrap();
    let log = String::from_utf8(zstd::decode_all(&log[..]).unwrap()).unwrap();
    log.lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let target = row["target"].as_str().unwrap().to_owned();
            (target, row["run"].as_u64().unwrap_or(0))
        })
        .collect()
}

#[test]
fn repeated_runs_go_there_and_back_and_are_told_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 30, 10, 4);
    let (a, b) = (
        Server::sim(&["--profile", "fast"]),
        Server::sim(&["--profile", "fast"]),
    );
    let out = dir.path().join("out");
    let (a, b) = (format!("a={}", a.url), format!("b={}", b.url));
    let args = [
        "--target",
        &a,
        "--target",
        &b,
        "--repeat",
        "3",
        "--out",
        out.to_str().unwrap(),
    ];
    let (_, document) = replay(&trace, &args);
    for target in document["targets"].as_array().unwrap() {
        let runs = target["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 3, "{target:#}");
        assert!(runs.iter().all(|run| run["requests"]["ok"] == 30));
        assert_eq!(target["requests"]["planned"], 90);
        assert_eq!(target["latency"]["e2e_ms"]["count"], 90);
        let spread = &target["spread"]["e2e_ms.p99"];
        assert_eq!(spread["runs"], 3);
        assert!(spread["ci95"].is_array(), "{spread:#}");
    }
    let mut order = logged(&out);
    assert_eq!(order.len(), 180);
    order.dedup();
    let order: Vec<String> = order
        .iter()
        .map(|(name, run)| format!("{name}{run}"))
        .collect();
    assert_eq!(order, ["a0", "b0", "b1", "a1", "a2", "b2"]);
}

#[test]
fn interleaved_targets_are_sent_to_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    // Three seconds of it.
    let trace = trace(dir.path(), 60, 50, 4);
    let (a, b) = (
        Server::sim(&["--profile", "fast"]),
        Server::sim(&["--profile", "fast"]),
    );
    let (a, b) = (format!("a={}", a.url), format!("b={}", b.url));
    let out = dir.path().join("out");
    let out_arg = ["--out", out.to_str().unwrap()];
    let args = ["--target", &a, "--target", &b, "--schedule", "interleaved"];
    let (_, document) = replay(&trace, &[&args[..], &out_arg].concat());
    // The log has requests as they end: those of one run among those of the other.
    let mut order: Vec<String> = { logged(&out) }.into_iter().map(|(name, _)| name).collect();
    order.dedup();
    assert!(order.len() > 2, "one after the other: {order:?}");
    assert_eq!(document["targets"][1]["requests"]["ok"], 60);
    assert_eq!(document["comparison"][0]["pairs"], 60);
}

#[test]
fn a_self_check_tells_what_this_machine_can_send_and_the_replay_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 40, 25, 8);
    let sim = Server::sim(&["--profile", "fast"]);
    let (output, document) = replay(&trace, &["--target", &sim.url, "--self-check"]);
    assert_eq!(document["targets"][0]["requests"]["ok"], 40);
    assert_eq!(document["plan"]["speed"], 1.0);
    let said = String::from_utf8_lossy(&output.stderr);
    // On a busy machine it may be late at once, and says so.
    let late = said.contains("self-check: this machine is late already at");
    let found = said.lines().find_map(|line| {
        let rest = line.strip_prefix("self-check: this machine can send ")?;
        let (per_s, rest) = rest.split_once(" requests/s of this trace and read ")?;
        let (events, _) = rest.split_once(" token events/s")?;
        Some((per_s.parse::<f64>().ok()?, events.parse::<f64>().ok()?))
    });
    match found {
        // Eight events in each answer.
        Some((per_s, events)) => assert!(per_s >= 200.0 && events > 4.0 * per_s, "{said}"),
        None => assert!(late, "{said}"),
    }
}

#[test]
fn no_replay_finds_the_words_of_an_earlier_one_unless_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 20, 10, 2);
    let sim = Server::sim(&["--profile", "fast"]);
    let cached = |args: &[&str]| {
        let (_, document) = replay(&trace, &[&["--target", &sim.url], args].concat());
        let share = &document["targets"][0]["fidelity"]["prefix_share_cached"];
        share.as_f64().unwrap()
    };
    assert!(cached(&[]) < 0.3);
    assert!(cached(&[]) < 0.3);
    assert!(cached(&["--seed", "7"]) < 0.3);
    // Whoever names the seed wants the same bytes.
    assert!(cached(&["--seed", "7"]) > 0.6);
    assert!(cached(&["--cache", "keep"]) < 0.3);
    assert!(cached(&["--cache", "keep"]) > 0.6);
}

/// Requests that a simulated server has answered, probes included.
fn answered_by(url: &str) -> f64 {
    let answer = http::send(
        url,
        b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    );
    let page = String::from_utf8_lossy(&answer).into_owned();
    page.lines()
        .filter(|line| line.starts_with("vllm:request_success_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn a_target_that_is_gone_before_its_own_run_costs_no_other_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 200, 10, 2);
    let (a, b) = (
        Server::sim(&["--profile", "fast"]),
        Server::sim(&["--profile", "fast"]),
    );
    let (first, second) = (format!("a={}", a.url), format!("b={}", b.url));
    let out = dir.path().join("out");
    let replay = reenact(["replay"])
        .arg(&trace)
        .args(["--target", &first, "--target", &second])
        .args(["--ready-timeout", "0s", "--engine-metrics", "off", "--out"])
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Both have been asked how they count, and the first is being measured.
    answered(|| match answered_by(&a.url) {
        count if count > 100.0 => Ok(()),
        count => Err(format!("{count} requests")),
    });
    assert!(
        answered_by(&b.url) > 0.0,
        "it is asked before anything is measured"
    );
    drop(b);
    let output = replay.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    let document = std::fs::read(out.join("result.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let targets = document["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 1, "{document:#}");
    assert_eq!(targets[0]["requests"]["ok"], 200);
    let why = document["verdict"]["reasons"].to_string();
    assert!(
        why.contains("target `b`") && why.contains("first run"),
        "{why}"
    );
    assert_eq!(logged(&out).len(), 200);
}

#[test]
fn a_target_that_is_not_there_is_told_before_another_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 300, 1, 2);
    let a = Server::sim(&["--profile", "fast"]);
    let (_port, nobody) = http::refusing();
    let output = reenact(["replay"])
        .arg(&trace)
        .args(["--target", &format!("a={}", a.url)])
        .args(["--target", &format!("b={nobody}")])
        .args(["--ready-timeout", "0s"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("target `b`"), "{said}");
    // Probes are some dozens.
    assert!(answered_by(&a.url) < 100.0, "a was measured");
}

//! The recorder's metrics as the real Prometheus sees them: it scrapes a recorder under load and answers the question that
//! operators ask, and the answer is held against what the clients measured themselves.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod dashboards;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::Value;
use server::Prometheus;
use support::Server;
use support::http::{post, send, status};
use support::traffic::short_requests;
use support::wire::get;

const QUERY: &str =
    "histogram_quantile(0.99, sum by (le) (rate(inference_duration_seconds_bucket[5m])))";

fn chat(tokens: usize, stream: bool) -> Vec<u8> {
    let body = serde_json::json!({
        "model": "m", "stream": stream, "max_tokens": tokens, "min_tokens": tokens, "ignore_eos": true,
        "messages": [{"role": "user", "content": "hello"}],
    });
    post("/v1/chat/completions", &[], &body.to_string())
}

/// Seconds that one request took its client.
fn take(url: &str, request: &[u8]) -> f64 {
    let began = Instant::now();
    assert_eq!(status(&send(url, request)), 200);
    began.elapsed().as_secs_f64()
}

/// The upper bounds of the histogram's buckets, from the exposition itself.
fn bounds(page: &str) -> Vec<f64> {
    let mut bounds: Vec<f64> = page
        .lines()
        .filter(|line| line.starts_with("inference_duration_seconds_bucket"))
        .filter_map(|line| line.split_once("le=\"")?.1.split_once('"')?.0.parse().ok())
        .collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds
}

#[test]
fn prometheus_answers_with_the_p99_that_clients_saw() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&sim.url, &dir.path().join("traces"), &[]);
    let admin = recorder.wait_for_url("admin on ");
    let prometheus = Prometheus::start(dir.path(), admin.strip_prefix("http://").unwrap());

    // A rate counts from a series' first scrape on: this one request opens it.
    take(&recorder.url, &chat(10, true));
    prometheus.wait_for("sum(inference_duration_seconds_count)", 1.0);
    prometheus.wait_for("up", 1.0);

    // One in thirty is long, so that the P99 lies among those.
    const REQUESTS: usize = 600;
    let next = AtomicUsize::new(0);
    let client = || {
        let mut took = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= REQUESTS {
                return took;
            }
            let tokens = if number % 30 == 7 {
                1500
            } else {
                20 + (number * 37) % 150
            };
            took.push(take(&recorder.url, &chat(tokens, number.is_multiple_of(2))));
        }
    };
    let mut took: Vec<f64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    #[allow(clippy::cast_precision_loss, reason = "hundreds")]
    let all = (REQUESTS + 1) as f64;
    prometheus.wait_for("sum(inference_duration_seconds_count)", all);

    let answer = prometheus.ask(QUERY);
    took.sort_by(f64::total_cmp);
    let truth = took[REQUESTS * 99 / 100];
    let page = get(&admin, "/metrics");
    let bounds = bounds(&page);
    let bucket = |seconds: f64| bounds.partition_point(|&bound| bound < seconds);
    assert_eq!(answer.len(), 1, "one answer: {answer:?}");
    assert!(
        bucket(answer[0]).abs_diff(bucket(truth)) <= 1,
        "Prometheus says {} s, clients measured {truth} s; buckets {bounds:?}",
        answer[0]
    );
    // It is a real tail, not the middle of the load.
    assert!(truth > 3.0 * took[REQUESTS / 2], "{truth}");

    // The others that the documentation names are there as well, in the format that a real scraper negotiates.
    for metric in [
        "inference_time_to_first_token_seconds_count",
        "inference_inter_token_seconds_count",
        "inference_in_flight",
        "reenact_recorded_total",
        "reenact_dropped_total",
        "reenact_proxy_overhead_seconds_count",
        "reenact_trace_bytes_total",
        "reenact_queue_bytes",
    ] {
        assert!(!prometheus.ask(metric).is_empty(), "{metric}");
    }
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&sim.url, dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    take(&recorder.url, &chat(10, true));
    support::wire::metric_reaches(&admin, "reenact_recorded_total", 1);
    let answer = get(&admin, "/metrics");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    check(page);
}

/// Has Prometheus's own tool judge a page.
fn check(page: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: run tests/run, which installs prometheus");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// A replay that goes on until it is dropped, and its page.
fn endless_replay(trace: &Path, target: &str) -> (Server, String) {
    let mut replay = support::reenact(["replay", "--metrics", "127.0.0.1:0", "--loop-for", "1h"]);
    replay.arg(trace).args(["--target", target]);
    let mut replay = Server::spawn(&mut replay, Stdio::null());
    let metrics = replay.wait_for_url("metrics on ");
    (replay, metrics)
}

#[test]
fn prometheus_sees_a_replay_while_it_runs() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 100);
    let (_replay, metrics) = endless_replay(&trace, &format!("a={}", sim.url));
    let address = metrics.strip_prefix("http://").unwrap();
    let prometheus = Prometheus::start(dir.path(), address.strip_suffix("/metrics").unwrap());
    prometheus.wait_for("reenact_replay_runs_total{target=\"a\"}", 1.0);
    prometheus.wait_for("reenact_replay_ok_total{target=\"a\"} > bool 20", 1.0);
    for query in [
        "reenact_replay_sent_total",
        "inference_in_flight",
        "reenact_replay_lateness_seconds{stat=\"p99\"}",
        "reenact_replay_ttft_seconds{stat=\"p50\"}",
        "reenact_replay_e2e_seconds{stat=\"p99.9\"}",
        "inference_time_to_first_token_seconds_count{target=\"a\"}",
        "inference_inter_token_seconds_count",
        // The query that is documented for a recorder.
        QUERY,
    ] {
        prometheus.wait_for(&format!("count({query})"), 1.0);
    }
    let answer = get(metrics.strip_suffix("/metrics").unwrap(), "/metrics");
    let (_, page) = answer.split_once("\r\n\r\n").unwrap();
    check(page);
}

#[test]
fn the_textfile_of_a_replay_says_what_its_result_says() {
    let sim = Server::sim(&["--profile", "fast"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 50);
    let textfile = dir.path().join("reenact.prom");
    let output = support::reenact(["replay", "--json", "--slo", "e2e.p50<1us"])
        .arg(&trace)
        .args(["--target", &format!("a \"quoted\" name={}", sim.url)])
        .arg("--metrics-textfile")
        .arg(&textfile)
        .output()
        .unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = std::fs::read_to_string(&textfile).unwrap();
    check(&text);
    let status = result["verdict"]["status"].as_str().unwrap();
    let verdict = format!("reenact_result_verdict{{status=\"{status}\"}} 1");
    assert!(
        text.lines().any(|line| line.starts_with(&verdict)),
        "{text}"
    );
    let labels = r#"target="a \"quoted\" name",latency="ttft",stat="p50""#;
    let value: f64 = text
        .lines()
        .find(|line| line.contains(labels))
        .and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
        .unwrap_or_else(|| panic!("{text}"));
    let told = result["targets"][0]["latency"]["ttft_ms"]["p50"]
        .as_f64()
        .unwrap();
    assert!((value * 1e3 - told).abs() < 1e-9, "{value} {told}");
    assert!(text.contains(r#"outcome="ok"} 50"#), "{text}");
    assert!(
        text.contains(r#"objective="e2e.p50<1us",status="fail"} 1"#),
        "{text}"
    );

    // What no collector would read is told before anything is sent.
    for (wrong, told) in [
        ("reenact.txt", "*.prom"),
        ("/nowhere/reenact.prom", "/nowhere"),
    ] {
        let args = [
            "replay",
            "t.rt",
            "--target",
            "http://127.0.0.1:1",
            "--metrics-textfile",
        ];
        let output = support::run(args.into_iter().chain([wrong]));
        assert!(matches!(output.status.code(), Some(1 | 2)));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(told) && said.contains("hint: "), "{said}");
    }
}

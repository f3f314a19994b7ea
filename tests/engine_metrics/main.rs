//! What engines and exporters tell of themselves, read beside a replay.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stderr
)]

mod memory;
#[path = "../support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use support::pages::{Answer, before, page, serving};
use support::traffic::requests_at;
use support::{Server, http, reenact};

/// A trace of `requests` streams, 40 ms apart, of 256 prompt tokens and 64 output tokens each.
fn trace(dir: &Path, requests: u64) -> PathBuf {
    requests_at(dir, (0..requests).map(|i| i * 40), (256, 64))
}

/// A replay's output and result, an invalid one (of a machine that is too busy) included.
fn replay(trace: &Path, args: &[&str]) -> (Output, Value) {
    let mut command = reenact(["replay"]);
    let output = command
        .arg(trace)
        .args(args)
        .arg("--json")
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output, document)
}

fn objective<'a>(document: &'a Value, expr: &str) -> &'a Value {
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    objectives.iter().find(|one| one["expr"] == expr).unwrap()
}

/// An exporter's page of a GPU that is half full.
const DCGM: &str = "DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-1\"} 1024\nDCGM_FI_DEV_FB_FREE{gpu=\"0\",UUID=\"GPU-1\"} 1024\n";

#[test]
fn an_engine_is_found_on_its_target_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 60);
    // Nine requests fill the cache, and some sixteen are in flight at once: it preempts.
    let sim = Server::sim(&["--kv-capacity-tokens", "2880", "--step-base", "10000"]);
    let (_, document) = replay(
        &trace,
        &[
            "--target",
            &sim.url,
            "--slo",
            "kv_cache.peak<50%",
            "--slo",
            "waiting.peak<10000",
        ],
    );
    let engine = &document["targets"][0]["engine"];
    assert_eq!(engine["kind"], "vllm", "{document:#}");
    assert_eq!(engine["names"]["kv_cache"], "vllm:kv_cache_usage_perc");
    assert_eq!(engine["kv_capacity_tokens"], 2880.0);
    assert!(
        engine["kv_cache_peak"].as_f64().unwrap() > 0.5,
        "{engine:#}"
    );
    assert!(engine["samples"].as_u64().unwrap() >= 3, "{engine:#}");
    assert!(engine.get("state").is_none(), "{engine:#}");
    assert_eq!(objective(&document, "kv_cache.peak<50%")["status"], "fail");
    assert_eq!(objective(&document, "waiting.peak<10000")["status"], "pass");
    let timeline = document["targets"][0]["timeline"].as_array().unwrap();
    assert!(
        timeline
            .iter()
            .any(|window| window["kv_cache"].as_f64() > Some(0.5))
    );
}

#[test]
fn an_exporter_tells_of_memory_and_one_that_stalls_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 30);
    let sim = Server::sim(&["--profile", "fast"]);
    let exporter = page(|_, _| Answer::Page(DCGM));
    let stalls = page(|_, _| Answer::Silence);
    let (output, document) = replay(
        &trace,
        &[
            "--target",
            &sim.url,
            "--engine-metrics",
            &exporter,
            "--engine-metrics",
            &format!("target={stalls}/metrics"),
            "--slo",
            "vram.peak<=1GiB",
            "--slo",
            "kv_cache.peak<90%",
        ],
    );
    let gpu = &document["targets"][0]["gpu"][0];
    assert_eq!(
        (&gpu["source"], &gpu["used_peak_bytes"], &gpu["total_bytes"]),
        (&"dcgm".into(), &(1_u64 << 30).into(), &(2_u64 << 30).into())
    );
    assert_eq!(objective(&document, "vram.peak<=1GiB")["status"], "pass");
    let unseen = objective(&document, "kv_cache.peak<90%");
    assert_eq!(unseen["status"], "not_measured");
    assert!(
        unseen["reason"]
            .as_str()
            .unwrap()
            .contains("no answer within"),
        "{unseen:#}"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("/metrics is not read: no answer within"),
        "{said}"
    );
}

/// The windows' values of a figure that is sampled.
fn over_time<'a>(document: &'a Value, figure: &str) -> Vec<Option<&'a Value>> {
    let timeline = document["targets"][0]["timeline"].as_array().unwrap();
    let windows = timeline.iter().map(|window| window.get(figure));
    windows.collect()
}

#[test]
fn a_page_that_stalls_when_a_run_begins_is_read_as_soon_as_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 80);
    let sim = Server::sim(&["--profile", "fast"]);
    // It is looked at before the first run, and then asked when that begins.
    let stalls = page(|asked, _| match asked {
        1 | 2 => Answer::Silence,
        _ => Answer::Page(
            "vllm:kv_cache_usage_perc 0.25\nDCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-1\"} 1024\n",
        ),
    });
    let (output, document) = replay(
        &trace,
        &[
            "--target",
            &sim.url,
            "--gpu",
            "off",
            "--engine-metrics",
            &stalls,
            "--slo",
            "kv_cache.peak<=25%",
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("it goes on being asked for"), "{said}");
    let target = &document["targets"][0];
    let engine = &target["engine"];
    assert_eq!(engine["kind"], "vllm", "{engine:#}");
    assert_eq!(engine["missed"], 1, "{engine:#}");
    let state = engine["state"].as_str().unwrap();
    assert_eq!(
        state,
        "no figures before the run began: no answer within 2s"
    );
    assert_eq!(objective(&document, "kv_cache.peak<=25%")["status"], "pass");
    assert_eq!(target["gpu"][0]["used_peak_bytes"], 1_u64 << 30);
}

#[test]
fn an_exporter_that_comes_up_late_is_read_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 140);
    let sim = Server::sim(&["--profile", "fast"]);
    let (socket, late) = http::refusing();
    let socket = Mutex::new(Some(socket));
    // Pages are asked in the order given: when the first is asked in mid-run, the second has been refused since before it.
    let early = page(move |asked, _| {
        if asked == 5
            && let Some(socket) = socket.lock().unwrap().take()
        {
            socket.listen(16).unwrap();
            http::upstream_on(
                TcpListener::from(socket),
                serving(|_, _| Answer::Page(DCGM)),
            );
        }
        Answer::Page("vllm:kv_cache_usage_perc 0.25\n")
    });
    let (_, document) = replay(
        &trace,
        &[
            "--target",
            &sim.url,
            "--gpu",
            "off",
            "--engine-metrics",
            &early,
            "--engine-metrics",
            &late,
        ],
    );
    let target = &document["targets"][0];
    let gpu = &target["gpu"][0];
    assert_eq!(gpu["used_peak_bytes"], 1_u64 << 30, "{target:#}");
    let state = target["engine"]["state"].as_str().unwrap();
    let told = format!("{late}/metrics: no figures before the run began: no connection");
    assert!(state.starts_with(&told), "{state}");
    let used = over_time(&document, "vram_used_bytes");
    assert_eq!(used.first(), Some(&None), "nobody told of it yet: {used:?}");
    assert!(used.iter().any(Option::is_some), "{used:?}");
}

#[test]
fn an_engine_that_is_not_yet_ready_to_tell_is_found_when_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 80);
    let sim = Server::sim(&["--profile", "fast"]);
    let target = before(&sim.url, |asked, _| match asked {
        1 => Answer::Status("503 Service Unavailable"),
        _ => Answer::Pass,
    });
    let (_, document) = replay(&trace, &["--target", &target]);
    let engine = &document["targets"][0]["engine"];
    assert_eq!(engine["kind"], "vllm", "{document:#}");
    assert_eq!(engine["missed"], 1, "{engine:#}");
    assert!(engine["samples"].as_u64().unwrap() >= 2, "{engine:#}");
    let state = engine["state"].as_str().unwrap();
    assert!(state.contains("it answered with status 503"), "{state}");
}

#[test]
fn a_guess_that_finds_no_page_says_nothing_and_one_that_may_not_look_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 40);
    let sim = Server::sim(&["--profile", "fast"]);
    let told = |status: &'static str| {
        let target = before(&sim.url, move |_, _| Answer::Status(status));
        let (_, document) = replay(&trace, &["--target", &target]);
        document["targets"][0]["engine"].clone()
    };
    assert_eq!(told("404 Not Found"), Value::Null);
    let refused = told("401 Unauthorized");
    assert_eq!(refused["kind"], "unknown");
    // Asked for before the run, and a second after that.
    assert!(refused["missed"].as_u64().unwrap() >= 2, "{refused:#}");
    let state = refused["state"].as_str().unwrap();
    assert!(state.contains("401 Unauthorized"), "{state}");
}

#[test]
fn the_targets_own_page_is_asked_for_with_its_headers_and_no_other_is() {
    let dir = tempfile::tempdir().unwrap();
    let (trace, key) = (trace(dir.path(), 20), dir.path().join("key"));
    std::fs::write(&key, "sk-1\n").unwrap();
    let sim = Server::sim(&["--profile", "fast"]);
    let sees_headers = |head: &str| {
        let head = head.to_lowercase();
        head.contains("\r\nauthorization: bearer sk-1\r\n")
            && head.contains("\r\nx-tenant: blue\r\n")
    };
    let proxy = before(&sim.url, move |_, head| match sees_headers(head) {
        true => Answer::Pass,
        false => Answer::Status("401 Unauthorized"),
    });
    let elsewhere = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&elsewhere);
    let stranger = page(move |_, head| {
        heard.lock().unwrap().push(head.to_lowercase());
        Answer::Page("vllm:kv_cache_usage_perc 0.25\n")
    });
    let asked = |args: &[&str]| {
        let key = key.to_str().unwrap();
        let headers = ["--api-key-file", key, "--header", "x-tenant: blue"];
        let (_, document) = replay(&trace, &[&headers, args].concat());
        document["targets"][0]["engine"].clone()
    };
    let engine = asked(&["--target", &proxy]);
    assert_eq!(
        (&engine["kind"], &engine["missed"]),
        (&"vllm".into(), &0.into())
    );
    // A page that sends elsewhere is none, and what it names is not asked.
    let location = format!("{stranger}/metrics");
    let sends = before(&sim.url, move |_, _| Answer::Elsewhere(location.clone()));
    let engine = asked(&["--target", &sends]);
    assert!(
        engine["state"].as_str().unwrap().contains("302 Found"),
        "{engine:#}"
    );
    assert!(elsewhere.lock().unwrap().is_empty());
    let engine = asked(&["--target", &sim.url, "--engine-metrics", &stranger]);
    assert_eq!(engine["kv_cache_peak"], 0.25, "{engine:#}");
    let heads = elsewhere.lock().unwrap();
    for secret in ["authorization", "sk-1", "x-tenant", "blue"] {
        assert!(!heads.iter().any(|head| head.contains(secret)), "{heads:?}");
    }
}

#[test]
fn a_page_that_stalls_in_mid_run_leaves_a_gap_and_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let trace = memory::steady(dir.path(), 12);
    let sim = Server::sim(&["--profile", "fast"]);
    const BEFORE: &str =
        "vllm:kv_cache_usage_perc 0.25\nDCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-1\"} 1024\n";
    const AFTER: &str =
        "vllm:kv_cache_usage_perc 0.75\nDCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-1\"} 3072\n";
    // A look before the first run, its beginning and two seconds of it; then two questions that wait two seconds each.
    let stalls = page(|asked, _| match asked {
        ..=4 => Answer::Page(BEFORE),
        5 | 6 => Answer::Silence,
        _ => Answer::Page(AFTER),
    });
    let args = [
        "--target",
        &sim.url,
        "--gpu",
        "off",
        "--engine-metrics",
        &stalls,
    ];
    let (_, document) = replay(&trace, &args);
    let engine = &document["targets"][0]["engine"];
    assert_eq!(engine["missed"], 2, "{engine:#}");
    let state = engine["state"].as_str().unwrap();
    assert!(
        state.starts_with("no figures at ") && state.ends_with("no answer within 2s"),
        "{state}"
    );
    for (figure, before, after) in [
        ("kv_cache", Value::from(0.25), Value::from(0.75)),
        (
            "vram_used_bytes",
            (1_u64 << 30).into(),
            (3_u64 << 30).into(),
        ),
    ] {
        let told = over_time(&document, figure);
        let last = told
            .iter()
            .position(|value| *value == Some(&after))
            .unwrap();
        let first = told[..last]
            .iter()
            .rposition(|value| *value == Some(&before))
            .unwrap();
        assert!(last - first > 1, "no gap in {figure}: {told:?}");
        assert!(
            told[first + 1..last].iter().all(Option::is_none),
            "{told:?}"
        );
    }
    // The last page before it is fresh for two seconds and a half.
    let empty = |figure| {
        over_time(&document, figure)
            .iter()
            .filter(|value| value.is_none())
            .count()
    };
    assert!(empty("kv_cache") >= 4, "{document:#}");
    assert!(empty("vram_used_bytes") >= 2, "{document:#}");
}

#[test]
fn several_pages_of_one_target_are_one_picture() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 30);
    let sim = Server::sim(&["--profile", "fast"]);
    let pages = [
        "vllm:num_requests_waiting 3\nvllm:kv_cache_usage_perc 0.25\nvllm:num_preemptions_total 7\n",
        "vllm:num_requests_waiting 4\nvllm:kv_cache_usage_perc 0.75\nvllm:num_preemptions_total 9\n",
        "DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-ab\"} 1024\n",
        "nvidia_smi_memory_used_bytes{uuid=\"ab\"} 1073741824\n",
    ]
    .map(|text| page(move |_, _| Answer::Page(text)));
    let args: Vec<&str> = pages
        .iter()
        .flat_map(|url| ["--engine-metrics", url.as_str()])
        .collect();
    let (_, document) = replay(
        &trace,
        &[
            &[
                "--target",
                sim.url.as_str(),
                "--gpu",
                "off",
                "--slo",
                "vram.peak<=1GiB",
            ],
            &args[..],
        ]
        .concat(),
    );
    let target = &document["targets"][0];
    let engine = &target["engine"];
    assert_eq!(engine["waiting_peak"], 7.0, "{engine:#}");
    assert_eq!(engine["kv_cache_peak"], 0.75, "{engine:#}");
    assert_eq!(engine["preemptions"], 0.0, "{engine:#}");
    let urls = engine["url"].as_str().unwrap();
    assert!(
        urls.contains(&pages[0]) && urls.contains(&pages[1]),
        "{urls}"
    );
    assert_eq!(target["gpu"].as_array().unwrap().len(), 1, "{target:#}");
    assert_eq!(objective(&document, "vram.peak<=1GiB")["status"], "pass");
}

#[test]
fn a_page_of_a_target_that_there_is_not_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 1);
    for (given, word) in [
        (
            &["other=http://127.0.0.1:1"][..],
            "no target is named `other`",
        ),
        (&["auto", "http://127.0.0.1:1"], "stand alone"),
        (&["ftp://127.0.0.1:1"], "or https://"),
    ] {
        let mut command = reenact(["replay"]);
        command.arg(&trace).args(["--target", "http://127.0.0.1:1"]);
        for page in given {
            command.args(["--engine-metrics", page]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    }
}

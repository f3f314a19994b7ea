//! What engines and exporters tell of themselves, read beside a replay.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
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
    let (exporter, _) = http::upstream(|mut client| {
        if http::read_request(&mut client).is_some() {
            let page = "DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-1\"} 1024\nDCGM_FI_DEV_FB_FREE{gpu=\"0\",UUID=\"GPU-1\"} 1024\n";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
            let _ = client.write_all(format!("{head}{page}").as_bytes());
        }
    });
    let (stalls, _) =
        http::upstream(|mut client| while http::read_request(&mut client).is_some() {});
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

/// A page that is always the same.
fn page(text: &'static str) -> String {
    let (url, _) = http::upstream(move |mut client| {
        if http::read_request(&mut client).is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            let _ = client.write_all(format!("{head}{text}").as_bytes());
        }
    });
    url
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
    .map(page);
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

#[test]
fn where_the_cache_runs_out_is_told_from_sixty_percent_of_the_load() {
    let dir = tempfile::tempdir().unwrap();
    // Bursts of 24 streams of 320 tokens every four seconds: some 7,000 tokens in flight, of 12,000 that the cache holds.
    let bursts = (0..96).map(|i| i / 24 * 4000 + i % 24 * 60);
    let trace = requests_at(dir.path(), bursts, (256, 64));
    let sim = Server::sim(&["--kv-capacity-tokens", "12000", "--step-base", "30000"]);
    let (_, document) = replay(&trace, &["--target", &sim.url]);
    let memory = &document["targets"][0]["memory"]["kv_cache"];
    let full = memory["in_flight_tokens"]
        .as_f64()
        .unwrap_or_else(|| panic!("{memory:#}"));
    assert!((full / 12_000.0 - 1.0).abs() < 0.1, "{memory:#}");
    assert!(memory["seen_share"].as_f64().unwrap() < 0.75, "{memory:#}");
}

/// A trace of `seconds`, of such a stream every quarter of a second.
fn steady(dir: &Path, seconds: u64) -> PathBuf {
    requests_at(dir, (0..seconds * 4).map(|i| i * 250), (256, 64))
}

#[test]
fn a_leak_is_told_from_an_engine_that_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let trace = steady(dir.path(), 40);
    let (leaks, sound) = (
        Server::sim(&["--vram", "80GiB", "--memory-leak", "4MiB"]),
        Server::sim(&["--vram", "80GiB"]),
    );
    let (_, document) = replay(
        &trace,
        &[
            "--target",
            &format!("leaks={}", leaks.url),
            "--target",
            &format!("sound={}", sound.url),
            "--schedule",
            "interleaved",
            "--slo",
            "vram.growth<1MiB/s",
            "--slo",
            "oom.count<=0",
        ],
    );
    let status = |target: &str, expr: &str| {
        let all = document["verdict"]["objectives"].as_array().unwrap();
        let one = all
            .iter()
            .find(|one| one["expr"] == expr && one["target"] == target)
            .unwrap();
        one["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        status("leaks", "vram.growth<1MiB/s"),
        "fail",
        "{document:#}"
    );
    assert_eq!(
        status("sound", "vram.growth<1MiB/s"),
        "pass",
        "{document:#}"
    );
    assert_eq!(status("sound", "oom.count<=0"), "pass");
    let gpu = &document["targets"][0]["gpu"][0];
    assert_eq!(
        (&gpu["source"], &gpu["growth"]["leak"]),
        (&"sim".into(), &true.into())
    );
    let per_s = gpu["growth_bytes_per_s"].as_f64().unwrap() / 1_048_576.0;
    assert!((per_s / 4.0 - 1.0).abs() < 0.1, "{gpu:#}");
    let fragmentation = &document["targets"][1]["engine"]["fragmentation_peak"];
    assert!(
        fragmentation.as_f64().is_some_and(|share| share < 0.01),
        "{fragmentation}"
    );
}

#[test]
fn memory_that_runs_out_is_counted_with_the_load_at_that_instant() {
    let dir = tempfile::tempdir().unwrap();
    let trace = steady(dir.path(), 8);
    // 1.2 GiB are left at start: gone after three seconds, and after each new start.
    let sim = Server::sim(&[
        "--vram",
        "8GiB",
        "--memory-leak",
        "400MiB",
        "--slowdown",
        "20",
    ]);
    let (output, document) = replay(&trace, &["--target", &sim.url, "--slo", "oom.count<=0"]);
    let target = &document["targets"][0];
    assert_eq!(
        objective(&document, "oom.count<=0")["status"],
        "fail",
        "{document:#}"
    );
    let first = &target["oom"]["events"][0];
    assert!(first["answers"].as_u64().unwrap() >= 1, "{first:#}");
    assert!(first["vram"].as_f64().unwrap() > 0.9, "{first:#}");
    assert!(
        first["in_flight_tokens"].as_f64().unwrap() > 0.0,
        "{first:#}"
    );
    assert!(
        target["engine"]["restarts"].as_u64().unwrap() >= 1,
        "{target:#}"
    );
    let errors = &target["requests"]["errors"];
    let failed = |kind: &str| errors[kind].as_u64().unwrap_or(0);
    assert!(failed("server_error") >= 1, "{errors}");
    assert!(
        failed("truncated") >= 1,
        "streams of 1.3 s were open when it ran out: {errors}"
    );
    let answers = target["oom"]["events"].as_array().unwrap().iter();
    let answers: u64 = answers.map(|one| one["answers"].as_u64().unwrap()).sum();
    assert_eq!(
        answers,
        failed("server_error") + failed("truncated"),
        "what broke off says why, too: {target:#}"
    );
    let _ = output;
}

//! What a replay leaves in `--out`: held to its schema, and drawn in a real browser.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Server, browser, reenact};

/// Replays the demo's arrivals, eight times as fast, against two simulated servers.
fn replayed(out: &Path, slos: &[&str]) -> std::process::Output {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("azure.rt");
    let rows = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/demo/azure_8s.csv");
    let imported = reenact(["import", "azure", rows, "-o"])
        .arg(&trace)
        .status()
        .unwrap();
    assert!(imported.success());
    let (a, b) = (
        Server::sim(&["--profile", "fast", "--vram", "80GiB"]),
        Server::sim(&["--profile", "fast", "--vram", "80GiB", "--slowdown", "3"]),
    );
    let slos = slos.iter().flat_map(|slo| ["--slo", slo]);
    reenact(["replay"])
        .arg(&trace)
        .args([
            "--target",
            &format!("a={}", a.url),
            "--target",
            &format!("b={}", b.url),
            "--speed",
            "8",
        ])
        .args(slos)
        .arg("--out")
        .arg(out)
        .output()
        .unwrap()
}

fn python<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
    assert!(
        Path::new(python).exists(),
        "{python} is missing: run tests/run once"
    );
    let output = Command::new(python).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_result_is_of_its_schema_and_the_report_draws_every_chart() {
    let out = tempfile::tempdir().unwrap();
    let output = replayed(out.path(), &["ttft.p99<1us", "e2e.p50<+10%"]);
    let code = output.status.code();
    // 4 where the machine was too busy to pace; the files are the same.
    assert!(
        matches!(code, Some(3 | 4)),
        "{code:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/result.schema.json");
    let validate = "import json, jsonschema, sys; jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    let result = out.path().join("result.json");
    python([
        "-c".as_ref(),
        validate.as_ref(),
        schema.as_os_str(),
        result.as_os_str(),
    ]);

    let result: serde_json::Value =
        serde_json::from_slice(&std::fs::read(result).unwrap()).unwrap();
    assert_eq!(result["simulated"], true);
    for target in result["targets"].as_array().unwrap() {
        assert_eq!(target["requests"]["ok"], 42);
        assert_eq!(target["fidelity"]["output_tokens_error"], 0.0);
        assert_eq!(target["fidelity"]["prompt_tokens_error"], 0.0);
    }
    let summary = std::fs::read_to_string(out.path().join("summary.md")).unwrap();
    assert!(
        summary.contains("Simulated") && summary.contains("ttft.p99<1us"),
        "{summary}"
    );
    let junit = std::fs::read_to_string(out.path().join("junit.xml")).unwrap();
    assert!(
        junit.contains("<testsuite name=\"a\"") && junit.contains("ttft.p99&lt;1us"),
        "{junit}"
    );
    let mut files: Vec<_> = std::fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
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
        ]
    );

    let percentiles = std::fs::read_to_string(out.path().join("percentiles.csv")).unwrap();
    let median = percentiles
        .lines()
        .find(|row| row.starts_with("a,ttft,50,"))
        .unwrap();
    let ends: Vec<f64> = median
        .split(',')
        .skip(4)
        .map(|end| end.parse().unwrap())
        .collect();
    let told = &result["targets"][0]["latency"]["ttft_ms"]["p50_ci95"];
    assert_eq!(serde_json::json!(ends), *told);

    let page = browser::open(&out.path().join("report.html"));
    assert_eq!(page.console, "");
    assert_eq!(page.charts.len(), 23);
    for id in [
        "ttft-load",
        "e2e-load",
        "kv-load",
        "kv-time",
        "waiting-time",
        "vram-load",
        "vram-time",
    ] {
        assert!(page.charts.contains_key(id), "{id}");
    }
    for (id, colours) in &page.charts {
        assert!(*colours > 3, "{id} is blank");
    }
    let page = page.dom;
    assert!(
        page.contains("Gaps between sends, KS distance") && page.contains("Allowed"),
        "fidelity stands beside its bars"
    );
    let (drawn, _scripts) = page.split_once("</main>").unwrap();
    assert!(!drawn.contains("class=\"empty\""), "and none is empty");
    assert!(
        !page.contains("http://www.") && !page.contains("https://cdn"),
        "nothing comes from elsewhere"
    );
}

#[test]
fn a_reader_written_from_the_document_alone_reads_the_golden_files() {
    python([concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/trace_python_reader/check.py"
    )]);
}

//! What a replay would send, by `--dry-run` over slices of public traces.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss
)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::traffic::requests_at;
use support::{Server, reenact, run, stdout_of};

/// A slice of a public trace, as a trace.
fn imported(dir: &Path, format: &str, file: &str) -> PathBuf {
    let rows = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/traces")
        .join(file);
    let trace = dir.join(format).with_extension("rt");
    let args = [
        "import".as_ref(),
        format.as_ref(),
        rows.as_os_str(),
        "-o".as_ref(),
    ];
    stdout_of(args.into_iter().chain([trace.as_os_str()]));
    trace
}

/// The plan's account and its requests.
fn plan(trace: &Path, options: &[&str]) -> (Value, Vec<Value>) {
    let output = dry_run(trace, &[options, &["--json"]].concat());
    let mut lines = output
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let plan = lines.next().unwrap()["plan"].take();
    (plan, lines.collect())
}

fn dry_run(trace: &Path, options: &[&str]) -> String {
    let output = reenact(["replay", "--dry-run", "--target", "http://127.0.0.1:9"])
        .arg(trace)
        .args(options)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

fn instants(requests: &[Value]) -> Vec<u64> {
    requests
        .iter()
        .map(|request| request["at_us"].as_u64().unwrap())
        .collect()
}

#[test]
fn the_mean_rate_goes_by_the_scale() {
    let dir = tempfile::tempdir().unwrap();
    for (format, file) in [
        ("azure", "azure2023_conv_200.csv"),
        ("mooncake", "mooncake_conversation_200.jsonl"),
    ] {
        let trace = imported(dir.path(), format, file);
        let (plain, requests) = plan(&trace, &[]);
        let span_s = number(&plain, "span_s");
        for scale in ["0.5", "2", "3.25"] {
            let (scaled, copied) = plan(&trace, &["--rate-scale", scale, "--copy-shift", "20s"]);
            let factor: f64 = scale.parse().unwrap();
            let expected = requests.len() as f64 * factor;
            let planned = copied.len() as f64;
            // Whole copies are exact; of the rest, a binomial number is kept: within four standard deviations.
            let part = factor.fract();
            let spread = 4.0 * (requests.len() as f64 * part * (1.0 - part)).sqrt();
            assert!(
                (planned - expected).abs() <= spread,
                "{format} {scale}: {planned} for {expected}"
            );
            assert!(number(&scaled, "span_s") <= span_s, "{format} {scale}");
            assert!(scaled["method"].is_string());
        }
    }
}

#[test]
fn half_of_the_sessions_are_among_three_quarters_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let trace = imported(dir.path(), "weka", "weka_sessions_3.jsonl.gz");
    let sessions = |scale: &str, seed: &str| -> BTreeSet<u64> {
        let options = ["--rate-scale", scale, "--seed", seed];
        let output = run([
            "replay",
            "--dry-run",
            "--json",
            "--target",
            "http://127.0.0.1:9",
        ]
        .map(Into::into)
        .into_iter()
        .chain([trace.clone().into_os_string()])
        .chain(options.map(Into::into)));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().skip(1);
        lines
            .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["session"].as_u64())
            .collect()
    };
    let mut sizes = BTreeSet::new();
    for seed in 0..8 {
        let seed = seed.to_string();
        let (half, more) = (sessions("0.5", &seed), sessions("0.75", &seed));
        assert!(half.is_subset(&more), "{half:?} {more:?}");
        sizes.insert(half.len());
    }
    assert!(sizes.len() > 1, "seeds choose differently");
}

#[test]
fn the_shards_that_a_job_makes_are_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    let trace = imported(dir.path(), "weka", "weka_sessions_3.jsonl.gz");
    let options = [
        "--rate-scale",
        "2.5",
        "--speed",
        "40",
        "--copy-shift",
        "10m",
    ];
    let (_, whole) = plan(&trace, &options);
    let mut union = Vec::new();
    for rank in ["0", "1", "2"] {
        let output = reenact([
            "replay",
            "--dry-run",
            "--json",
            "--target",
            "http://127.0.0.1:9",
        ])
        .arg(&trace)
        .args(options)
        .args(["--shard", "auto"])
        .envs([("SLURM_PROCID", rank), ("SLURM_NTASKS", "3")])
        .output()
        .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let account = lines.next().unwrap();
        assert_eq!(account["plan"]["shard"]["index"].to_string(), rank);
        union.extend(lines);
    }
    union.sort_by_key(|request| request["index"].as_u64());
    assert_eq!(union, whole);
}

#[test]
fn a_plan_reads_as_it_always_did() {
    let dir = tempfile::tempdir().unwrap();
    let trace = imported(dir.path(), "weka", "weka_sessions_3.jsonl.gz");
    let options = ["--rate-scale", "2", "--copy-shift", "1m", "--limit", "4"];
    insta::assert_snapshot!("weka_twice", dry_run(&trace, &options));
    let trace = imported(dir.path(), "azure", "azure2023_conv_200.csv");
    let options = ["--from", "10s", "--to", "12s", "--shape", "ramp:1..4"];
    insta::assert_snapshot!("azure_ramp", dry_run(&trace, &options));
}

#[test]
fn a_shape_and_a_loop_do_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let trace = imported(dir.path(), "azure", "azure2023_conv_200.csv");
    let (plain, requests) = plan(&trace, &[]);
    let (bent, moved) = plan(&trace, &["--shape", "step:1,3"]);
    assert_eq!(moved.len(), requests.len());
    assert!((number(&bent, "span_s") - number(&plain, "span_s") / 2.0).abs() < 0.001);
    let (looped, again) = plan(&trace, &["--loop-for", "5m"]);
    let per_s = requests.len() as f64 / number(&plain, "span_s");
    assert!((again.len() as f64 - 300.0 * per_s).abs() < 0.1 * again.len() as f64);
    assert_eq!(number(&looped, "loop_for_s"), 300.0);
    let at = instants(&again);
    assert!(at.is_sorted() && at.last().is_some_and(|&last| last < 300_000_000));
}

#[test]
fn a_spike_is_as_high_and_as_long_as_it_says_and_the_rest_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    // A hundred a second.
    let trace = requests_at(dir.path(), (0..2001).map(|i| i * 10), (8, 1));
    let (bent, requests) = plan(&trace, &["--shape", "spike:5@50%+10%"]);
    assert_eq!(requests.len(), 2001);
    // Of 14 parts of the arrivals, nine come as they did and five in a tenth of the time.
    let span_s = number(&bent, "span_s");
    assert!((span_s - 20.0 / 1.4).abs() < 0.001, "{span_s}");
    let at: Vec<f64> = instants(&requests)
        .iter()
        .map(|us| *us as f64 / 1e6)
        .collect();
    let per_s = |from: f64, to: f64| {
        let (from, to) = (from * span_s, to * span_s);
        at.iter().filter(|at| (from..to).contains(*at)).count() as f64 / (to - from)
    };
    for (from, to, expected) in [(0.0, 0.5, 100.0), (0.5, 0.6, 500.0), (0.6, 1.0, 100.0)] {
        let rate = per_s(from, to);
        assert!(
            (rate / expected - 1.0).abs() < 0.01,
            "{rate} from {from} to {to}"
        );
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_could_be() {
    let dir = tempfile::tempdir().unwrap();
    let trace = imported(dir.path(), "azure", "azure2023_conv_200.csv");
    for (options, told) in [
        (&["--start-at", "2020-01-01T00:00:00Z"][..], "is over"),
        (&["--start-at", "noon"], "+30s"),
        (&["--shard", "4/4"], "0/4 to 3/4"),
        (&["--shard", "0/4", "--shards", "5"], "is not of --shards 5"),
        (&["--shards", "5"], "JOB_COMPLETION_INDEX"),
        (&["--shape", "square:1"], "ramp:1..4"),
        (&["--loop-for", "0"], "10m"),
        (&["--rate-scale", "0"], "above 0"),
    ] {
        let output = reenact(["replay", "--dry-run", "--target", "http://127.0.0.1:9"])
            .arg(&trace)
            .args(options)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {error}");
        assert!(error.contains(told), "{options:?}: {error}");
    }
}

#[test]
fn a_run_starts_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let trace = imported(dir.path(), "azure", "azure2023_conv_200.csv");
    let sim = Server::sim(&["--profile", "fast"]);
    // A busy machine may take longer than the first of these to read the trace and to probe the server.
    let mut tries = [3_u32, 15, 50].into_iter().map(|lead_s| {
        let began = std::time::Instant::now();
        let output = reenact(["replay", "--json", "--limit", "3", "--start-at"])
            .arg(format!("+{lead_s}s"))
            .arg(&trace)
            .args(["--target", &sim.url])
            .output()
            .unwrap();
        (output, began.elapsed().as_secs_f64() - f64::from(lead_s))
    });
    let (output, beyond_s) = { &mut tries }
        .find(|(output, _)| output.status.code() != Some(1))
        .expect("no start was met");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 4)), "{error}");
    assert!(beyond_s > -0.1, "{beyond_s}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["targets"][0]["requests"]["sent"], 3);
    let late = reenact(["replay", "--limit", "3", "--start-at", "+1ms"])
        .arg(&trace)
        .args(["--target", &sim.url])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&late.stderr);
    assert_eq!(late.status.code(), Some(1), "{error}");
    assert!(error.contains("give --start-at a later moment"), "{error}");
}

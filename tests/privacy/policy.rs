use std::path::PathBuf;

use serde_json::Value;

use super::support::{self, RECORD, Server, exchanges, reenact, run, stdout_of};
use super::{ask, private};

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout_of(args)).unwrap()
}

#[test]
fn every_choice_takes_effect_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let traces = dir.path().join("traces");
    let config = dir.path().join("reenact.toml");
    std::fs::write(
        &config,
        "[record]\nname-threshold = 3\ntime-jitter = \"1ms\"\n",
    )
    .unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let recorder = Server::launch(
        reenact(RECORD)
            .args(["--upstream", &sim.url, "--quantise-lengths", "64"])
            .arg("--trace-dir")
            .arg(&traces)
            .arg("--config")
            .arg(&config)
            .env("REENACT_TIME_SHIFT", "1000h"),
    );
    for (number, model) in ["usual", "usual", "rare", "usual", "usual"]
        .iter()
        .enumerate()
    {
        ask(&recorder.url, model, &"x".repeat(300 * (number + 1)));
    }
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");

    let traces = traces.to_str().unwrap();
    let told = &json(&["inspect", "--policy", "--json", traces])["files"][0];
    let policy = &told["policy"];
    assert_eq!(policy["name_threshold"], 3);
    assert_eq!(policy["lengths"], "64");
    assert_eq!(policy["time_jitter_us"], 1000);
    assert_eq!(policy["time_shift_us"], 3_600_000_000_000_u64);
    assert_eq!(policy["keys"], "per_file");
    let text = stdout_of(["inspect", "--policy", traces]);
    for told in [
        "64 tokens and 256 bytes",
        "below 1ms",
        "has 3 exchanges of it",
        "mode 0600",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }

    let models = json(&["inspect", "--json", traces])["models"].clone();
    let named: Vec<_> = models
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            (
                model["model"].as_str().unwrap(),
                model["exchanges"].as_u64(),
            )
        })
        .collect();
    assert_eq!(named, [("usual", Some(4)), ("model-1", Some(1))]);
    let recorded = exchanges(traces.as_ref());
    assert_eq!(recorded.len(), 5);
    for exchange in &recorded {
        let request = &exchange["request"];
        let bytes = request["messages"][0]["bytes"].as_u64().unwrap();
        assert_eq!(bytes % 256, 0, "{exchange}");
        assert_eq!(request["bytes"].as_u64().unwrap() % 256, 0, "{exchange}");
        assert_eq!(request["prompt_tokens"]["count"].as_u64().unwrap() % 64, 0);
        let blocks = request["blocks"].as_array().map_or(0, Vec::len) as u64;
        assert_eq!(
            blocks,
            (bytes + 1) / 64,
            "the chain is as long as the prompt"
        );
        // Five exchanges take no minute, and one in a million shifts is below one.
        assert!(
            exchange["at_us"].as_u64().unwrap() > 60_000_000,
            "{exchange}"
        );
    }
}

#[test]
fn a_share_of_conversations_is_left_out_whole() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let args = ["--drop-sessions", "50%", "--session-header", "X-Session"];
    let recorder = Server::recorder(&sim.url, dir.path(), &args);
    let body =
        r#"{"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]}"#;
    for turn in 0..3 {
        for session in 0..40 {
            let named = format!("session {session}");
            let headers = [("X-Session", named.as_str())];
            let request = support::http::post("/v1/chat/completions", &headers, body);
            let answer = support::http::send(&recorder.url, &request);
            assert_eq!(support::http::status(&answer), 200, "turn {turn}");
        }
    }
    recorder.terminate();
    let recorded = exchanges(dir.path()).len();
    assert_eq!(recorded % 3, 0, "all turns of a conversation or none");
    assert!((3..=117).contains(&recorded), "{recorded} of 120");
    let told = json(&[
        "inspect",
        "--policy",
        "--json",
        dir.path().to_str().unwrap(),
    ]);
    assert_eq!(told["files"][0]["policy"]["dropped_sessions_ppm"], 500_000);
    assert_eq!(told["files"][0]["sample_rate"], 0.5);
}

#[test]
fn an_operators_key_links_the_files_of_a_run_and_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    private(&key, &"0123456789abcdef".repeat(4));
    let sim = Server::sim(&["--profile", "null"]);
    let first_block_twice = |key: Option<&PathBuf>| {
        let traces = tempfile::tempdir().unwrap();
        let mut command = reenact(RECORD);
        command
            .args(["--upstream", &sim.url, "--rotate-size", "1"])
            .arg("--trace-dir")
            .arg(traces.path());
        if let Some(key) = key {
            command.arg("--key-file").arg(key);
        }
        let recorder = Server::launch(&mut command);
        ask(&recorder.url, "m", &"x".repeat(300));
        // The next file is begun once this one has been written to.
        let started = std::time::Instant::now();
        while std::fs::read_dir(traces.path()).unwrap().count() < 2 {
            assert!(started.elapsed() < support::PATIENCE, "no second file");
            std::thread::yield_now();
        }
        ask(&recorder.url, "m", &"x".repeat(300));
        let (_, log) = recorder.terminate();
        let blocks: Vec<_> = exchanges(traces.path())
            .iter()
            .map(|exchange| exchange["request"]["blocks"][0].clone())
            .collect();
        (blocks, log)
    };
    let (linked, log) = first_block_twice(Some(&key));
    assert_eq!(linked, [0, 0]);
    assert!(
        log.contains("WARN") && log.contains("can be linked"),
        "{log}"
    );
    assert!(!log.contains("0123456789abcdef"), "{log}");
    let (apart, log) = first_block_twice(None);
    assert_eq!(apart.len(), 2);
    assert_ne!(apart[0], apart[1]);
    assert!(!log.contains("linked"), "{log}");
}

#[test]
fn gaps_in_their_order_are_warned_of() {
    let sim = Server::sim(&["--profile", "null"]);
    let log_with = |gaps: &str| {
        let traces = tempfile::tempdir().unwrap();
        let recorder = Server::recorder(&sim.url, traces.path(), &["--gaps", gaps]);
        recorder.terminate().1
    };
    let is_warned = |line: &str| line.contains("WARN") && line.contains("--gaps full");
    let log = log_with("full");
    assert!(log.lines().any(is_warned), "{log}");
    let log = log_with("sketch");
    assert!(!log.contains("--gaps full"), "{log}");
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    private(&key, &"0123456789abcdef".repeat(4));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, mode).unwrap();
    let output = reenact(RECORD)
        .args(["--upstream", "http://127.0.0.1:1", "--key-file"])
        .arg(&key)
        .arg("--trace-dir")
        .arg(dir.path())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("mode 644") && error.contains("hint: chmod 600"),
        "{error}"
    );
    assert!(!error.contains("0123456789abcdef"), "{error}");
}

#[test]
fn a_check_tells_the_policy_before_anything_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let traces = dir.path().to_str().unwrap();
    let place = ["--upstream", &sim.url, "--trace-dir", traces];
    let choice = ["--keep-model", "llama", "--quantise-lengths", "log"];
    let text = stdout_of([&RECORD[..], &place, &choice, &["--check"]].concat());
    for told in [
        "prompt and answer text: dropped",
        "in clear: llama",
        "8 steps to each doubling",
        "at rest",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let wrong = ["--quantise-lengths", "1"];
    let output = run([&RECORD[..], &place, &wrong].concat());
    assert_eq!(output.status.code(), Some(2));
}

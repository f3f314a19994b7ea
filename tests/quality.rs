//! Answers judged by an evaluator, idle and under load, through the built binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{Server, reenact, skipped, stdout_of};

/// A trace of short streams, 30 ms apart.
fn trace(dir: &Path, requests: u32) -> PathBuf {
    let rows: String = (0..requests)
        .map(|i| {
            let at = i * 30;
            format!(r#"{{"timestamp":{at},"input_length":32,"output_length":4,"hash_ids":[{i}]}}"#)
                + "\n"
        })
        .collect();
    let (file, trace) = (dir.join("rows.jsonl"), dir.join("trace.rt"));
    std::fs::write(&file, rows).unwrap();
    let import = ["import".as_ref(), "mooncake".as_ref(), file.as_os_str()];
    stdout_of(import.into_iter().chain(["-o".as_ref(), trace.as_os_str()]));
    trace
}

fn replay(command: &mut Command, trace: &Path, args: &[&str]) -> (Output, Value) {
    let output = command
        .arg(trace)
        .args(args)
        .args(["--fidelity", "lateness=10s", "--fidelity", "ks=1", "--json"])
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output, document)
}

fn status<'a>(document: &'a Value, expr: &str) -> (&'a str, &'a str) {
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    let one = objectives.iter().find(|one| one["expr"] == expr).unwrap();
    (
        one["status"].as_str().unwrap(),
        one["reason"].as_str().unwrap(),
    )
}

#[test]
fn what_load_does_to_answers_is_told_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100);
    let sim = Server::sim(&["--profile", "fast"]);
    // It passes everything while idle, and one of two under load.
    let script = dir.path().join("judge");
    let text = "test \"$REENACT_TARGET_URL\" = \"$1\" || exit 7\n\
        if [ $REENACT_PROBE_PHASE = idle ]; then second=true; else second=false; fi\n\
        echo \"{\\\"tests\\\":[{\\\"id\\\":\\\"a\\\",\\\"pass\\\":true},{\\\"id\\\":\\\"b\\\",\\\"pass\\\":$second}]}\"\n";
    std::fs::write(&script, text).unwrap();
    let probe = format!("cmd:sh {} {}", script.display(), sim.url);
    let (output, document) = replay(
        &mut reenact(["replay"]),
        &trace,
        &[
            "--target",
            &sim.url,
            "--probe",
            &probe,
            "--slo",
            "quality.pass_rate>=40%",
            "--slo",
            "quality.flips<=0",
        ],
    );
    let quality = &document["targets"][0]["quality"];
    assert_eq!(quality["evaluator"], "cmd", "{quality:#}");
    assert_eq!(
        (
            &quality["idle"]["pass_rate"],
            &quality["loaded"]["pass_rate"]
        ),
        (&1.0.into(), &0.5.into())
    );
    assert_eq!(quality["worsened"], serde_json::json!(["b"]));
    assert_eq!(quality["overlap"], 1.0, "{quality:#}");
    assert_eq!(status(&document, "quality.pass_rate>=40%").0, "pass");
    assert_eq!(status(&document, "quality.flips<=0").0, "fail");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn an_evaluator_that_is_missing_fails_or_hangs_costs_the_replay_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 40);
    let sim = Server::sim(&["--profile", "fast"]);
    let config = dir.path().join("promptfooconfig.yaml");
    std::fs::write(&config, "prompts: [hello]\n").unwrap();
    let promptfoo = format!("promptfoo:{}", config.display());
    for (probe, word) in [
        (promptfoo.as_str(), "promptfoo is not installed"),
        (
            "cmd:echo out of order >&2; exit 5",
            "exit code 5 and no JSON: out of order",
        ),
        ("cmd:sleep 1000", "no end after 300ms"),
    ] {
        let mut command = reenact(["replay"]);
        command.env("REENACT_PROMPTFOO", "/nowhere/promptfoo");
        let (output, document) = replay(
            &mut command,
            &trace,
            &[
                "--target",
                &sim.url,
                "--probe",
                probe,
                "--probe-timeout",
                "300ms",
                "--slo",
                "quality.pass_rate>=1%",
            ],
        );
        assert_eq!(document["targets"][0]["requests"]["ok"], 40, "{probe}");
        let (status, reason) = status(&document, "quality.pass_rate>=1%");
        assert_eq!(status, "not_measured", "{probe}");
        assert!(reason.contains(word), "{probe}: {reason}");
        assert_eq!(output.status.code(), Some(3), "{probe}");
    }
}

#[test]
fn a_probe_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 1);
    for (probe, word) in [
        (
            "promptfoo:nowhere.yaml",
            "nowhere.yaml: there is no such file",
        ),
        ("deepeval", "write promptfoo:FILE or cmd:COMMAND"),
    ] {
        let mut command = reenact(["replay"]);
        command
            .arg(&trace)
            .args(["--target", "http://127.0.0.1:1", "--probe", probe]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(word), "{said}");
    }
}

/// The example that users come with: two prompts, two providers, an assertion on latency and one in JavaScript.
const CONFIG: &str = "
prompts:
  - 'Write a tweet about {{topic}}'
  - 'Write a concise, funny tweet about {{topic}}'
providers:
  - openai:chat:gpt-4o-mini
  - anthropic:messages:claude-3-5-haiku-20241022
defaultTest:
  assert:
    - type: latency
      threshold: 5000
    - type: javascript
      value: output.length < 500
tests:
  - vars: { topic: bananas }
  - vars: { topic: avocado toast }
";

#[test]
#[ignore = "needs promptfoo (1.4 GB of npm): npm install promptfoo, and its program in REENACT_PROMPTFOO"]
fn a_real_promptfoo_runs_as_its_user_wrote_it() {
    if std::env::var_os("REENACT_PROMPTFOO").is_none() {
        skipped("REENACT_PROMPTFOO names no promptfoo");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 2000);
    let config = dir.path().join("promptfooconfig.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let sims = [(); 2].map(|()| Server::sim(&["--profile", "fast"]));
    let key = dir.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    let (output, document) = replay(
        &mut reenact(["replay"]),
        &trace,
        &[
            "--target",
            &format!("stable={}", sims[0].url),
            "--target",
            &format!("candidate={}", sims[1].url),
            "--api-key-file",
            key.to_str().unwrap(),
            "--probe",
            &format!("promptfoo:{}", config.display()),
            "--slo",
            "quality.pass_rate>=90%",
            "--slo",
            "quality.pass_rate>-5%",
        ],
    );
    for target in 0..2 {
        let quality = &document["targets"][target]["quality"];
        for phase in ["idle", "loaded"] {
            assert_eq!(quality[phase]["n"], 8, "{quality:#}");
            assert_eq!(quality[phase]["passed"], 8, "{quality:#}");
            assert_eq!(
                quality[phase]["checks"]["latency"],
                serde_json::json!([8, 8])
            );
            assert_eq!(
                quality[phase]["checks"]["javascript"],
                serde_json::json!([8, 8])
            );
        }
        assert!(quality.get("problems").is_none(), "{quality:#}");
    }
    assert_eq!(status(&document, "quality.pass_rate>=90%").0, "pass");
    assert_eq!(status(&document, "quality.pass_rate>-5%").0, "pass");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("s3cret"));
}

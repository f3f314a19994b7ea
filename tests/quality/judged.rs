//! Any evaluator: what it says, and what becomes of a replay whose evaluator says nothing.

use super::support::{Server, reenact};
use super::{replay, status, trace};

#[test]
fn what_load_does_to_answers_is_told_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100);
    let sim = Server::sim(&["--profile", "fast"]);
    // It passes everything while idle, and one of two under load.
    let script = dir.path().join("judge");
    let text = "test \"$REENACT_TARGET_URL\" = \"$1\" || exit 7\n\
        if [ $REENACT_PROBE_PHASE = idle ]; then second=true ms=10; else second=false ms=30; fi\n\
        echo \"{\\\"tests\\\":[{\\\"id\\\":\\\"a\\\",\\\"pass\\\":true,\\\"latency_ms\\\":$ms,\\\"score\\\":0.5},{\\\"id\\\":\\\"b\\\",\\\"pass\\\":$second}]}\"\n";
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
    let latency = serde_json::json!({"n": 1, "idle": 10.0, "loaded": 30.0, "change": 20.0});
    assert_eq!(quality["latency_ms"], latency, "{quality:#}");
    assert_eq!(quality["latencies"][0]["id"], "a");
    assert_eq!(quality["score"]["change"], 0.0);
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

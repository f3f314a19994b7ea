//! Fixed prompts whose answers are compared.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::support::{Server, reenact};
use super::{replay, spaced, trace};

/// A replay against one or two targets.
fn canary(trace: &Path, targets: &[&Server], args: &[&str]) -> (Output, Value) {
    let named: Vec<String> = targets
        .iter()
        .zip(["stable", "candidate"])
        .map(|(sim, name)| format!("{name}={}", sim.url))
        .collect();
    let mut all: Vec<&str> = Vec::new();
    for target in &named {
        all.extend(["--target", target.as_str()]);
    }
    all.extend(args);
    replay(&mut reenact(["replay"]), trace, &all)
}

#[test]
fn answers_that_depend_on_the_batch_are_found_and_those_that_do_not_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let trace = spaced(dir.path(), 500, 10);
    let prompts = dir.path().join("prompts.txt");
    std::fs::write(&prompts, "# ours\nmarmalade recipe\n\nzeppelin history\n").unwrap();
    let probe = format!("canary:{}", prompts.display());
    // Whatever else is in the engine changes its answers; while it is idle it gives the same again.
    let steady = Server::sim(&["--profile", "fast"]);
    let drifting = Server::sim(&[
        "--profile",
        "fast",
        "--nondeterministic-above",
        "1",
        "--slowdown",
        "20",
    ]);
    let (output, document) = canary(
        &trace,
        &[&steady, &drifting],
        &[
            "--probe",
            &probe,
            "--slo",
            "quality.canary.identical>=99%",
            "--slo",
            "quality.canary.distance<=0.01",
        ],
    );
    let [stable, candidate] =
        [0, 1].map(|target| &document["targets"][target]["quality"]["canary"]);
    for (quality, phase) in [(stable, "idle"), (stable, "loaded"), (candidate, "idle")] {
        assert_eq!(
            (&quality[phase]["n"], &quality[phase]["identical"]),
            (&2.into(), &2.into()),
            "{phase}: {quality:#}"
        );
    }
    assert_eq!(candidate["loaded"]["identical"], 0, "{candidate:#}");
    assert!(candidate["loaded"]["distance_mean"].as_f64().unwrap() > 0.5);
    assert_eq!(
        candidate["loaded"]["changed"],
        serde_json::json!(["line 2", "line 4"])
    );
    // Both are simulators of one seed, so idle they say the same.
    assert_eq!(candidate["first"]["identical"], 2, "{candidate:#}");
    assert!(stable.get("first").is_none());
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    let judged: Vec<_> = objectives
        .iter()
        .map(|one| {
            (
                one["target"].as_str().unwrap(),
                one["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        judged
            .iter()
            .filter(|one| **one == ("stable", "pass"))
            .count(),
        2
    );
    assert_eq!(
        judged
            .iter()
            .filter(|one| **one == ("candidate", "fail"))
            .count(),
        2
    );
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("marmalade") && !said.contains("zeppelin"),
        "{said}"
    );
}

#[test]
fn a_target_of_another_seed_answers_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 60);
    let sims = [
        Server::sim(&["--profile", "fast"]),
        Server::sim(&["--profile", "fast", "--seed", "99"]),
    ];
    let (_, document) = canary(&trace, &[&sims[0], &sims[1]], &["--probe", "canary"]);
    let quality = &document["targets"][1]["quality"];
    assert_eq!(quality["canary"]["idle"]["identical"], 12, "{quality:#}");
    assert_eq!(quality["canary"]["first"]["identical"], 0, "{quality:#}");
}

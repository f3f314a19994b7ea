//! The GitLab job: its script run as a runner runs it, and what GitLab makes of how it ends.

use std::process::{Command, Output};

use serde_json::Value;

use super::support::{Server, python};
use super::{Step, said, shipped};

/// The job that other jobs extend, as GitLab reads it.
fn job() -> Value {
    let read =
        "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))['.reenact']))";
    let output = python()
        .args(["-c", read])
        .arg(shipped("gitlab/replay.gitlab-ci.yml"))
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
}

/// Its `script`, in the shell that a runner starts for it.
fn run(job: &Value, step: &Step, variables: &[(&str, &str)]) -> Output {
    let lines = job["script"].as_array().unwrap();
    let lines: Vec<&str> = lines.iter().map(|line| line.as_str().unwrap()).collect();
    let mut command = Command::new("bash");
    command
        .args(["-eo", "pipefail", "-c", &lines.join("\n")])
        .current_dir(step.dir.path())
        .env("PATH", step.path());
    let preset = job["variables"].as_object().unwrap().iter();
    command
        .envs(preset.map(|(name, value)| (name, value.as_str().unwrap())))
        .envs(variables.iter().copied());
    command.output().unwrap()
}

/// Whether GitLab tries a job that ended so once more: an exit code that is listed, **or** a reason that is; without either list, any
/// (`lib/gitlab/ci/build/auto_retry.rb`, GitLab 16.11 and later).
fn tried_again(job: &Value, code: i32) -> bool {
    let retry = &job["retry"];
    let listed = |value: &Value, wanted: Value| match value {
        Value::Array(all) => all.contains(&wanted),
        one => *one == wanted,
    };
    let codes = &retry["exit_codes"];
    let reason = match &retry["when"] {
        Value::Null => codes.is_null(),
        when => listed(when, "always".into()) || listed(when, "script_failure".into()),
    };
    code != 0 && retry["max"].as_u64() > Some(0) && (reason || listed(codes, code.into()))
}

#[test]
fn the_gitlab_job_ends_as_the_verdict_does_and_only_an_invalid_one_is_tried_again() {
    let sim = Server::sim(&["--profile", "fast"]);
    let (job, step) = (job(), Step::new());
    let target = format!("--target a={}", sim.url);
    let faithful = "--fidelity lateness=10s --fidelity ks=1";
    for (objectives, options, code) in [
        ("--slo e2e.p50<1m", faithful, 0),
        ("--slo e2e.p50<1m --slo e2e.p50<1us", faithful, 3),
        ("--slo e2e.p50<1m", "--fidelity lateness=1us", 4),
        ("--slo e2e.p50<soon", faithful, 2),
    ] {
        let ended = run(
            &job,
            &step,
            &[
                ("REENACT_TRACE", "trace.rt"),
                ("REENACT_TARGETS", &target),
                ("REENACT_OBJECTIVES", objectives),
                ("REENACT_OPTIONS", options),
            ],
        );
        assert_eq!(ended.status.code(), Some(code), "{}", said(&ended));
        assert_eq!(tried_again(&job, code), code == 4, "{code}");
    }
    // Of the last that ran: what the job keeps and shows is there.
    for kept in ["reenact-results/junit.xml", "reenact-results/report.html"] {
        assert!(step.dir.path().join(kept).exists(), "{kept}");
    }
}

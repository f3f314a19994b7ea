//! What is shipped for pipelines and dashboards: run, or judged by the tools that will read it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod argo;
mod gitlab;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::{Server, http, stdout_of, venv};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn shipped(path: &str) -> PathBuf {
    Path::new(ROOT).join("deploy").join(path)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a tool that must find nothing wrong.
fn judged(command: &mut Command) {
    let output = command
        .output()
        .expect("run tests/run, which installs what the tests need");
    assert!(output.status.success(), "{command:?}: {}", said(&output));
}

#[test]
fn the_alerts_fire_when_they_should() {
    let rules = |name| shipped("prometheus").join(name);
    judged(
        Command::new("promtool")
            .args(["check", "rules"])
            .arg(rules("rules.yaml")),
    );
    judged(
        Command::new("promtool")
            .args(["test", "rules"])
            .arg(rules("rules.test.yaml")),
    );
}

#[test]
fn the_jobs_are_what_their_pipelines_take() {
    let check = || Command::new(venv("check-jsonschema"));
    judged(
        check()
            .args(["--builtin-schema", "vendor.github-actions"])
            .arg(shipped("github-action/action.yml")),
    );
    judged(
        check()
            .args([
                "--builtin-schema",
                "vendor.gitlab-ci",
                "--data-transform",
                "gitlab-ci",
            ])
            .arg(shipped("gitlab/replay.gitlab-ci.yml")),
    );
}

/// A step of a pipeline: a directory with a trace, and with the program that was just built for its path.
struct Step {
    dir: tempfile::TempDir,
}

impl Step {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_reenact"));
        std::os::unix::fs::symlink(binary, dir.path().join("reenact")).unwrap();
        let rows: String = (0..40)
            .map(|i| {
                let at = i * 40;
                format!(
                    r#"{{"timestamp":{at},"input_length":32,"output_length":4,"hash_ids":[{i}]}}"#
                ) + "\n"
            })
            .collect();
        let file = dir.path().join("rows.jsonl");
        std::fs::write(&file, rows).unwrap();
        let trace = dir.path().join("trace.rt");
        let words = [
            "import".as_ref(),
            "mooncake".as_ref(),
            file.as_os_str(),
            "-o".as_ref(),
            trace.as_os_str(),
        ];
        stdout_of(words);
        Self { dir }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// The search path that finds the program.
    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.dir.path().display())
    }

    /// Runs what the GitHub action does.
    fn run(&self, inputs: &[(&str, &str)]) -> Output {
        for file in ["summary", "outputs"] {
            let _ = std::fs::remove_file(self.dir.path().join(file));
        }
        let mut command = Command::new(shipped("github-action/replay"));
        command
            .current_dir(self.dir.path())
            .env("PATH", self.path())
            .env("GITHUB_STEP_SUMMARY", "summary")
            .env("GITHUB_OUTPUT", "outputs")
            .env("REENACT_ACTION_TRACE", "\n  trace.rt  \n")
            .env(
                "REENACT_ACTION_ARGUMENTS",
                "--fidelity\nlateness=10s\n--fidelity\nks=1",
            );
        for (name, value) in inputs {
            command.env(format!("REENACT_ACTION_{name}"), value);
        }
        command.output().unwrap()
    }
}

#[test]
fn the_action_reports_and_fails_as_it_is_told_to() {
    let sim = Server::sim(&["--profile", "fast"]);
    let step = Step::new();
    let target = format!("a={}", sim.url);
    let missed = [
        ("TARGETS", target.as_str()),
        ("SLO", "errors.rate<1%\ne2e.p50<1us"),
    ];

    let passed = step.run(&[("TARGETS", &target), ("SLO", "e2e.p50<1m")]);
    assert_eq!(passed.status.code(), Some(0), "{}", said(&passed));
    assert_eq!(step.read("outputs"), "status=pass\nout=reenact-results\n");
    assert!(step.read("summary").contains("# Replay: pass"));
    assert!(!said(&passed).contains("::error"));

    let failed = step.run(&missed);
    assert_eq!(failed.status.code(), Some(3), "{}", said(&failed));
    assert!(step.read("outputs").starts_with("status=fail\n"));
    let note = "::error title=reenact%3A e2e.p50<1us on a::";
    assert!(said(&failed).contains(note), "{}", said(&failed));

    let reported = step.run(&[&missed[..], &[("FAIL_ON", "never")]].concat());
    assert_eq!(reported.status.code(), Some(0), "{}", said(&reported));
    assert!(step.read("outputs").starts_with("status=fail\n"));
}

#[test]
fn an_action_that_could_not_run_fails_whatever_it_was_told() {
    let step = Step::new();
    let input = "a=http://127.0.0.1:1 ; touch here";
    let broken = step.run(&[("TARGETS", input), ("FAIL_ON", "never")]);
    assert!(
        matches!(broken.status.code(), Some(1 | 2)),
        "{}",
        said(&broken)
    );
    assert!(step.read("outputs").starts_with("status=\n"));
    assert!(
        !step.dir.path().join("here").exists(),
        "an input is no command"
    );
    let word = step.run(&[("TARGETS", "http://127.0.0.1:1"), ("FAIL_ON", "sometimes")]);
    assert_eq!(word.status.code(), Some(2));
    assert!(
        said(&word).contains("missed, invalid or never"),
        "{}",
        said(&word)
    );
}

/// Every file of a folder and of those within it, as text.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| match path.is_dir() {
            true => texts(&path),
            false => vec![(path.clone(), std::fs::read_to_string(&path).unwrap())],
        })
        .collect()
}

/// The values that a text gives to `--slo`, but for those that a template or a variable fills in.
fn objectives(text: &str) -> Vec<&str> {
    text.split("--slo")
        .skip(1)
        .filter_map(|rest| rest.strip_prefix(['=', ' ']))
        .filter_map(|rest| match rest.chars().next()? {
            quote @ ('\'' | '"') => rest[1..].split(quote).next(),
            _ => rest.split_whitespace().next(),
        })
        .filter(|value| !value.contains(['$', '{']))
        .collect()
}

#[test]
fn every_objective_that_is_shipped_is_one() {
    let files = texts(&shipped(""));
    let values: Vec<&str> = files
        .iter()
        .filter(|(path, _)| path.extension().is_none_or(|kind| kind != "json"))
        .flat_map(|(_, text)| objectives(text))
        .collect();
    assert!(values.len() >= 9, "{values:?}");
    let parse = |values: &[&str]| {
        let mut command = support::reenact(["replay"]);
        for target in ["a", "b"] {
            command.args(["--target", &format!("{target}=http://127.0.0.1:1")]);
        }
        for value in values {
            command.args(["--slo", value]);
        }
        said(&command.arg("/nowhere/trace.rt").output().unwrap())
    };
    // All that is wrong is that there is no such trace.
    let taken = parse(&values);
    assert!(
        taken.contains("/nowhere/trace.rt") && !taken.contains("--slo"),
        "{values:?}: {taken}"
    );
    let refused = parse(&["ttft.p99<soon"]);
    assert!(refused.contains("--slo"), "{refused}");
}

/// What stands behind a key of a file of YAML, in each line that has it.
fn behind<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text
        .lines()
        .map(|line| line.trim().trim_start_matches("- "));
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .map(str::trim)
        .collect()
}

#[test]
fn flaggers_hooks_are_what_the_shipped_gate_takes() {
    let read = |path| std::fs::read_to_string(shipped(path)).unwrap();
    let (canary, gate) = (read("flagger/canary.yaml"), read("kubernetes/gate.yaml"));
    let (urls, targets) = (behind(&canary, "url"), behind(&canary, "targets"));
    assert_eq!((urls.len(), targets.len()), (2, 2), "{urls:?} {targets:?}");
    assert!(behind(&gate, "name").contains(&"reenact-gate"));
    assert!(behind(&gate, "containerPort").contains(&"8090"));
    let reach = gate
        .lines()
        .find_map(|line| line.trim().strip_prefix("- --allow-target="));
    let dir = tempfile::tempdir().unwrap();
    let mut command = support::reenact(["gate", "--listen", "127.0.0.1:0", "--results"]);
    command
        .arg(dir.path())
        .args(["--allow-target", reach.unwrap(), "--", "/nowhere/trace.rt"]);
    let listening = Server::launch_with(&mut command, Stdio::null());
    for (url, targets) in urls.into_iter().zip(targets) {
        let path = url.strip_prefix("http://reenact-gate.models:8090").unwrap();
        let hook = serde_json::json!({
            "name": "chat", "namespace": "models", "phase": "Progressing", "checksum": "85d557f47b",
            "metadata": {"targets": targets},
        });
        let answer = http::send(&listening.url, &http::post(path, &[], &hook.to_string()));
        // The replay has no trace and so no verdict; but the hook was understood, and its targets are where the gate may go.
        assert!(
            matches!(http::status(&answer), 200 | 412 | 503),
            "{path}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
}

#[test]
fn every_option_that_is_shipped_is_one() {
    let help = stdout_of(["replay", "--help"]) + &stdout_of(["gate", "--help"]);
    let read = |path| std::fs::read_to_string(shipped(path)).unwrap();
    let shipped = read("argo-rollouts/analysis.yaml") + &read("kubernetes/gate.yaml");
    let options: Vec<&str> = shipped
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --"))
        .filter_map(|option| option.split('=').next())
        .filter(|option| !option.is_empty())
        .collect();
    assert!(options.len() >= 13, "{options:?}");
    for option in options {
        assert!(help.contains(&format!("--{option} ")), "{option}");
    }
}

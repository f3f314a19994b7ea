//! Probes that are none, and runs that nobody would judge.

use super::support::reenact;
use super::trace;

#[test]
fn a_probe_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 1);
    for (probe, word) in [
        (
            "promptfoo:nowhere.yaml",
            "nowhere.yaml: there is no such file",
        ),
        ("canary:nowhere.txt", "nowhere.txt: "),
        (
            "deepeval",
            "write promptfoo:FILE, cmd:COMMAND, canary or canary:FILE",
        ),
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

#[test]
fn runs_that_nobody_would_judge_are_refused_before_anything_is_sent() {
    for (args, word) in [
        (&["--sweep", "1,2"][..], "--sweep or --find-max"),
        (
            &["--find-max", "--slo", "errors.rate<1%"],
            "--sweep or --find-max",
        ),
    ] {
        let output = reenact(["replay", "x.rt", "--target", "http://127.0.0.1:1"])
            .args(["--probe", "canary"])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("--probe does not go with {word}")) && said.contains("hint: "),
            "{said}"
        );
    }
}

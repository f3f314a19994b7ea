//! What is said before a replay begins.

use crate::support::reenact;
use crate::support::traffic::short_requests;
use crate::{SECRET, stderr};

#[test]
fn what_cannot_be_sent_is_said_before_the_replay() {
    let dir = tempfile::tempdir().unwrap();
    let trace = short_requests(dir.path(), 4);
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let otlp = ["--otlp", "http://127.0.0.1:9"];
    let langsmith = ["--langsmith", "gates"];
    let cases: [(&[&str], &str, &str, &str); 5] = [
        (&otlp, "", "", "--otlp needs --out"),
        (
            &langsmith,
            "LANGSMITH_API_KEY",
            SECRET,
            "--langsmith needs --out",
        ),
        (
            &[&otlp[..], &["--out", out]].concat(),
            "OTEL_EXPORTER_OTLP_HEADERS",
            SECRET,
            "item 1 has no `=`",
        ),
        (
            &[&langsmith[..], &["--out", out]].concat(),
            "LANGSMITH_API_KEY",
            " ",
            "LANGSMITH_API_KEY is not set",
        ),
        (
            &["--otlp", "ftp://collector", "--out", out],
            "",
            "",
            "write http:// or https://",
        ),
    ];
    for (args, variable, value, why) in cases {
        let mut command = reenact(["replay"]);
        // Nobody listens there, and nobody is asked.
        command
            .arg(&trace)
            .args(["--target", "http://127.0.0.1:9"])
            .args(args);
        if !variable.is_empty() {
            command.env(variable, value);
        }
        let output = command.output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(!said.contains(SECRET), "{said}");
        assert!(!dir.path().join("out").exists(), "{said}");
    }
}

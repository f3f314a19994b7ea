//! `record --check`: says what would happen, and makes nothing.

use serde_json::Value;

use super::support;
use super::upstream;

fn check(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = support::run([&["record", "--check", "--json"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    (
        output.status.code(),
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")),
    )
}

fn level<'a>(check: &'a Value, about: &str) -> &'a str {
    check["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["about"] == about)
        .unwrap()["level"]
        .as_str()
        .unwrap()
}

#[test]
fn what_would_start_is_told_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (traces, out) = (dir.path().join("traces"), dir.path().join("out"));
    let upstream = upstream();
    let mirror = format!("next={upstream}");
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        &upstream,
        "--trace-dir",
        traces.to_str().unwrap(),
        "--sample",
        "5%",
        "--mirror",
        &mirror,
        "--mirror-out",
        out.to_str().unwrap(),
    ];
    let (code, document) = check(&arguments);
    assert_eq!(code, Some(0), "{document}");
    assert_eq!(document["ok"], true);
    for about in [
        "listen",
        "upstream",
        "trace-dir",
        "keep",
        "mirror-out",
        "admin",
        "limits",
    ] {
        assert_eq!(level(&document, about), "ok", "{document}");
    }
    assert!(!traces.exists() && !out.exists());
    let text = support::stdout_of([&["record", "--check"], &arguments[..]].concat());
    assert!(text.contains("5% of conversations"), "{text}");
    assert!(text.contains("traces/trace-000001.rt"), "{text}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_mend() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "no certificate").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, document) = check(&[
        "--listen",
        &taken.local_addr().unwrap().to_string(),
        "--admin",
        &format!("unix:{}", file.display()),
        "--upstream",
        "https://127.0.0.1:1",
        "--upstream-ca",
        file.to_str().unwrap(),
        "--trace-dir",
        file.to_str().unwrap(),
        "--mirror",
        "next=http://127.0.0.1:1",
        "--mirror-out",
        file.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(1), "{document}");
    assert_eq!(document["ok"], false);
    for about in ["listen", "placement", "trace-dir", "mirror-out", "admin"] {
        assert_eq!(level(&document, about), "error", "{document}");
    }
    let hints = document["findings"].as_array().unwrap().iter();
    let errors = hints.filter(|finding| finding["level"] == "error");
    assert!(errors.clone().all(|finding| finding["hint"].is_string()));
    assert_eq!(std::fs::read(&file).unwrap(), b"no certificate");
}

#[test]
fn an_upstream_that_is_not_there_yet_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let (code, document) = check(&[
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        "http://127.0.0.1:1",
        "--trace-dir",
        dir.path().to_str().unwrap(),
    ]);
    assert_eq!(code, Some(0), "{document}");
    assert_eq!(level(&document, "upstream"), "warning");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

//! Gateways with paths of their own: `--dialect`, from the command line, the environment and a config file.

use std::io::Write;
use std::process::Command;

use super::support::{RECORD, Server, exchanges, http, reenact, run};

const ANSWER: &str = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
const ASKED: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;

fn upstream() -> String {
    let (upstream, _) = http::upstream(|mut stream| {
        if http::read_request(&mut stream).is_some() {
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{ANSWER}",
                ANSWER.len()
            );
        }
    });
    upstream
}

/// Which endpoints these paths are recorded as, by a recorder so launched.
fn endpoints(launch: impl FnOnce(&mut Command), paths: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream();
    let traces = dir.path().join("traces");
    let mut command = reenact(RECORD);
    command
        .args(["--upstream", &upstream])
        .arg("--trace-dir")
        .arg(&traces);
    launch(&mut command);
    let recorder = Server::launch(&mut command);
    for path in paths {
        http::send(&recorder.url, &http::post(path, &[], ASKED));
    }
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(&traces);
    for exchange in &recorded {
        let is_read = exchange["endpoint"] == "chat_completions";
        let bytes = &exchange["request"]["messages"][0]["bytes"];
        assert_eq!(bytes == 5, is_read, "{exchange:#}");
    }
    let name = |exchange: &serde_json::Value| exchange["endpoint"].as_str().unwrap().to_owned();
    recorded.iter().map(name).collect()
}

const RULES: [&str; 2] = ["/llm/=chat_completions", "/llm/raw/=other"];
const PATHS: [&str; 4] = [
    "/llm/eu/v7",
    "/llm/raw/v1/chat/completions",
    "/elsewhere",
    "/",
];
const FOUND: [&str; 4] = ["chat_completions", "other", "other", "other"];

#[test]
fn a_gateways_own_paths_are_what_the_operator_says() {
    let by_flag = |command: &mut Command| {
        for rule in RULES {
            command.args(["--dialect", rule]);
        }
    };
    assert_eq!(endpoints(by_flag, &PATHS), FOUND);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("reenact.toml");
    std::fs::write(&config, format!("[record]\ndialect = {RULES:?}\n")).unwrap();
    let by_file = |command: &mut Command| {
        command.arg("--config").arg(&config);
    };
    assert_eq!(endpoints(by_file, &PATHS), FOUND);
    let by_environment = |command: &mut Command| {
        command.env("REENACT_DIALECT", RULES[0]);
    };
    assert_eq!(endpoints(by_environment, &PATHS[..1]), FOUND[..1]);
}

#[test]
fn a_wrong_rule_says_what_would_be_right() {
    let args = [
        "record",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "http://127.0.0.1:1",
    ];
    let output = run([&args[..], &["--no-record", "--dialect", "/llm=chat"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("`chat` is no endpoint") && said.contains("chat_completions"),
        "{said}"
    );
}

//! Gateways with paths of their own: `--dialect`, from the command line, the environment and a config file; and what a body tells
//! where nobody says.

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
const FOUND: [&str; 4] = [
    "chat_completions",
    "other",
    "chat_completions",
    "chat_completions",
];

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

/// Answers by the path: as a chat, whole or in a stream, as a counter of tokens, or that there is nothing.
fn gateway() -> String {
    let (upstream, _) = http::upstream(|mut stream| {
        let Some(request) = http::read_request(&mut stream) else {
            return;
        };
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, kind, body) = match path {
            "/invocations" | "/plain" => ("200 OK", "application/json", ANSWER),
            "/streams" => ("200 OK", "text/event-stream", STREAM),
            "/busy" => ("429 Too Many Requests", "application/json", "{}"),
            "/missing" => ("404 Not Found", "application/json", "{}"),
            _ => ("200 OK", "application/json", r#"{"tokens":3}"#),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    });
    upstream
}

const STREAM: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":0}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\",\"index\":0}]}\n\n",
    "data: [DONE]\n\n"
);

#[test]
fn a_path_that_says_nothing_leaves_it_to_the_body_and_to_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let traces = dir.path().join("traces");
    let upstream = gateway();
    let recorder = Server::recorder(&upstream, &traces, &[]);
    let tgi = r#"{"inputs":"hello"}"#;
    let mut expected = Vec::new();
    for (path, body, endpoint, events) in [
        ("/invocations", ASKED, "chat_completions", 0),
        ("/streams", ASKED, "chat_completions", 3),
        ("/busy", ASKED, "chat_completions", 0),
        ("/missing", ASKED, "other", 0),
        ("/counts", ASKED, "other", 0),
        ("/counts", tgi, "other", 0),
        ("/v1/messages/count_tokens", ASKED, "other", 0),
        ("/plain", r#"{"input":"hello"}"#, "other", 0),
        ("/plain", "hello", "other", 0),
    ] {
        http::send(&recorder.url, &http::post(path, &[], body));
        expected.push((endpoint, events));
    }
    let coded = http::post("/plain", &[("Content-Encoding", "x-unknown")], ASKED);
    http::send(&recorder.url, &coded);
    expected.push(("other", 0));
    let text = String::from_utf8(http::post("/plain", &[], ASKED)).unwrap();
    let text = text.replace("application/json", "text/plain");
    http::send(&recorder.url, text.as_bytes());
    expected.push(("other", 0));
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(&traces);
    assert_eq!(recorded.len(), expected.len());
    for (exchange, (endpoint, events)) in recorded.iter().zip(expected) {
        assert_eq!(exchange["endpoint"], endpoint, "{exchange:#}");
        assert_eq!(exchange["response"]["events"], events, "{exchange:#}");
        let read = &exchange["request"]["messages"][0]["bytes"];
        assert_eq!(read == 5, endpoint != "other", "{exchange:#}");
        let shape = match endpoint {
            "other" => "generic",
            _ => "known",
        };
        let unread = exchange["response"]["status"] == 429;
        assert!(unread || exchange["shape"] == shape, "{exchange:#}");
    }
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

//! The admin endpoint: who may use it, what it shows, what it switches.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::support::http::{send, status};
use super::support::wire::{get, metric, metric_reaches};
use super::support::{self, Server};
use super::{exchanges, serve, upstream};

const TOKEN: &str = "7c1f0d6e8a1b4c5d9e2f";

fn ask(admin: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = send(admin, request.as_bytes());
    (status(&answer), String::from_utf8(answer).unwrap())
}

fn document(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn beyond_this_machine_it_wants_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let traces = dir.path().join("traces");
    let arguments = [
        "record",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "0.0.0.0:0",
        "--upstream",
        "http://127.0.0.1:1",
        "--trace-dir",
        traces.to_str().unwrap(),
    ];
    let refused = support::run(arguments);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("--admin-token-file"), "{error}");

    // From a file, from systemd's credentials, from the environment.
    let credentials = tempfile::tempdir().unwrap();
    std::fs::write(credentials.path().join("reenact-admin-token"), TOKEN).unwrap();
    let mut by_file = support::reenact(arguments);
    by_file.arg("--admin-token-file").arg(&file);
    let mut by_credential = support::reenact(arguments);
    by_credential.env("CREDENTIALS_DIRECTORY", credentials.path());
    let mut by_environment = support::reenact(arguments);
    by_environment.env("REENACT_ADMIN_TOKEN", TOKEN);
    for mut command in [by_file, by_credential, by_environment] {
        let mut recorder = Server::launch(&mut command);
        let admin = recorder
            .wait_for_url("admin on ")
            .replace("0.0.0.0", "127.0.0.1");
        for open in ["/healthz", "/readyz"] {
            assert_eq!(ask(&admin, "GET", open, "", "").0, 200, "{open}");
        }
        for (method, path) in [
            ("GET", "/metrics"),
            ("GET", "/status"),
            ("POST", "/recording/pause"),
            ("GET", "/nothing"),
        ] {
            assert_eq!(ask(&admin, method, path, "", "").0, 401, "{path}");
            let wrong = "Authorization: Bearer 7c1f0d6e8a1b4c5d9e2e\r\n";
            assert_eq!(ask(&admin, method, path, wrong, "").0, 401, "{path}");
        }
        let right = format!("Authorization: Bearer {TOKEN}\r\n");
        assert_eq!(ask(&admin, "GET", "/metrics", &right, "").0, 200);
        assert_eq!(ask(&admin, "GET", "/nothing", &right, "").0, 404);
        let (_, log) = recorder.terminate();
        assert!(!log.contains(TOKEN), "{log}");
    }
}

#[test]
fn a_socket_file_serves_this_user_and_goes_with_the_recorder() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let mut recorder = Server::launch(&mut support::reenact([
        "record",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        &format!("unix:{}", socket.display()),
        "--upstream",
        &upstream(),
        "--trace-dir",
        dir.path().join("traces").to_str().unwrap(),
    ]));
    recorder.wait_for("admin on unix:");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "nobody else may connect");
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(!socket.exists());
}

#[test]
fn paused_exchanges_pass_are_measured_and_counted_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    serve(&recorder.url);
    metric_reaches(&admin, "reenact_recorded_total", 1);
    assert_eq!(ask(&admin, "POST", "/recording/pause", "", "").0, 200);
    let shown = document(&get(&admin, "/status"));
    assert_eq!(shown["recording"], "paused");
    assert!(
        shown["file"].as_str().unwrap().ends_with("trace-000001.rt"),
        "{shown}"
    );
    serve(&recorder.url);
    metric_reaches(&admin, "reenact_dropped_total{reason=\"paused\"}", 1);
    let measured =
        "inference_duration_seconds_count{route=\"/v1/models\",model=\"none\",code=\"200\"}";
    assert_eq!(metric(&admin, measured), 2, "{}", get(&admin, "/metrics"));
    assert_eq!(ask(&admin, "POST", "/recording/resume", "", "").0, 200);
    serve(&recorder.url);
    metric_reaches(&admin, "reenact_recorded_total", 2);
    let shown = document(&get(&admin, "/status"));
    assert_eq!(shown["recording"], "on");
    assert_eq!(
        (
            &shown["seen"],
            &shown["recorded"],
            &shown["dropped"]["paused"]
        ),
        (&3.into(), &2.into(), &1.into())
    );
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(log.contains("seen=3 recorded=2"), "{log}");
    assert_eq!(exchanges(dir.path()).len(), 2);
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    assert!(
        ask(&admin, "GET", "/log-level", "", "")
            .1
            .ends_with("info\n")
    );
    let (code, answer) = ask(&admin, "PUT", "/log-level", "", "loud=very");
    assert_eq!(code, 400);
    assert!(!answer.contains("loud"), "what was sent is not repeated");
    assert_eq!(
        ask(&admin, "PUT", "/log-level", "", &"x".repeat(5000)).0,
        400
    );
    let (code, answer) = ask(&admin, "PUT", "/log-level", "", "error");
    assert_eq!(code, 200);
    assert!(answer.ends_with("error\n"), "{answer}");
    let (status, log) = recorder.terminate();
    assert!(status.success());
    assert!(!log.contains("draining"), "{log}");
}

#[test]
fn a_scraper_that_asks_for_open_metrics_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    // As Prometheus sends it.
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5\r\n";
    let (code, page) = ask(&admin, "GET", "/metrics", accept, "");
    assert_eq!(code, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(page.contains(kind), "{page}");
    assert!(page.contains("# TYPE reenact_recorded counter\n"), "{page}");
    assert!(page.contains("\nreenact_recorded_total 0\n"), "{page}");
    assert!(page.ends_with("# EOF\n"), "{page}");
}

#[test]
fn web_pages_and_wrong_methods_are_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    let from_a_page = "Origin: https://example.com\r\n";
    assert_eq!(
        ask(&admin, "POST", "/recording/pause", from_a_page, "").0,
        403
    );
    for (method, path) in [
        ("GET", "/recording/pause"),
        ("POST", "/metrics"),
        ("DELETE", "/log-level"),
    ] {
        let (code, answer) = ask(&admin, method, path, "", "");
        assert_eq!(code, 405, "{answer}");
        assert!(answer.to_lowercase().contains("\r\nallow: "), "{answer}");
    }
    assert_eq!(document(&get(&admin, "/status"))["recording"], "on");
}

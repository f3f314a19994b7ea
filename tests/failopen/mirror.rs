//! A mirror is a part of recording: whatever it does, production is as it was.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use super::load::{Load, upstream};
use super::support::wire::{metric, metric_reaches as reaches};
use super::support::{Server, http, reenact};
use super::{as_direct, in_time};

fn recorder(
    upstream: &str,
    dir: &std::path::Path,
    mirror: &str,
    args: &[&str],
) -> (Server, String) {
    let to = format!("next={mirror}");
    let mut recorder = Server::recorder(upstream, dir, &[&["--mirror", &to], args].concat());
    let admin = recorder.wait_for_url("admin on ");
    (recorder, admin)
}

const ANSWERED: &str = "reenact_mirror_duration_seconds_count{target=\"next\",code=\"200\"}";
const PRODUCTION: &str =
    "reenact_mirror_duration_seconds_count{target=\"production\",code=\"200\"}";

#[test]
fn a_mirror_is_sent_what_production_is_and_measured_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    // It answers with 500 what differs by a byte.
    let (recorder, admin) = recorder(
        &upstream(),
        dir.path(),
        &upstream(),
        &["--mirror-share", "1"],
    );
    let load = Load::calm(&recorder.url, 2, 500);
    reaches(&admin, ANSWERED, 60);
    reaches(&admin, PRODUCTION, 60);
    load.finish();
    for figure in ["time_to_first_token", "inter_token"] {
        for target in ["next", "production"] {
            let name = format!("reenact_mirror_{figure}_seconds_count{{target=\"{target}\"}}");
            reaches(&admin, &name, 20);
        }
    }
    let garbled = "reenact_mirror_duration_seconds_count{target=\"next\",code=\"500\"}";
    assert_eq!(metric(&admin, garbled), 0);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let told = log.lines().find(|line| line.contains("mirrored"));
    let told = told.unwrap_or_else(|| panic!("{log}"));
    assert!(
        told.contains("e2e_p99_ms") && told.contains("production_e2e_p99_ms"),
        "{told}"
    );
}

#[test]
fn a_mirror_that_stalls_refuses_or_talks_nonsense_costs_production_nothing() {
    let stalling = http::upstream(|mut stream| {
        let mut bytes = [0; 4096];
        while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
    })
    .0;
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let nonsense = http::upstream(|mut stream| {
        let _ = http::read_request(&mut stream);
        let _ = stream.write_all(b"this is no HTTP at all\r\n\r\n");
    })
    .0;
    for (mirror, counted) in [
        (
            stalling,
            "reenact_mirror_dropped_total{target=\"next\",reason=\"busy\"}",
        ),
        (
            gone,
            "reenact_mirror_failed_total{target=\"next\",reason=\"connect\"}",
        ),
        (
            nonsense,
            "reenact_mirror_failed_total{target=\"next\",reason=\"reset\"}",
        ),
    ] {
        let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let upstream = upstream();
        let args = ["--mirror-share", "100%", "--mirror-out"];
        let args = [&args[..], &[out.path().to_str().unwrap()]].concat();
        let (recorder, admin) = recorder(&upstream, dir.path(), &mirror, &args);
        let direct = Load::calm(&upstream, 4, 500);
        let load = Load::calm(&recorder.url, 4, 500);
        reaches(&admin, counted, 50);
        let (made, took) = load.finish();
        let (_, took_directly) = direct.finish();
        in_time(&took);
        as_direct(&took, &took_directly);
        // Not one recording is lost for it.
        let totals = super::settle(recorder, dir.path(), made);
        assert_eq!(totals.recorded, made, "{counted}: {totals:?}");
    }
}

#[test]
fn a_result_that_is_lost_is_told_of_at_once_and_costs_nothing_else() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let out = out.path().join("out");
    let args = ["--mirror-share", "1", "--mirror-out", out.to_str().unwrap()];
    let (mut recorder, admin) = recorder(&upstream(), dir.path(), &upstream(), &args);
    std::fs::remove_dir(&out).unwrap();
    let load = Load::calm(&recorder.url, 2, 500);
    recorder.wait_for("the mirror's result is lost");
    reaches(
        &admin,
        "reenact_mirror_unmeasured_total{reason=\"not_taken\"}",
        20,
    );
    let (made, took) = load.finish();
    in_time(&took);
    let (totals, log) = super::settle_and_tell(recorder, dir.path(), made);
    assert_eq!(totals.recorded, made, "{totals:?}");
    let told = log.matches("the mirror's result is lost").count();
    assert_eq!(told, 1, "once, not for each request: {log}");
}

#[test]
fn sessions_are_mirrored_whole_and_without_their_clients_credentials() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let candidate = http::upstream(move |mut stream| {
        while let Some(request) = http::read_request(&mut stream) {
            notes.lock().unwrap().push(String::from_utf8(request).unwrap());
            let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(head.as_bytes()).is_err() {
                return;
            }
        }
    })
    .0;
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "fast"]);
    let mut command = reenact(super::support::RECORD);
    command
        .args(["--upstream", &sim.url, "--trace-dir"])
        .arg(dir.path())
        .args([
            "--mirror",
            &format!("next={candidate}"),
            "--mirror-share",
            "40%",
        ])
        .args(["--mirror-model", "other", "--mirror-key-env", "NEXT_KEY"])
        .args(["--session-header", "x-session"])
        .env("NEXT_KEY", "mirrors-own-key");
    let mut recorder = Server::launch(&mut command);
    let admin = recorder.wait_for_url("admin on ");
    for session in 0..30 {
        for turn in 0..3 {
            let body = format!(
                r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":"session {session} turn {turn};"}}]}}"#
            );
            let id = session.to_string();
            let mut headers = vec![
                ("Authorization", "Bearer client-secret"),
                ("x-session", &id),
            ];
            if turn == 2 && session % 2 == 0 {
                headers.push(("x-reenact-record", "off"));
            }
            let answer = http::send(
                &recorder.url,
                &http::post("/v1/chat/completions", &headers, &body),
            );
            assert_eq!(http::status(&answer), 200);
        }
    }
    // Those that opt out are not even seen.
    reaches(&admin, "reenact_recorded_total", 75);
    let mirrored = metric(&admin, PRODUCTION);
    assert!(mirrored > 0 && mirrored < 75, "{mirrored}");
    reaches(&admin, ANSWERED, mirrored);
    drop(recorder);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len() as u64, mirrored);
    for session in 0..30 {
        let turns: Vec<_> = seen
            .iter()
            .filter(|request| request.contains(&format!("session {session} turn ")))
            .collect();
        let whole = if session % 2 == 0 { 2 } else { 3 };
        assert!(
            turns.is_empty() || turns.len() == whole,
            "session {session}: {turns:?}"
        );
    }
    for request in seen.iter() {
        assert!(
            !request.contains("client-secret") && !request.contains("x-session"),
            "{request}"
        );
        assert!(
            request.contains("authorization: Bearer mirrors-own-key\r\n"),
            "{request}"
        );
        assert!(
            request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains(r#""model":"other""#), "{request}");
        assert!(request.contains("x-reenact-record: off\r\n"), "{request}");
    }
}

#[test]
fn a_mirror_without_a_name_or_a_key_is_refused() {
    for (args, word) in [
        (&["--mirror", "http://127.0.0.1:9"][..], "it needs a name"),
        (
            &["--mirror", "production=http://127.0.0.1:9"],
            "what production is called",
        ),
        (
            &[
                "--mirror",
                "a=http://127.0.0.1:9",
                "--mirror-key-env",
                "NO_SUCH_KEY_ANYWHERE",
            ],
            "NO_SUCH_KEY_ANYWHERE is not set",
        ),
        (&["--mirror-share", "5%"], "--mirror"),
    ] {
        let mut command = reenact(super::support::RECORD);
        command.args([
            "--upstream",
            "http://127.0.0.1:9",
            "--trace-dir",
            "/nowhere",
        ]);
        let output = command.args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(word), "{said}");
    }
}

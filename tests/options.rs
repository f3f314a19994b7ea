//! Options of the built binary: from the environment and from a config file, those that others leave without effect, and what becomes of a
//! result whatever they say.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use support::traffic::short_requests;
use support::{Server, exchanges, http, reenact};

/// A config file that says all that a recorder needs.
fn config(dir: &Path, upstream: &str) -> PathBuf {
    let path = dir.join("reenact.toml");
    let traces = dir.join("from-file");
    let text = format!(
        "log-format = \"json\"\n[record]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\ntrace-dir = \"{}\"\n",
        traces.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn one_exchange(recorder: Server) -> String {
    let body =
        r#"{"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]}"#;
    let answer = http::send(
        &recorder.url,
        &http::post("/v1/chat/completions", &[], body),
    );
    assert_eq!(http::status(&answer), 200);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    log
}

#[test]
fn a_recorder_can_be_told_everything_by_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let recorder = Server::launch(
        reenact(["record"])
            .env("REENACT_LISTEN", "127.0.0.1:0")
            .env("REENACT_ADMIN", "127.0.0.1:0")
            .env("REENACT_UPSTREAM", &sim.url)
            .env("REENACT_TRACE_DIR", dir.path()),
    );
    one_exchange(recorder);
    assert_eq!(exchanges(dir.path()).len(), 1);
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "null"]);
    let config = config(dir.path(), &sim.url);
    let record = || {
        let mut command = reenact(["record", "--config"]);
        command.arg(&config);
        command
    };
    let traces = |name: &str| dir.path().join(name);

    let log = one_exchange(Server::launch(&mut record()));
    assert!(log.starts_with('{'), "log lines are JSON: {log}");
    assert_eq!(exchanges(&traces("from-file")).len(), 1);

    let log = one_exchange(Server::launch(
        record()
            .env("REENACT_TRACE_DIR", traces("from-environment"))
            .env("REENACT_LOG_FORMAT", "text"),
    ));
    assert!(!log.starts_with('{'), "log lines are text: {log}");
    assert_eq!(exchanges(&traces("from-environment")).len(), 1);

    one_exchange(Server::launch(
        record()
            .env("REENACT_TRACE_DIR", traces("from-environment"))
            .arg("--trace-dir")
            .arg(traces("from-flag")),
    ));
    assert_eq!(exchanges(&traces("from-flag")).len(), 1);

    // --no-record conflicts with --trace-dir, and stands above the file's.
    one_exchange(Server::launch(record().arg("--no-record")));
    assert_eq!(
        exchanges(&traces("from-file")).len(),
        1,
        "nothing was added"
    );
}

/// What a replay with these options says when it is refused for how it is used.
fn refused(args: &[&str]) -> String {
    let output = reenact(["replay", "x.rt", "--target", "http://127.0.0.1:1"])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

#[test]
fn an_option_that_would_have_no_effect_is_refused() {
    for (args, word) in [
        (
            &["--sweep", "1,2", "--speed", "3"][..],
            "--speed 3 has no effect",
        ),
        (
            &["--sweep", "1,2", "--sweep-by", "rate", "--rate-scale", "2"],
            "--rate-scale 2 has no effect",
        ),
        (
            &["--engine-metrics-header", "x-tenant: blue"],
            "--engine-metrics-header goes with a page",
        ),
    ] {
        let said = refused(args);
        assert!(said.contains(word) && said.contains("hint: "), "{said}");
    }
}

#[test]
fn a_password_in_a_url_is_refused_and_not_quoted() {
    let refused = |command: &[&str], url: &[&str]| {
        let output = reenact(command).args(url).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("credentials do not belong into a URL") && said.contains("hint: "),
            "{said}"
        );
        assert!(
            said.contains("@gpu-1") && !said.contains("s3cret"),
            "{said}"
        );
    };
    let replay = ["replay", "x.rt", "--target", "http://127.0.0.1:1"];
    let url = "http://me:s3cret@gpu-1:9400";
    refused(&["replay", "x.rt"], &["--target", &format!("a={url}")]);
    refused(&["replay", "x.rt"], &["--target", "me:s3cret@gpu-1"]);
    refused(&replay, &["--engine-metrics", url]);
    refused(&replay, &["--otlp", url]);
    let gate = ["gate", "--listen", "127.0.0.1:0", "--results", "none"];
    refused(&gate, &["--", "x.rt", "--target", url]);
}

#[test]
fn a_moment_beyond_all_time_is_refused() {
    let said = refused(&["--start-at", "+9223372036854775807s"]);
    assert!(said.contains("beyond all time"), "{said}");
}

#[test]
fn a_trace_under_a_name_that_is_no_utf8_is_replayed_and_shown_as_far_as_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "fast"]);
    let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.rt"));
    std::fs::rename(short_requests(dir.path(), 5), &odd).unwrap();
    let output = reenact(["replay", "--json", "--target", &sim.url])
        .arg(&odd)
        .output()
        .unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(document["targets"][0]["requests"]["ok"], 5);
    let command = document["command"].as_str().unwrap();
    assert!(command.contains("caf\u{fffd}.rt"), "{command}");
}

#[test]
fn a_textfile_that_cannot_be_written_costs_no_result() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Server::sim(&["--profile", "fast"]);
    let trace = short_requests(dir.path(), 5);
    // No file can take the place of a directory.
    let textfile = dir.path().join("taken.prom");
    std::fs::create_dir(&textfile).unwrap();
    let output = reenact(["replay", "--json", "--target", &sim.url])
        .arg(&trace)
        .arg("--metrics-textfile")
        .arg(&textfile)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let document: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(document["targets"][0]["requests"]["ok"], 5);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("taken.prom"), "{said}");
}

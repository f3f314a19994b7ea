//! Starting, stopping, and being stopped.

use rustix::process::Signal;

use reenact::shape::Outcome;
use reenact::trace::Trace;

use super::support::wire::{Wire, get, metric, metric_reaches};
use super::support::{self, Server};
use super::{Between, GET, exchanges};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn served(between: &Between) {
    let (mut client, mut server, _) = between.exchange(GET);
    server.send(OK);
    client.read_until("hi");
}

#[test]
fn a_port_in_use_is_said_with_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let output = support::run([
        "record",
        "--listen",
        &address,
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        "http://127.0.0.1:1",
        "--trace-dir",
        dir.path().to_str().unwrap(),
    ]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains(&format!(
            "cannot listen on {address}: the port is already in use\n"
        )),
        "{error}"
    );
    assert!(error.contains("hint:"), "{error}");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "no file is left behind"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_said_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("traces");
    let below = below.to_str().unwrap();
    let to = ["--upstream", "http://127.0.0.1:1", "--trace-dir", below];
    let output = support::run([&support::RECORD[..], &to].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(below), "{error}");
    assert!(error.contains("hint: give --trace-dir"), "{error}");
}

#[test]
fn a_file_in_the_place_of_a_directory_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let (file, traces) = (file.to_str().unwrap(), dir.path().join("traces"));
    let mirror = ["--mirror", "next=http://127.0.0.1:1", "--mirror-out", file];
    let traces = ["--trace-dir", traces.to_str().unwrap()];
    for (args, says) in [
        (
            &["--trace-dir", file][..],
            format!("cannot write traces to {file}: it is not a directory\n"),
        ),
        (
            &[&traces[..], &mirror].concat()[..],
            format!("cannot write the mirror's result to {file}: it is not a directory\n"),
        ),
    ] {
        let to = ["--upstream", "http://127.0.0.1:1"];
        let output = support::run([&support::RECORD[..], &to, args].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(&says), "{error}");
    }
}

#[test]
fn wrong_options_are_usage_errors() {
    for (args, says) in [
        (&["--upstream", "localhost:8000"][..], "http://HOST:PORT"),
        (
            &["--upstream", "http://a", "--admin", "0.0.0.0:1"],
            "--admin-token-file",
        ),
        (
            &["--upstream", "http://a", "--sample", "150%"],
            "not a share",
        ),
        (&["--upstream", "http://a", "--name", "../x"], "not a name"),
    ] {
        let fixed = [
            "record",
            "--listen",
            "127.0.0.1:0",
            "--trace-dir",
            "/nonexistent",
        ];
        let output = support::run([&fixed[..], args].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn sigterm_lets_a_stream_finish_and_closes_the_trace() {
    let mut between = Between::start(&[]);
    let admin = between.recorder.wait_for_url("admin on ");
    assert!(get(&admin, "/readyz").starts_with("HTTP/1.1 200"));
    let (mut client, mut server, _) = between.exchange(GET);
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    client.read_until("one");
    between.recorder.signal(Signal::TERM);
    between.recorder.wait_for("draining");
    // Not ready any more, and alive as long as a stream is open.
    while get(&admin, "/readyz").starts_with("HTTP/1.1 200") {}
    assert!(get(&admin, "/healthz").starts_with("HTTP/1.1 200"));
    server.send("3\r\ntwo\r\n0\r\n\r\n");
    client.read_until("two\r\n0\r\n\r\n");
    let (status, log) = between.recorder.wait();
    assert!(status.success(), "{log}");
    assert!(log.contains("seen=1 recorded=1"), "{log}");
    let mut trace = Trace::open(&[between.dir.path().to_owned()]).unwrap();
    assert_eq!(trace.damage().unfinished_files, 0);
    assert_eq!(trace.totals().recorded, 1);
    let recorded: Vec<_> = trace.exchanges().collect::<Result<_, _>>().unwrap();
    assert_eq!(recorded[0].outcome, Outcome::Completed);
}

#[test]
fn idle_clients_do_not_hold_up_a_drain() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) = between.exchange(GET);
    server.send(OK);
    client.read_until("hi");
    let _never_used = between.client();
    assert_eq!(between.finish().len(), 1);
}

#[test]
fn the_drain_has_an_end_and_what_it_cuts_is_recorded() {
    let between = Between::start(&["--drain-timeout", "100ms"]);
    let (mut client, mut server, _) = between.exchange(GET);
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    client.read_until("one");
    let recorded = between.finish();
    assert!(matches!(recorded[0].outcome, Outcome::Truncated { .. }));
}

#[test]
fn a_second_signal_leaves_at_once() {
    let mut between = Between::start(&["--drain-timeout", "1h"]);
    let (_client, _server, _) = between.exchange(GET);
    between.recorder.signal(Signal::INT);
    between.recorder.wait_for("draining");
    between.recorder.signal(Signal::INT);
    let (status, _) = between.recorder.wait();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn what_was_flushed_survives_kill_9() {
    let mut between = Between::start(&[]);
    for _ in 0..3 {
        served(&between);
    }
    let admin = between.recorder.wait_for_url("admin on ");
    // `recorded` counts what the disk has been asked to keep.
    metric_reaches(&admin, "reenact_recorded_total", 3);
    between.recorder.signal(Signal::KILL);
    between.recorder.wait();
    let trace = Trace::open(&[between.dir.path().to_owned()]).unwrap();
    assert_eq!(trace.damage().unfinished_files, 1);
    assert_eq!(exchanges(between.dir.path()).len(), 3);
}

#[test]
fn a_taken_away_directory_costs_recordings_only() {
    let mut between = Between::start(&[]);
    let admin = between.recorder.wait_for_url("admin on ");
    served(&between);
    metric_reaches(&admin, "reenact_recorded_total", 1);
    std::fs::remove_dir_all(between.dir.path()).unwrap();
    // A file in its place cannot be written to either.
    std::fs::write(between.dir.path(), "").unwrap();
    served(&between);
    metric_reaches(&admin, "reenact_dropped_total{reason=\"write_error\"}", 1);
    std::fs::remove_file(between.dir.path()).unwrap();
    // Recording resumes by itself.
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while metric(&admin, "reenact_recorded_total") < 2 {
        assert!(std::time::Instant::now() < deadline, "recording stays off");
        served(&between);
    }
    let (status, log) = between.recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(!log.contains("unaccounted"), "{log}");
}

#[test]
fn without_recording_it_forwards_and_writes_nothing() {
    let upstream = support::wire::Upstream::start();
    let mut recorder = Server::start([
        "record",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        &upstream.url(),
        "--no-record",
    ]);
    let admin = recorder.wait_for_url("admin on ");
    let mut client = Wire::connect(&recorder.url);
    client.send(GET);
    let mut server = upstream.accept();
    server.read_head();
    server.send(OK);
    client.read_until("hi");
    assert!(get(&admin, "/metrics").contains("reenact_seen_total 1\n"));
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
}

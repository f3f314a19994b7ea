//! Leaving: load balancers first, then clients, then the file.

use rustix::process::Signal;

use super::support::Server;
use super::support::wire::get;
use super::{exchanges, serve, upstream};

#[test]
fn readiness_goes_first_and_clients_are_taken_for_the_drain_delay() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream(), dir.path(), &["--drain-delay", "3s"]);
    let admin = recorder.wait_for_url("admin on ");
    assert!(get(&admin, "/readyz").starts_with("HTTP/1.1 200"));
    recorder.signal(Signal::TERM);
    recorder.wait_for("leaving: not ready any more");
    assert!(get(&admin, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(get(&admin, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&admin, "/status").contains("\"phase\":\"leaving\""));
    serve(&recorder.url);
    let (status, log) = recorder.wait();
    assert!(status.success(), "{log}");
    let (leaving, draining) = (
        log.find("leaving:").unwrap(),
        log.find("draining:").unwrap(),
    );
    assert!(leaving < draining, "{log}");
    assert_eq!(exchanges(dir.path()).len(), 1);
}

#[test]
fn a_second_signal_cuts_the_drain_delay_short() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream(), dir.path(), &["--drain-delay", "1h"]);
    recorder.signal(Signal::TERM);
    recorder.wait_for("leaving: not ready any more");
    recorder.signal(Signal::TERM);
    let (status, _) = recorder.wait();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_client_that_has_just_come_is_served_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(&upstream(), dir.path(), &[]);
    let mut fresh = super::Wire::connect(&recorder.url);
    // Accepted, since a later one was.
    serve(&recorder.url);
    recorder.signal(Signal::TERM);
    recorder.wait_for("draining:");
    fresh.send("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
    fresh.read_until("\r\n\r\n{}");
    let (status, log) = recorder.wait();
    assert!(status.success(), "{log}");
    assert_eq!(exchanges(dir.path()).len(), 2);
}

//! `reenact record` as a daemon: what a service manager, a load balancer, an operator and a cluster see of it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod admin;
mod check;
mod deployment;
mod drain;
mod notify;
mod restart;
mod sampling;
mod sandbox;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use reenact::shape::Exchange;
use reenact::trace::Trace;
use support::http;
use support::wire::Wire;

/// An upstream that answers every request at once, on connections that stay open.
fn upstream() -> String {
    let (url, _) = http::upstream(|mut stream| {
        while http::read_request(&mut stream).is_some() {
            if std::io::Write::write_all(&mut stream, OK.as_bytes()).is_err() {
                return;
            }
        }
    });
    url
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// One exchange on a connection of its own.
fn serve(url: &str) {
    let mut client = Wire::connect(url);
    client.send("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("\r\n\r\n{}");
}

fn exchanges(dir: &Path) -> Vec<Exchange> {
    let mut trace = Trace::open(&[dir.to_owned()]).unwrap();
    trace.exchanges().collect::<Result<_, _>>().unwrap()
}

/// Python with the packages of tests/requirements.txt.
fn python() -> std::process::Command {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
    assert!(
        Path::new(python).exists(),
        "run tests/run, which makes .venv"
    );
    std::process::Command::new(python)
}

//! Calls over gRPC, by its own client and its own server.

use std::process::Command;

use super::support::canaries::Canaries;
use super::support::{Server, python};

const CALLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/canary/grpc_calls.py");
/// More than either end uses.
const ENOUGH: usize = 400;

/// Starts the server.
pub(crate) fn start(canaries: &Canaries) -> Server {
    Server::launch(script("serve").args(some(canaries)))
}

/// How many exchanges it was.
pub(crate) fn exchange(url: &str, canaries: &Canaries) -> usize {
    let address = url.strip_prefix("http://").unwrap();
    let mut command = script("ask");
    let output = command.arg(address).args(some(canaries)).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let made = String::from_utf8(output.stdout).unwrap();
    made.trim().parse().unwrap()
}

fn script(mode: &str) -> Command {
    let mut command = python();
    command.args([CALLS, mode]);
    command
}

fn some(canaries: &Canaries) -> Vec<String> {
    (0..ENOUGH).map(|_| canaries.next()).collect()
}

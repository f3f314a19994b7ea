//! What a replay sends to other services when it is over, through the built binary, read by the services' own code.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod beforehand;
mod endpoint;
mod langsmith;
mod services;
mod spans;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Output;

use support::reenact;
use support::traffic::short_requests;

/// Fidelity is no matter of these tests: the machine may be busy.
const LOOSE: [&str; 4] = ["--fidelity", "lateness=10s", "--fidelity", "ks=1"];
const SECRET: &str = "lsv2_very_secret";

fn replay(dir: &Path, requests: u64, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let trace = dir.join("trace.rt");
    if !trace.exists() {
        short_requests(dir, requests);
    }
    let mut command = reenact(["replay"]);
    command
        .arg(trace)
        .arg("--out")
        .arg(dir.join("out"))
        .args(LOOSE)
        .args(args);
    for variable in [
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SERVICE_NAME",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "LANGSMITH_API_KEY",
        "LANGSMITH_ENDPOINT",
    ] {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

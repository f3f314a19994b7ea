//! What a privacy officer asks of `reenact record`: that the policy is told and obeyed, that sealed traces are sealed, that an
//! audit says what is left, and that nothing of an exchange outlives it in memory; and of `reenact replay`, that it keeps no key.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod audit;
mod keys;
mod memory;
mod policy;
mod sealed;
#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use support::http;

/// A chat request of one message.
fn ask(url: &str, model: &str, text: &str) {
    let body = serde_json::json!({
        "model": model, "max_tokens": 4, "messages": [{"role": "user", "content": text}]
    });
    let request = http::post("/v1/chat/completions", &[], &body.to_string());
    assert_eq!(http::status(&http::send(url, &request)), 200);
}

/// A file that only its owner can read.
fn private(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new();
    let mut file = file
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

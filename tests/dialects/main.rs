//! What else serves models: its own clients, gateways with paths of their own, coded bodies and WebSockets, through the built
//! binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod across;
mod clients;
mod coded;
mod embeddings;
mod realtime;
mod routes;
#[path = "../support/mod.rs"]
mod support;

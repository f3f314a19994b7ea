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
mod mirror;
mod notify;
mod restart;
mod sampling;
mod sandbox;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use reenact::shape::Exchange;
use reenact::trace::Trace;
use support::wire::Wire;
use support::{python, serve, upstream};

fn exchanges(dir: &Path) -> Vec<Exchange> {
    let mut trace = Trace::open(&[dir.to_owned()]).unwrap();
    trace.exchanges().collect::<Result<_, _>>().unwrap()
}

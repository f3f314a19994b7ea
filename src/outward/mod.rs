//! What of a finished replay goes to other services: spans and metrics to whatever takes OTLP, its verdict to LangSmith as an experiment.
//!
//! Nothing is sent while a run goes on, so that no collector can slow one: spans are read from `requests.jsonl.zst` when all runs are over,
//! batch by batch, whatever its length. No content is sent, since none is there. What a service did not take is counted and told; it changes
//! nothing of the verdict.

mod error;
mod gzip;
mod headers;
mod langsmith;
mod otlp;
mod post;

use std::path::Path;
use std::time::SystemTime;

pub use error::OutwardError;
pub use headers::{read_headers, read_pairs};
pub use langsmith::LangSmith;
pub use otlp::{Otlp, Sent};

use crate::report::ResultDocument;

/// When a run of a target began, on the wall clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStart {
    /// The target's name.
    pub target: String,
    /// Which of its runs or steps, from 0.
    pub run: u64,
    /// When moments of its requests are 0.
    pub at: SystemTime,
}

/// A finished replay, as it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// What came of it.
    pub document: &'a ResultDocument,
    /// Its `requests.jsonl.zst`.
    pub requests: &'a Path,
    /// When its runs began.
    pub starts: &'a [RunStart],
}

//! The replay engine: plan, synthesise, pace, send, outcome. It neither aggregates nor prints.

mod outcome;

pub use outcome::{FailureKind, RequestOutcome, SendResult};

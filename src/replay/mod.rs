//! The replay engine: plan, synthesise, pace, send, outcome. It neither aggregates nor prints.

mod outcome;
mod prompt;

pub use outcome::{FailureKind, RequestOutcome, SendResult};
pub use prompt::{Cache, Salt, TokenCosts};

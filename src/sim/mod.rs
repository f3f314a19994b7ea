//! A simulated inference server: continuous batching, paged KV memory and a prefix cache, behind the HTTP APIs of real ones.
//!
//! For demos, tests and as ground truth: it is deterministic under a seed, and what it did is known ([`Stats`]). It says in
//! every response that it is simulated. The model is in `engine`, which has no clock and no sockets; `driver` gives it a
//! clock, `server` sockets, `wire` the bodies. docs/simulator.md has the formulas.

mod answer;
mod config;
mod driver;
mod engine;
mod memory;
mod metrics;
mod noise;
mod null;
mod profile;
mod server;
mod template;
mod tokenizer;
mod wire;
mod words;

pub use config::Config;
pub use engine::Stats;
pub use null::NullServer;
pub use profile::{PROFILES, Profile};
pub use server::{Server, ServerHandle};

/// Why a simulated server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// There is no profile of that name.
    #[error("there is no profile `{name}`; there are {known}")]
    UnknownProfile {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A parameter makes no sense.
    #[error("--{parameter} {rule}")]
    Parameter {
        /// Which.
        parameter: &'static str,
        /// What would make sense.
        rule: &'static str,
    },
    /// This machine cannot run it.
    #[error("the simulated server cannot start: {0}")]
    Machine(#[from] std::io::Error),
}

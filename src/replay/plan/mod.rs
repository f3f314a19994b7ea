//! A trace turned into a plan: which requests are sent, when, and as turns of which conversation.
//!
//! The stages, each in a file of its own: [`mod@slice`] takes exchanges of the trace and places them in their conversations
//! ([`turns`]); [`scaled`] thins or copies conversations ([`draw`], [`blocks`]) and puts their requests on the run's clock
//! ([`clock`], [`shape`]) in order ([`reorder`]); the [`Planner`] numbers them, cuts at the limit and picks a shard's.
//!
//! Everything streams: a plan of any length takes bounded memory, since a trace is read again (a pass of a loop, a survey before
//! the plan) rather than held. What is held is some bytes for each open conversation, a bit or two for each block where conversations
//! are copied, and at most 256 MiB of requests that wait where the plan's order is not the trace's.

mod blocks;
mod clock;
mod draw;
mod error;
mod estimates;
mod extent;
mod options;
mod planner;
mod reorder;
mod scaled;
mod shape;
mod shard;
mod skip;
mod slice;
mod turns;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::shape::Exchange;

pub use draw::is_exported;
pub use error::PlanError;
pub use options::PlanOptions;
pub use planner::{Plan, Planner};
pub use shape::Shape;
pub use shard::Shard;
pub use skip::{SkipReason, Skipped};

pub(super) use draw::{Draw, Purpose};
pub(super) use turns::took_us;

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRequest {
    /// Position in the plan, from 0; of a shard, in the whole plan.
    pub index: u64,
    /// When to send it, in microseconds since the run's start; for a later turn of a linked conversation, when it would have been
    /// sent by the trace alone.
    pub intended_us: u64,
    /// Where it stands in its conversation.
    pub turn: Turn,
    /// What was recorded. In a copy, blocks that only one conversation used have numbers of the copy's own.
    pub exchange: Exchange,
}

/// Where a request stands in its conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The conversation, where the trace has one: an id of the plan (copies of a session have ids of their own).
    pub session: Option<u64>,
    /// From 0.
    pub number: u32,
    /// From the end of the turn before (as recorded) to this one's arrival: the time that the user, or the agent's tools, took.
    /// Absent for a first turn, and where the turn before was still open when this one came.
    pub think_us: Option<u64>,
}

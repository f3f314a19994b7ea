//! A request on its way from the plan to the wire.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::dialect::{AnswerText, OutputLength};
use crate::replay::client::Message;
use crate::replay::conversation::{Gaps, Repeated};
use crate::replay::outcome::RecordedTimes;
use crate::replay::plan::{PlannedRequest, Turn};
use crate::replay::prompt::Counts;
use crate::shape::{Endpoint, Exchange, GapSketch, Outcome};

/// A planned request with all that depends on the ones before it: its bytes can be made at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::replay) struct Settled {
    pub(in crate::replay) planned: PlannedRequest,
    pub(in crate::replay) counts: Counts,
    pub(in crate::replay) output: OutputLength,
    /// Messages that shall hold the target's own answers.
    pub(in crate::replay) repeated: Vec<Repeated>,
}

impl Settled {
    /// About the bytes that it takes in memory.
    pub(in crate::replay) fn held_bytes(&self) -> usize {
        size_of::<Self>() - size_of::<Exchange>()
            + self.planned.exchange.held_bytes()
            + size_of_val(&self.repeated[..])
            + self.counts.held_bytes()
    }
}

/// A request ready to be sent.
#[derive(Debug, Clone)]
pub(in crate::replay) struct Prepared {
    pub(in crate::replay) index: u64,
    pub(in crate::replay) planned_us: u64,
    pub(in crate::replay) intended_us: u64,
    pub(in crate::replay) turn: Turn,
    pub(in crate::replay) recorded: RecordedTimes,
    pub(in crate::replay) recorded_gaps: GapSketch,
    pub(in crate::replay) endpoint: Endpoint,
    pub(in crate::replay) stream: bool,
    pub(in crate::replay) request: Message,
    /// Answers that are still missing in its body.
    pub(in crate::replay) gaps: Option<Gaps>,
    /// Where the text of its answer goes, where a later turn repeats it.
    pub(in crate::replay) answer: Option<Arc<OnceLock<AnswerText>>>,
    pub(in crate::replay) cancel: Option<Cancel>,
    /// Whether it began its client's connection, as far as the trace tells.
    pub(in crate::replay) new_connection: Option<bool>,
    /// Bytes in a second at which its client took its answer, where that was slow.
    pub(in crate::replay) reader_bytes_per_s: Option<u64>,
    pub(in crate::replay) recorded_prompt_tokens: Option<u32>,
    pub(in crate::replay) recorded_output_tokens: Option<u32>,
    pub(in crate::replay) wanted_prompt_tokens: Option<u32>,
    pub(in crate::replay) wanted_output_tokens: Option<u32>,
    pub(in crate::replay) planned_shared_tokens: u32,
}

/// Where a recorded client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replay) enum Cancel {
    /// After this many token events.
    TokenEvents(u32),
    /// This long after sending.
    After(u64),
}

impl Cancel {
    /// A client that had seen tokens goes after as many; one that had seen none goes after as long.
    pub(super) fn of(exchange: &Exchange) -> Option<Self> {
        let Outcome::ClientCancelled { at_us } = exchange.outcome else {
            return None;
        };
        Some(match exchange.response.token_events {
            0 => Self::After(at_us),
            events => Self::TokenEvents(events),
        })
    }
}

//! Conversations: when a turn is sent that goes on from an answer, and where it waits until then.

mod book;
mod depot;
mod history;
mod link;
mod spill;

use serde::{Deserialize, Serialize};

pub(super) use book::{Book, Due, Read, Ready, Stub};
pub(super) use depot::{Depot, Slot};
pub(super) use history::{Answers, Gaps, History, Repeated};
pub(super) use link::{End, Link};

/// When the later turns of a conversation are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionMode {
    /// Once the turn before has been answered and its user's recorded think time has passed. A slow target slows its own
    /// conversations down, as it would in production, and so receives less load.
    #[default]
    Linked,
    /// At their own instant, or at the end of the turn before where that is later: what was lost to a slow answer is made up for.
    CatchUp,
    /// At their own instant, whatever became of the turn before.
    Independent,
}

impl SessionMode {
    /// Its name in results and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::CatchUp => "catch-up",
            Self::Independent => "independent",
        }
    }
}

/// How the later turns of a run's conversations came beside their instants in the trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TurnAccount {
    /// Turns that went on from an earlier one of their conversation.
    pub turns: u64,
    /// Of these, the ones that were due later than the trace alone would have sent them,
    pub slipped: u64,
    /// and by how much, in all and at most, in microseconds.
    pub slip_us: u64,
    /// The most that one was due later.
    pub slip_max_us: u64,
    /// How much earlier than the trace alone would have sent them the others were due, in all, in microseconds.
    pub gain_us: u64,
    /// Turns that were due before they were read from the trace: sent late, through no fault of the target's.
    pub read_late: u64,
    /// Turns whose conversation was no longer known (more than a quarter of a million others had a turn since): sent at their
    /// instant in the trace.
    pub unlinked: u64,
    /// The most bytes of waiting turns in temporary files.
    pub spilled_peak_bytes: u64,
}

impl TurnAccount {
    /// Adds another run's, or another part's of one run.
    pub fn add(&mut self, other: &Self) {
        self.turns += other.turns;
        self.slipped += other.slipped;
        self.slip_us += other.slip_us;
        self.slip_max_us = self.slip_max_us.max(other.slip_max_us);
        self.gain_us += other.gain_us;
        self.read_late += other.read_late;
        self.unlinked += other.unlinked;
        self.spilled_peak_bytes = self.spilled_peak_bytes.max(other.spilled_peak_bytes);
    }

    /// The sum of several; `None` of none.
    pub fn sum(parts: impl Iterator<Item = Self>) -> Option<Self> {
        parts.reduce(|mut sum, part| {
            sum.add(&part);
            sum
        })
    }
}

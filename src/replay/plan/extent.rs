//! What must be known of a slice before it can be scaled.

use super::blocks::{OwnBlocks, Users};
use super::options::PlanOptions;
use super::slice::{Arrival, Slice};
use crate::replay::source::Source;
use crate::trace::TraceError;

/// A slice's ends, its longest conversation, and which blocks its conversations share.
#[derive(Debug, Clone, Default)]
pub(super) struct Extent {
    first_us: Option<u64>,
    last_start_us: u64,
    last_us: u64,
    longest_us: u64,
    starts: u64,
    requests: u64,
    own: OwnBlocks,
}

impl Extent {
    /// Reads the slice once.
    ///
    /// # Errors
    /// When the trace cannot be read.
    pub(super) fn measure<S: Source>(source: S, options: &PlanOptions) -> Result<Self, TraceError> {
        let mut extent = Self::default();
        let mut users = Users::default();
        for arrival in Slice::new(source, options) {
            let arrival = arrival?;
            users.note(arrival.key, &arrival.exchange.request.blocks);
            extent.add(&arrival);
        }
        extent.own = users.finish();
        Ok(extent)
    }

    fn add(&mut self, arrival: &Arrival) {
        self.first_us.get_or_insert(arrival.at_us);
        self.last_us = arrival.at_us;
        self.requests += 1;
        if arrival.place.number == 0 {
            self.starts += 1;
            self.last_start_us = arrival.at_us;
        }
        let since_us = arrival.at_us - arrival.place.start_us;
        self.longest_us = self.longest_us.max(since_us);
    }

    /// The first arrival, in microseconds of the trace.
    pub(super) fn first_us(&self) -> Option<u64> {
        self.first_us
    }

    /// From the first beginning of a conversation to the last.
    pub(super) fn starts_us(&self) -> u64 {
        self.last_start_us - self.first_us.unwrap_or(self.last_start_us)
    }

    /// From the first arrival to the last.
    pub(super) fn arrivals_us(&self) -> u64 {
        self.last_us - self.first_us.unwrap_or(self.last_us)
    }

    /// From a conversation's first turn to its last, at most.
    pub(super) fn longest_us(&self) -> u64 {
        self.longest_us
    }

    /// Conversations that begin, or else all requests.
    pub(super) fn arrivals(&self, by_session: bool) -> u64 {
        if by_session {
            self.starts
        } else {
            self.requests
        }
    }

    /// Which blocks only one session used.
    pub(super) fn own_blocks(&self) -> &OwnBlocks {
        &self.own
    }
}

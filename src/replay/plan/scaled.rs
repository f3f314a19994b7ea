//! How many conversations there are, and when each of their requests is sent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clock::Clock;
use super::draw::{Draw, Purpose};
use super::error::PlanError;
use super::extent::Extent;
use super::options::PlanOptions;
use super::reorder::{Rank, Reorder};
use super::slice::{Arrival, LeftOut, Slice};
use crate::replay::source::Source;

/// A request with its place in the plan.
pub(super) struct Scheduled {
    /// Its place; `rank.at_us` is its instant in microseconds of the run.
    pub(super) rank: Rank,
    /// The place of its conversation's first turn.
    pub(super) start: Rank,
    /// Its think time in the run.
    pub(super) think_us: Option<u64>,
    /// Which of the runs through the trace it belongs to: 0 is the trace itself, others are copies and later passes.
    pub(super) variant: u64,
    /// What was recorded, with the blocks of its variant.
    pub(super) arrival: Arrival,
}

/// A slice, thinned or copied, at the run's speed, in order.
pub(super) struct Scaled<S> {
    slice: Slice<S>,
    options: PlanOptions,
    extent: Option<Arc<Extent>>,
    clock: Clock,
    origin_us: Option<u64>,
    pass: u64,
    /// Copies of one pass, at most.
    copies: u64,
    reorder: Reorder,
    /// In order already, where order is kept.
    ready: VecDeque<(Rank, Rank, Arrival)>,
    /// Nothing that is still to be read comes before this.
    horizon_us: u64,
    begins_no_more: bool,
    over: bool,
}

impl<S: Source> Scaled<S> {
    pub(super) fn new(source: S, options: &PlanOptions, extent: Option<Arc<Extent>>) -> Self {
        let unknown = Extent::default();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small and positive"
        )]
        let copies = options.rate_scale.ceil() as u64;
        Self {
            slice: Slice::new(source, options),
            options: *options,
            clock: Clock::new(options, extent.as_deref().unwrap_or(&unknown)),
            origin_us: extent.as_ref().and_then(|extent| extent.first_us()),
            extent,
            pass: 0,
            copies: copies.max(1),
            reorder: Reorder::new(),
            ready: VecDeque::new(),
            horizon_us: 0,
            begins_no_more: false,
            over: false,
        }
    }

    pub(super) fn left_out(&self) -> &LeftOut {
        self.slice.left_out()
    }

    /// Says that nothing of a later pass is wanted: it would be read for nothing, again and again.
    pub(super) fn begin_no_more(&mut self) {
        self.begins_no_more = true;
    }

    fn next_scheduled(&mut self) -> Result<Option<Scheduled>, PlanError> {
        loop {
            if let Some((rank, start, arrival)) = self.ready.pop_front() {
                return Ok(Some(self.finish(rank, start, arrival)));
            }
            let until_us = if self.over { u64::MAX } else { self.horizon_us };
            if let Some((rank, start, arrival)) = self.reorder.pop(until_us) {
                return Ok(Some(self.finish(rank, start, arrival)));
            }
            if self.over {
                return Ok(None);
            }
            match self.slice.next() {
                Some(arrival) => self.place(arrival?)?,
                None => self.end_pass()?,
            }
        }
    }

    /// Puts an arrival and its copies where they belong.
    fn place(&mut self, arrival: Arrival) -> Result<(), PlanError> {
        let origin_us = *self.origin_us.get_or_insert(arrival.place.start_us);
        let start_us = arrival.place.start_us.saturating_sub(origin_us);
        let later_us = arrival.at_us - arrival.place.start_us;
        let since_us = start_us + later_us;
        let copies = self.copies_of(arrival.key);
        let in_order = self.options.keeps_order();
        for copy in 0..copies {
            let moved_us = self.clock.moved(start_us, self.shift_us(arrival.key, copy));
            let instants =
                self.clock
                    .instants(self.pass, moved_us, later_us, arrival.place.thought_us);
            if self.is_past_the_end(instants.start_us) {
                // Where order is kept, all that follows is, too.
                self.over |= in_order;
                continue;
            }
            let rank = |at_us, ordinal| Rank {
                at_us,
                pass: self.pass,
                ordinal,
                copy,
            };
            let own = rank(instants.own_us, arrival.ordinal);
            let start = rank(instants.start_us, arrival.place.start_ordinal);
            if in_order {
                self.ready.push_back((own, start, arrival));
                return Ok(());
            }
            self.reorder.push(own, start, arrival.clone())?;
        }
        if !in_order {
            let next_pass_us = self.next_pass_us().unwrap_or(u64::MAX);
            let unread_us = self
                .clock
                .not_before_us(self.pass, since_us)
                .min(next_pass_us);
            self.horizon_us = self.horizon_us.max(unread_us);
        }
        Ok(())
    }

    /// Begins the next pass of a loop, or ends.
    fn end_pass(&mut self) -> Result<(), PlanError> {
        match self.next_pass_us() {
            Some(begins_us) => {
                if begins_us <= self.clock.pass_begins_us(self.pass) {
                    return Err(PlanError::NoSpan);
                }
                self.over = !self.slice.again();
                self.pass += 1;
                self.horizon_us = self.horizon_us.max(begins_us);
            }
            None => self.over = true,
        }
        Ok(())
    }

    /// When the next pass begins, where there is one.
    fn next_pass_us(&self) -> Option<u64> {
        let begins_us = self.clock.pass_begins_us(self.pass + 1);
        self.options
            .loop_for_us
            .is_some_and(|end_us| begins_us < end_us && !self.begins_no_more)
            .then_some(begins_us)
    }

    fn is_past_the_end(&self, start_us: u64) -> bool {
        self.options
            .loop_for_us
            .is_some_and(|end_us| start_us >= end_us)
    }

    /// How often a conversation takes place: the whole part of the factor, and once more for a share of them as large as the rest.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    fn copies_of(&self, key: u64) -> u32 {
        let whole = self.options.rate_scale.floor();
        let once_more = Draw::new(self.options.seed, Purpose::Keep, key)
            .is_among(self.options.rate_scale - whole);
        whole as u32 + u32::from(once_more)
    }

    fn shift_us(&self, key: u64, copy: u32) -> i64 {
        if copy == 0 {
            return 0;
        }
        // A longer shift than a century is one of a century.
        let most_us = self.options.copy_shift_us.min(CENTURY_US);
        let drawn = Draw::new(self.options.seed, Purpose::Shift(copy), key).below(2 * most_us + 1);
        i64::try_from(drawn).unwrap_or(0) - i64::try_from(most_us).unwrap_or(0)
    }

    fn finish(&self, rank: Rank, start: Rank, mut arrival: Arrival) -> Scheduled {
        let fresh = |pass| pass * self.copies + u64::from(rank.copy);
        let words = fresh(if self.options.fresh_passes {
            rank.pass
        } else {
            0
        });
        if let Some(extent) = &self.extent {
            let blocks = &mut arrival.exchange.request.blocks;
            extent.own_blocks().renumber(blocks, words);
        }
        Scheduled {
            rank,
            start,
            think_us: arrival.place.think_us.map(|us| self.clock.think_us(us)),
            variant: fresh(rank.pass),
            arrival,
        }
    }
}

impl<S: Source> Iterator for Scaled<S> {
    type Item = Result<Scheduled, PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_scheduled();
        self.over |= next.is_err();
        next.transpose()
    }
}

const CENTURY_US: u64 = 3_155_760_000_000_000;

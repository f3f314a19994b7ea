use std::sync::Arc;

use super::error::PlanError;
use super::estimates::recount;
use super::extent::Extent;
use super::options::PlanOptions;
use super::reorder::Rank;
use super::scaled::{Scaled, Scheduled};
use super::{PlannedRequest, Turn};
use crate::replay::in_flight::InFlight;
use crate::replay::source::Source;
use crate::replay::survey::PlanSummary;
use crate::trace::TraceError;

/// What is needed to plan: the options, and where they ask for it what a first reading of the slice has shown.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    options: PlanOptions,
    extent: Option<Arc<Extent>>,
}

impl Plan {
    /// Reads the slice, if the options ask for what only that shows: where it ends, and which blocks its conversations share.
    ///
    /// # Errors
    /// When the trace cannot be read.
    pub fn survey<S: Source>(options: PlanOptions, source: S) -> Result<Self, TraceError> {
        let extent = match options.needs_extent() {
            true => Some(Arc::new(Extent::measure(source, &options)?)),
            false => None,
        };
        Ok(Self { options, extent })
    }

    /// The options.
    pub fn options(&self) -> &PlanOptions {
        &self.options
    }

    /// Blocks that only one session uses, which have words of their own in each copy, and blocks that several use, which all
    /// copies share. `None` where the slice was not read for it.
    pub fn blocks(&self) -> Option<(u32, u32)> {
        let blocks = self.extent.as_ref()?.own_blocks();
        Some((blocks.count(), blocks.shared()))
    }

    /// The same slice at another load; `None` where that asks for a reading that this one did without.
    pub fn at(&self, options: PlanOptions) -> Option<Self> {
        let slice = |options: &PlanOptions| (options.by_session, options.from_us, options.to_us);
        let is_known = self.extent.is_some() && slice(&options) == slice(&self.options);
        (is_known || !options.needs_extent()).then(|| Self {
            options,
            extent: self.extent.clone().filter(|_| is_known),
        })
    }

    /// The requests, from a source that begins where [`PlanOptions::from`] says.
    pub fn requests<S: Source>(&self, source: S) -> Planner<S> {
        Planner {
            scaled: Scaled::new(source, &self.options, self.extent.clone()),
            options: self.options,
            index: 0,
            last_start: None,
            in_flight: InFlight::default(),
            over: false,
            summary: PlanSummary::default(),
        }
    }
}

/// The requests of a plan, one after another, in order of their instants.
///
/// The plan starts with the first arrival of its slice: `intended_us = (at − first at) / speed`, in the order of the trace, ties
/// included. An exchange that is out of time order (a damaged or foreign trace) is sent at once and counted.
pub struct Planner<S> {
    scaled: Scaled<S>,
    options: PlanOptions,
    index: u64,
    /// The latest beginning of a conversation within the limit.
    last_start: Option<Rank>,
    in_flight: InFlight,
    over: bool,
    summary: PlanSummary,
}

impl<S: Source> Planner<S> {
    /// A plan over exchanges that needs no survey: a part of a trace, at a speed. For all else there is [`Plan`].
    pub fn new(source: S, options: PlanOptions) -> Self {
        let plan = Plan {
            options,
            extent: None,
        };
        plan.requests(source)
    }

    /// What has been planned so far.
    pub fn summary(&self) -> &PlanSummary {
        &self.summary
    }

    /// Runs through the whole plan and says what is in it.
    ///
    /// # Errors
    /// When the trace cannot be read, or the plan not be made.
    pub fn survey(mut self) -> Result<PlanSummary, PlanError> {
        for planned in &mut self {
            planned?;
        }
        Ok(self.summary)
    }

    /// Whether a request is within the limit: among the first so many, or a later turn of a conversation that began among them.
    fn is_within_limit(&mut self, scheduled: &Scheduled) -> bool {
        let Some(limit) = self.options.limit else {
            return true;
        };
        if self.index < limit {
            self.last_start = self.last_start.max(Some(scheduled.start));
            return true;
        }
        self.scaled.begin_no_more();
        let may_go_on = self.options.by_session && limit > 0;
        self.over |= !may_go_on;
        may_go_on && Some(scheduled.start) <= self.last_start
    }

    /// The request as it is sent, if this shard sends it.
    fn number(&mut self, scheduled: Scheduled) -> Option<PlannedRequest> {
        let index = self.index;
        self.index += 1;
        let Scheduled {
            rank,
            think_us,
            variant,
            arrival,
            ..
        } = scheduled;
        let mut exchange = arrival.exchange;
        let session = exchange
            .session
            .map(|session| variant << 32 | u64::from(session.0));
        let seed = self.options.seed;
        let shard = self.options.shard;
        if shard.is_some_and(|shard| !shard.holds(session, index, seed)) {
            return None;
        }
        if let Some(ratio) = self.options.bytes_per_token {
            recount(&mut exchange.request, ratio);
        }
        let planned = PlannedRequest {
            index,
            intended_us: rank.at_us,
            turn: Turn {
                session,
                number: arrival.place.number,
                think_us,
            },
            exchange,
        };
        self.summary.add(&planned);
        self.in_flight.add(&planned);
        self.summary.peak_in_flight = self.in_flight.peak();
        self.summary.idle_connections = self.in_flight.idle_connections();
        Some(planned)
    }

    fn next_planned(&mut self) -> Result<Option<PlannedRequest>, PlanError> {
        while !self.over {
            let Some(scheduled) = self.scaled.next() else {
                self.over = true;
                break;
            };
            let scheduled = scheduled?;
            if !self.is_within_limit(&scheduled) {
                continue;
            }
            if let Some(planned) = self.number(scheduled) {
                return Ok(Some(planned));
            }
        }
        let left_out = self.scaled.left_out();
        self.summary.skipped = left_out.skipped.clone();
        self.summary.out_of_order = left_out.out_of_order;
        Ok(None)
    }
}

impl<S: Source> Iterator for Planner<S> {
    type Item = Result<PlannedRequest, PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_planned();
        self.over |= next.is_err();
        next.transpose()
    }
}

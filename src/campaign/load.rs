//! What the plan comes to at the load of a step. It is read, not reckoned: of linked conversations only the beginnings come sooner at a higher
//! speed, and think times stay, so requests a second do not rise with the speed.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::CampaignError;
use super::looks::Looks;
use super::plan::passes_words;
use super::rung::Rung;
use super::stage::Stage;
use crate::replay::{Passes, PlanOptions};
use crate::trace::Trace;

/// What a step sends.
pub(super) struct Load {
    pub(super) plan: PlanOptions,
    pub(super) counted: Counted,
    /// The trace is too short for it, and is replayed again and again.
    pub(super) looped: bool,
}

/// Requests at a plan's beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) requests: u64,
    /// When the last of them is due, in microseconds after the first.
    pub(super) last_us: u64,
}

impl Counted {
    fn add(&mut self, at_us: u64) {
        self.requests += 1;
        self.last_us = self.last_us.max(at_us);
    }

    /// From the first of them to the last.
    pub(super) fn span(self) -> Duration {
        Duration::from_micros(self.last_us)
    }

    /// Requests a second; 0 where all are due at one instant.
    #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    pub(super) fn per_s(self) -> f64 {
        if self.last_us == 0 {
            return 0.0;
        }
        self.requests as f64 / self.span().as_secs_f64()
    }
}

impl Stage<'_> {
    /// A step of a sweep: the whole plan, again and again where it lasts less than `least`.
    pub(super) fn whole_load(
        &self,
        rung: &Rung<'_>,
        least: Duration,
    ) -> Result<Load, CampaignError> {
        let plan = rung.axis.at(rung.load, self.campaign.plan);
        let whole = self.count(plan)?;
        if whole.span() >= least || !self.may_loop(whole) {
            return Ok(Load {
                plan,
                counted: whole,
                looped: false,
            });
        }
        let plan = PlanOptions {
            loop_for_us: Some(micros(least)),
            ..plan
        };
        let counted = self.count(plan)?;
        self.tell_looped(whole.requests, counted.requests);
        Ok(Load {
            plan,
            counted,
            looped: true,
        })
    }

    /// A step of a search, and what decides it: as many requests as the objectives need at most, and as come in `least` at least.
    pub(super) fn search_load(
        &self,
        rung: &Rung<'_>,
        least: Duration,
    ) -> Result<(Load, Looks), CampaignError> {
        let mut plan = rung.axis.at(rung.load, self.campaign.plan);
        let (mut counted, mut looks) = self.beginning(plan, least)?;
        let (holds, most) = (counted.requests, looks.most());
        let looped = holds < most && self.may_loop(counted);
        if looped {
            // The requests end it, not the time.
            plan.loop_for_us = Some(micros(lasting(2 * most, counted.per_s())));
            (counted, looks) = self.beginning(plan, least)?;
            self.tell_looped(holds, looks.most());
        }
        if counted.requests < looks.least() {
            return Err(CampaignError::Short {
                holds: counted.requests,
                needs: looks.least(),
            });
        }
        // Later turns of conversations follow beyond a limit, so a plan with one may hold more than that.
        let limit = plan.limit.unwrap_or(u64::MAX).min(counted.requests);
        plan.limit = Some(limit);
        let load = Load {
            plan,
            counted,
            looped,
        };
        Ok((load, looks))
    }

    /// As much of a plan as a search looks at, where it has as much, and the looks.
    fn beginning(
        &self,
        plan: PlanOptions,
        least: Duration,
    ) -> Result<(Counted, Looks), CampaignError> {
        let objectives = &self.campaign.objectives;
        let prelude = Duration::from_micros(self.campaign.measure.prelude_us);
        let (begins_us, ends_us) = (micros(prelude), micros(prelude.saturating_add(least)));
        let (mut before, mut within) = (0, 0);
        let mut counted = Counted::default();
        let mut looks: Option<Looks> = None;
        self.walk(plan, &mut |at_us| {
            if at_us >= ends_us {
                let looks = looks.get_or_insert_with(|| Looks::new(objectives, within, before));
                if counted.requests >= looks.most() {
                    return ControlFlow::Break(());
                }
            } else if at_us >= begins_us {
                within += 1;
            } else {
                before += 1;
            }
            counted.add(at_us);
            ControlFlow::Continue(())
        })?;
        let looks = looks.unwrap_or_else(|| {
            // It is over before that, and may go on as it was.
            let in_time = |time| requests_in(time, counted.per_s());
            Looks::new(objectives, in_time(least), in_time(prelude))
        });
        Ok((counted, looks))
    }

    /// All requests of a plan.
    fn count(&self, plan: PlanOptions) -> Result<Counted, CampaignError> {
        let mut counted = Counted::default();
        self.walk(plan, &mut |at_us| {
            counted.add(at_us);
            ControlFlow::Continue(())
        })?;
        Ok(counted)
    }

    /// Shows `each` the instants of a plan's requests, one after another, until it has seen enough.
    fn walk(
        &self,
        plan: PlanOptions,
        each: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), CampaignError> {
        let mut trace = Trace::open(&self.campaign.traces)?;
        let layout = self.layout(plan, &mut trace)?;
        let exchanges = trace.exchanges_from(layout.options().from());
        for planned in layout.requests(Passes::new(exchanges)) {
            if each(planned?.intended_us).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether a step that needs more requests than the trace holds may take it again and again: not where the user said how many there are.
    fn may_loop(&self, holds: Counted) -> bool {
        self.campaign.plan.limit.is_none() && holds.per_s() > 0.0
    }

    /// Says, once, that and how the trace is made to last.
    fn tell_looped(&self, holds: u64, needs: u64) {
        if !self.told_looped.swap(true, Ordering::Relaxed) {
            self.audience.say(&format!(
                "the trace holds {holds} requests to send, and a step takes up to {needs}: it is replayed again and again, {}",
                passes_words(self.campaign.run.cache)
            ));
        }
    }
}

/// How long so many requests take to send.
#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn lasting(requests: u64, per_s: f64) -> Duration {
    Duration::try_from_secs_f64(requests as f64 / per_s.max(f64::MIN_POSITIVE)).unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Requests of a step of this length.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "neither is negative, and the cast saturates"
)]
fn requests_in(step: Duration, per_s: f64) -> u64 {
    (step.as_secs_f64() * per_s).ceil() as u64
}

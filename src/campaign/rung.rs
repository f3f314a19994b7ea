//! One step of a sweep or of a search: the trace at one load, and what it says of the objectives.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::audience::{Place, Ticket};
use super::axis::Axis;
use super::error::CampaignError;
use super::looks::{Decision, Looks};
use super::once::{Measured, Order};
use super::plan::passes_words;
use super::stage::Stage;
use crate::measure::{MeasuredRun, Step, StepVerdict};
use crate::replay::{Calibration, PlanOptions};
use crate::verdict::{ObjectiveStatus, judge};

/// A step to take.
pub(super) struct Rung<'a> {
    pub(super) target: usize,
    pub(super) calibration: &'a Calibration,
    pub(super) axis: Axis,
    pub(super) load: f64,
    /// Which of the campaign's, from 0.
    pub(super) round: u64,
    /// Of how many, where that is known.
    pub(super) of: Option<u64>,
    /// Which of the target's, from 0.
    pub(super) number: u64,
}

/// A step that was taken.
pub(super) struct Climbed {
    pub(super) step: Step,
    pub(super) run: MeasuredRun,
}

impl Stage<'_> {
    /// A step of a sweep: the whole plan, again and again where it lasts less than `least`.
    pub(super) fn whole(&self, rung: &Rung<'_>, least: Duration) -> Result<Climbed, CampaignError> {
        let plan = rung.axis.at(rung.load, self.campaign.plan);
        let (holds, needs) = (self.holds(rung), requests_in(least, self.offered(rung)));
        let looped = holds < needs && self.may_loop(rung);
        let (plan, planned) = if looped {
            self.tell_looped(holds, needs);
            let loop_for_us = Some(micros(least));
            (
                PlanOptions {
                    loop_for_us,
                    ..plan
                },
                needs,
            )
        } else {
            (plan, holds)
        };
        let order = self.order(rung, plan, planned);
        let measured = self.once(order, &mut |_| u64::MAX)?;
        let verdict = self.verdict(&measured, None);
        Ok(self.climbed(rung, measured, verdict, None, looped))
    }

    /// A step of a search: it ends when its requests decide. Its measured part lasts at least `least`.
    pub(super) fn decided(
        &self,
        rung: &Rung<'_>,
        least: Duration,
    ) -> Result<Climbed, CampaignError> {
        let mut looks = Looks::new(
            &self.campaign.objectives,
            requests_in(least, self.offered(rung)),
            requests_in(self.prelude(), self.offered(rung)),
        );
        let (holds, most) = (self.holds(rung), looks.most());
        let looped = holds < most && self.may_loop(rung);
        if !looped && holds < looks.least() {
            let needs = looks.least();
            return Err(CampaignError::Short { holds, needs });
        }
        let planned = if looped { most } else { most.min(holds) };
        let mut plan = PlanOptions {
            limit: Some(planned),
            ..rung.axis.at(rung.load, self.campaign.plan)
        };
        if looped {
            self.tell_looped(holds, most);
            // The requests end it, not the time.
            plan.loop_for_us = Some(micros(lasting(2 * planned, self.offered(rung))));
        }
        let order = self.order(rung, plan, planned);
        let (warm_up, stop) = (looks.warm_up(), order.stop.clone());
        let measured = self.once(Order { warm_up, ..order }, &mut |outcome| {
            if looks.record(outcome) {
                stop.request();
            }
            looks.until()
        })?;
        let verdict = self.verdict(&measured, Some(&looks));
        Ok(self.climbed(rung, measured, verdict, Some(&looks), looped))
    }

    fn order<'o>(&'o self, rung: &Rung<'o>, plan: PlanOptions, planned: u64) -> Order<'o> {
        let target = &self.campaign.targets[rung.target];
        Order {
            target,
            calibration: rung.calibration,
            plan,
            salt: self.salt(),
            number: rung.number,
            round: rung.round,
            ticket: Ticket {
                name: format!("{}, {}", target.name, rung.axis.words(rung.load)),
                target: target.name.clone(),
                planned,
                span: lasting(planned, self.offered(rung)),
                place: Place::Step {
                    number: rung.round + 1,
                    of: rung.of,
                },
            },
            warm_up: 0,
            judged: false,
            gate: None,
            with_recorded: false,
            stop: self.stop.part(),
        }
    }

    /// How long requests are sent before those that count.
    fn prelude(&self) -> Duration {
        Duration::from_micros(self.campaign.measure.prelude_us)
    }

    /// Whether a step that needs more requests than the trace holds may take it again and again: not where the user said how many there are.
    fn may_loop(&self, rung: &Rung<'_>) -> bool {
        self.campaign.plan.limit.is_none() && self.offered(rung) > 0.0
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

    /// Requests that the whole plan has at a step's load.
    fn holds(&self, rung: &Rung<'_>) -> u64 {
        let from = rung.axis.of(&self.campaign.plan);
        let looped = self.campaign.plan.loop_for_us.is_some();
        (rung.axis).planned(self.survey.plan.planned, from, rung.load, looped)
    }

    /// Requests a second that a step plans.
    fn offered(&self, rung: &Rung<'_>) -> f64 {
        let base = self.survey.plan.mean_rate().unwrap_or(0.0);
        base * rung.load / rung.axis.of(&self.campaign.plan)
    }

    /// What a step says of the objectives, and why: by counting requests where `looks` did so, by its figures otherwise.
    fn verdict(&self, measured: &Measured, looks: Option<&Looks>) -> (StepVerdict, String) {
        let summary = &measured.run.summary;
        // Before all else: latencies count from the intended instants, so a generator that falls behind misses objectives, too, and that is
        // no limit of the target's.
        if !summary.fidelity.valid {
            return (StepVerdict::Invalid, summary.fidelity.reasons.join("; "));
        }
        if let Some(Decision::Missed(why)) = looks.and_then(Looks::decision) {
            return (StepVerdict::Fail, why.clone());
        }
        if let Some(why) = summary.saturated.clone() {
            return (StepVerdict::Saturated, why);
        }
        let objectives = &self.campaign.objectives;
        let judged = judge(objectives, std::slice::from_ref(summary), &[]);
        let missed = judged.objectives.iter().find(|result| {
            use ObjectiveStatus::{Fail, NotMeasured};
            !looks.is_some_and(|looks| looks.counts(&result.expr))
                && matches!(result.status, Fail | NotMeasured)
        });
        if let Some(missed) = missed {
            let why = format!("{}: {}", missed.expr, missed.reason);
            return (StepVerdict::Fail, why);
        }
        if let Some(looks) = looks.filter(|looks| looks.is_open()) {
            return (StepVerdict::Undecided, looks.why_open());
        }
        if objectives.is_empty() {
            return (StepVerdict::Measured, "no objective was given".to_owned());
        }
        (StepVerdict::Pass, "every objective was met".to_owned())
    }

    fn climbed(
        &self,
        rung: &Rung<'_>,
        measured: Measured,
        (verdict, reason): (StepVerdict, String),
        looks: Option<&Looks>,
        looped: bool,
    ) -> Climbed {
        let summary = &measured.run.summary;
        let plan = rung.axis.at(rung.load, self.campaign.plan);
        let step = Step {
            speed: plan.speed,
            rate_scale: plan.rate_scale,
            offered_per_s: self.offered(rung),
            verdict,
            reason,
            remarks: summary.fidelity.remarks.clone(),
            looped,
            confirmation: false,
            elapsed_s: measured.elapsed.as_secs_f64(),
            warm_up: looks.map_or(0, Looks::warm_up),
            requests: summary.requests.clone(),
            latency: summary.latency.clone(),
            throughput: summary.throughput.clone(),
            goodput: summary.goodput.clone(),
            misses: summary.misses.clone(),
        };
        Climbed {
            step,
            run: measured.run,
        }
    }
}

/// How long so many requests take to send; nothing where that is unknown.
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

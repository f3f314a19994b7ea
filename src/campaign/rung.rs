//! One step of a sweep or of a search: the trace at one load, and what it says of the objectives.

use std::time::Duration;

use super::audience::Ticket;
use super::axis::Axis;
use super::error::CampaignError;
use super::looks::{Decision, Looks};
use super::once::{Measured, Order};
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
    /// Which of how many, where that is known.
    pub(super) place: Option<(u64, u64)>,
    /// Which of the target's, from 0.
    pub(super) number: u64,
}

/// A step that was taken.
pub(super) struct Climbed {
    pub(super) step: Step,
    pub(super) run: MeasuredRun,
}

impl Stage<'_> {
    /// A step of a sweep: the whole plan.
    pub(super) fn whole(&self, rung: &Rung<'_>) -> Result<Climbed, CampaignError> {
        let plan = rung.axis.at(rung.load, self.campaign.plan);
        let order = self.order(rung, plan, self.holds(rung));
        let measured = self.once(order, &mut |_| ())?;
        let verdict = self.verdict(&measured, None);
        Ok(self.climbed(rung, measured, verdict, None))
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
        );
        let holds = self.holds(rung);
        if holds < looks.least() {
            let needs = looks.least();
            return Err(CampaignError::Short { holds, needs });
        }
        let planned = looks.most().min(holds);
        let plan = PlanOptions {
            limit: Some(planned),
            ..rung.axis.at(rung.load, self.campaign.plan)
        };
        let order = self.order(rung, plan, planned);
        let (warm_up, stop) = (looks.warm_up(), order.stop.clone());
        let measured = self.once(Order { warm_up, ..order }, &mut |outcome| {
            if looks.record(outcome) {
                stop.request();
            }
        })?;
        let verdict = self.verdict(&measured, Some(&looks));
        Ok(self.climbed(rung, measured, verdict, Some(&looks)))
    }

    fn order<'o>(&'o self, rung: &Rung<'o>, plan: PlanOptions, planned: u64) -> Order<'o> {
        let target = &self.campaign.targets[rung.target];
        #[allow(clippy::cast_precision_loss, reason = "for display")]
        let span_s = planned as f64 / self.offered(rung).max(f64::MIN_POSITIVE);
        Order {
            target,
            calibration: rung.calibration,
            plan,
            salt: self.salt(),
            number: rung.number,
            ticket: Ticket {
                name: format!("{}, {}", target.name, rung.axis.words(rung.load)),
                planned,
                span: Duration::try_from_secs_f64(span_s).unwrap_or_default(),
                place: rung.place,
            },
            warm_up: 0,
            gate: None,
            with_recorded: false,
            stop: self.stop.part(),
        }
    }

    /// Requests that the whole plan has at a step's load.
    fn holds(&self, rung: &Rung<'_>) -> u64 {
        let from = rung.axis.of(&self.campaign.plan);
        rung.axis.planned(self.survey.plan.planned, from, rung.load)
    }

    /// Requests a second that a step plans.
    fn offered(&self, rung: &Rung<'_>) -> f64 {
        let base = self.survey.plan.mean_rate().unwrap_or(0.0);
        base * rung.load / rung.axis.of(&self.campaign.plan)
    }

    /// What a step says of the objectives, and why: by counting requests where `looks` did so, by its figures otherwise.
    fn verdict(&self, measured: &Measured, looks: Option<&Looks>) -> (StepVerdict, String) {
        let summary = &measured.run.summary;
        if let Some(Decision::Missed(why)) = looks.and_then(Looks::decision) {
            return (StepVerdict::Fail, why.clone());
        }
        if let Some(why) = measured.run.summary.saturated.clone() {
            return (StepVerdict::Saturated, why);
        }
        if !summary.fidelity.valid {
            return (StepVerdict::Invalid, summary.fidelity.reasons.join("; "));
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
    ) -> Climbed {
        let summary = &measured.run.summary;
        let plan = rung.axis.at(rung.load, self.campaign.plan);
        let step = Step {
            speed: plan.speed,
            rate_scale: plan.rate_scale,
            offered_per_s: self.offered(rung),
            verdict,
            reason,
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

/// Requests of a step of this length.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "neither is negative, and the cast saturates"
)]
fn requests_in(step: Duration, per_s: f64) -> u64 {
    (step.as_secs_f64() * per_s).ceil() as u64
}

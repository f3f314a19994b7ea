//! One step of a sweep or of a search: the trace at one load, and what it says of the objectives.

use std::time::Duration;

use super::audience::{Place, Ticket};
use super::axis::Axis;
use super::error::CampaignError;
use super::load::Load;
use super::looks::{Decision, Looks};
use super::once::{Measured, Order};
use super::stage::Stage;
use crate::measure::{MeasuredRun, Step, StepVerdict};
use crate::replay::Calibration;
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
        let load = self.whole_load(rung, least)?;
        let measured = self.once(self.order(rung, &load), &mut |_| u64::MAX)?;
        let verdict = self.verdict(&measured, None);
        Ok(climbed(&load, measured, verdict, None))
    }

    /// A step of a search: it ends when its requests decide. Its measured part lasts at least `least`.
    pub(super) fn decided(
        &self,
        rung: &Rung<'_>,
        least: Duration,
    ) -> Result<Climbed, CampaignError> {
        let (load, mut looks) = self.search_load(rung, least)?;
        let order = self.order(rung, &load);
        let (warm_up, stop) = (looks.warm_up(), order.stop.clone());
        let measured = self.once(Order { warm_up, ..order }, &mut |outcome| {
            if looks.record(outcome) {
                stop.request();
            }
            looks.until()
        })?;
        let verdict = self.verdict(&measured, Some(&looks));
        Ok(climbed(&load, measured, verdict, Some(&looks)))
    }

    fn order<'o>(&'o self, rung: &Rung<'o>, load: &Load) -> Order<'o> {
        let target = &self.campaign.targets[rung.target];
        Order {
            target,
            calibration: rung.calibration,
            plan: load.plan,
            salt: self.salt(),
            number: rung.number,
            round: rung.round,
            ticket: Ticket {
                name: format!("{}, {}", target.name, rung.axis.words(rung.load)),
                target: target.name.clone(),
                planned: load.counted.requests,
                span: load.counted.span(),
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
}

fn climbed(
    load: &Load,
    measured: Measured,
    (verdict, reason): (StepVerdict, String),
    looks: Option<&Looks>,
) -> Climbed {
    let summary = &measured.run.summary;
    let step = Step {
        speed: load.plan.speed,
        rate_scale: load.plan.rate_scale,
        offered_per_s: load.counted.per_s(),
        verdict,
        reason,
        remarks: summary.fidelity.remarks.clone(),
        looped: load.looped,
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

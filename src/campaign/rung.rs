//! One step of a sweep or of a search: the trace at one load, and what it says of the objectives.

use std::time::Duration;

use super::audience::{Place, Ticket};
use super::axis::Axis;
use super::error::CampaignError;
use super::load::Load;
use super::looks::{Decision, Looks};
use super::once::{Measured, Order};
use super::stage::Stage;
use crate::measure::{MeasuredRun, Step, StepVerdict, TargetSummary};
use crate::replay::Calibration;
use crate::verdict::{Objective, ObjectiveStatus, judge};

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

    fn verdict(&self, measured: &Measured, looks: Option<&Looks>) -> (StepVerdict, String) {
        verdict(&measured.run.summary, looks, &self.campaign.objectives)
    }
}

/// What a step says of the objectives, and why: by counting requests where `looks` did so, by its figures otherwise.
fn verdict(
    summary: &TargetSummary,
    looks: Option<&Looks>,
    objectives: &[Objective],
) -> (StepVerdict, String) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{
        GeneratorEvidence, MeasureOptions, Observed, TargetIdentity, TargetMeasure,
    };
    use crate::replay::{RequestOutcome, SendResult};

    /// A request of so many milliseconds, one every ten.
    fn outcome(index: u64, ms: u64) -> RequestOutcome {
        let at_us = index * 10_000;
        RequestOutcome {
            index,
            planned_us: at_us,
            intended_us: at_us,
            sent_us: Some(at_us),
            end_us: at_us + ms * 1000,
            result: SendResult::Ok,
            ..RequestOutcome::default()
        }
    }

    /// A step of requests of so many milliseconds, and what counting them came to; the queue grew, and it was not faithful, where that is said.
    struct Taken {
        summary: TargetSummary,
        looks: Looks,
        objectives: Vec<Objective>,
    }

    impl Taken {
        fn of(objectives: &[&str], requests: u64, ms: u64) -> Self {
            let objectives: Vec<Objective> = objectives
                .iter()
                .map(|expr| expr.parse().unwrap())
                .collect();
            let mut measure = TargetMeasure::new(MeasureOptions::default());
            let mut looks = Looks::new(&objectives, 0, 0);
            for index in 0..requests {
                measure.record(&outcome(index, ms));
                looks.record(&outcome(index, ms));
            }
            let (identity, evidence) = <(TargetIdentity, GeneratorEvidence)>::default();
            let mut summary = measure.finish(identity, evidence, Observed::default());
            summary.fidelity.valid = true;
            Self {
                summary,
                looks,
                objectives,
            }
        }

        fn saturated(mut self) -> Self {
            self.summary.saturated = Some("saturated: it only grew".to_owned());
            self
        }

        fn unfaithful(mut self) -> Self {
            self.summary.fidelity.valid = false;
            self.summary.fidelity.reasons = vec!["it was late".to_owned(), "and busy".to_owned()];
            self
        }

        fn verdict(&self) -> (StepVerdict, String) {
            verdict(&self.summary, Some(&self.looks), &self.objectives)
        }
    }

    /// Ten misses in a hundred are allowed; decided after 72 requests, of which 7 are to warm up.
    const ENOUGH: u64 = 300;

    #[test]
    fn what_was_not_faithful_is_no_limit_of_the_target_whatever_was_missed() {
        let lost = Taken::of(&["e2e.p90<100ms"], ENOUGH, 900);
        assert!(matches!(lost.looks.decision(), Some(Decision::Missed(_))));
        let (verdict, why) = lost.saturated().unfaithful().verdict();
        assert_eq!(verdict, StepVerdict::Invalid);
        assert_eq!(why, "it was late; and busy");
    }

    #[test]
    fn what_counting_decided_is_said_before_the_queue_that_explains_it() {
        let (verdict, why) = Taken::of(&["e2e.p90<100ms"], ENOUGH, 900)
            .saturated()
            .verdict();
        assert_eq!(verdict, StepVerdict::Fail);
        assert!(why.contains("missed e2e.p90<100ms"), "{why}");
    }

    #[test]
    fn a_queue_that_only_grew_meets_nothing_however_good_or_open_its_figures_are() {
        // All that was counted met its objective: with a longer step it would not have.
        let met = Taken::of(&["e2e.p90<100ms"], ENOUGH, 10);
        assert_eq!(met.looks.decision(), Some(&Decision::Met));
        let (verdict, why) = met.saturated().verdict();
        assert_eq!(verdict, StepVerdict::Saturated);
        assert_eq!(why, "saturated: it only grew");
        let open = Taken::of(&["e2e.p90<100ms"], 20, 10).saturated();
        assert!(open.looks.is_open());
        assert_eq!(open.verdict().0, StepVerdict::Saturated);
        let by_figure = Taken::of(&["e2e.mean<1ms"], ENOUGH, 10).saturated();
        assert_eq!(by_figure.verdict().0, StepVerdict::Saturated);
        let unjudged = Taken::of(&[], ENOUGH, 10).saturated();
        assert_eq!(unjudged.verdict().0, StepVerdict::Saturated);
    }

    #[test]
    fn what_is_not_counted_is_judged_by_its_figure_before_a_count_is_called_open() {
        let (verdict, why) = Taken::of(&["e2e.p90<100ms", "e2e.mean<1ms"], 20, 10).verdict();
        assert_eq!(verdict, StepVerdict::Fail);
        assert!(why.starts_with("e2e.mean<1ms: "), "{why}");
        // None of them is a stream.
        let (verdict, why) = Taken::of(&["ttft.mean<1s"], ENOUGH, 10).verdict();
        assert_eq!(verdict, StepVerdict::Fail);
        assert!(why.starts_with("ttft.mean<1s: "), "{why}");
    }

    #[test]
    fn few_requests_leave_it_open_and_enough_of_them_decide() {
        let (open, why) = Taken::of(&["e2e.p90<100ms"], 20, 10).verdict();
        assert_eq!(open, StepVerdict::Undecided);
        assert!(why.contains("e2e.p90<100ms"), "{why}");
        let met = Taken::of(&["e2e.p90<100ms", "e2e.mean<1s"], ENOUGH, 10);
        assert_eq!(met.verdict().0, StepVerdict::Pass);
        // A step of a sweep counts nothing.
        let of_sweep = verdict(&met.summary, None, &met.objectives).0;
        assert_eq!(of_sweep, StepVerdict::Pass);
        assert_eq!(
            Taken::of(&[], ENOUGH, 10).verdict().0,
            StepVerdict::Measured
        );
    }
}

//! One run against one target.

use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use super::Campaign;
use super::audience::Ticket;
use super::error::CampaignError;
use super::stage::Stage;
use crate::measure::{
    MeasureOptions, MeasuredRun, Observed, RECORDED, RunSample, TargetIdentity, TargetMeasure, twin,
};
use crate::replay::{
    Calibration, Ended, Gate, Passes, Plan, PlanOptions, Progress, RequestOutcome, RunOptions,
    Stop, Target, run,
};
use crate::report::{ReportError, RunHistograms};
use crate::trace::Trace;
use crate::verdict::{MissCount, per_request_bounds};

/// What is run.
pub(super) struct Order<'a> {
    pub(super) target: &'a Target,
    pub(super) calibration: &'a Calibration,
    pub(super) plan: PlanOptions,
    /// Sets its words apart from those of the campaign's other runs.
    pub(super) salt: u64,
    /// Which of the target's runs or steps, from 0: told with each request in the log.
    pub(super) number: u64,
    /// Which of the campaign's rounds it belongs to, from 0: those of one begin together.
    pub(super) round: u64,
    pub(super) ticket: Ticket,
    /// Requests at the beginning that are in the log and in no figure.
    pub(super) warm_up: u64,
    /// Where it waits for others, to begin with them.
    pub(super) gate: Option<Gate>,
    /// Whether what production felt at the same requests is measured beside it.
    pub(super) with_recorded: bool,
    /// Ends it.
    pub(super) stop: Stop,
}

/// What one run came to.
pub(super) struct Measured {
    pub(super) run: MeasuredRun,
    pub(super) sample: RunSample,
    /// What production felt at the same requests, where the trace tells.
    pub(super) recorded: Option<Recorded>,
    pub(super) elapsed: Duration,
}

/// What production felt at the requests of a run.
pub(super) struct Recorded {
    pub(super) run: MeasuredRun,
    pub(super) sample: RunSample,
}

impl Measured {
    /// Its latencies, for the file that has them whole.
    pub(super) fn histograms(&self, run: u64) -> RunHistograms {
        RunHistograms {
            target: self.run.summary.name.clone(),
            run,
            latencies: self.run.latencies.clone(),
        }
    }
}

impl Stage<'_> {
    /// Runs the plan against a target. `judge` is shown every measured request as it ends, and may end the run: that it was ended so
    /// is no fault.
    pub(super) fn once(
        &self,
        order: Order<'_>,
        judge: &mut dyn FnMut(&RequestOutcome),
    ) -> Result<Measured, CampaignError> {
        // Others may wait for this run at the gate, and must not do so for ever.
        let _passage = order.gate.clone().map(Passage);
        let campaign = self.campaign;
        let mut trace = Trace::open(&campaign.traces)?;
        let counted = PlanOptions {
            bytes_per_token: self.survey.plan.bytes_per_token(),
            ..campaign.resolved(order.plan)
        };
        let layout = match self.survey.layout.at(counted) {
            Some(layout) => layout,
            None => Plan::survey(counted, Passes::new(trace.exchanges_from(counted.from())))?,
        };
        let plan = layout.requests(Passes::new(trace.exchanges_from(counted.from())));
        let mut options = RunOptions {
            run: order.salt,
            block: self.survey.block,
            start_at: campaign.starts_at(order.round),
            gate: order.gate,
            ..campaign.run.clone()
        };
        options.prompts.models.clone_from(&self.survey.models);
        let mut measure = TargetMeasure::new(MeasureOptions {
            bounds: per_request_bounds(&campaign.objectives),
            ..campaign.measure.clone()
        });
        let mut misses = MissCount::new(&campaign.objectives);
        let mut recorded = order
            .with_recorded
            .then(|| TargetMeasure::new(campaign.measure.clone()));
        let progress = Progress::default();
        let watched = self.audience.watch(&order.ticket, &progress);
        let watch = campaign.watch(order.target);
        let mut broken_log: Option<ReportError> = None;
        let name = &order.target.name;
        let summary = run(
            order.target,
            order.calibration,
            plan,
            &options,
            &progress,
            &order.stop,
            |outcome| {
                self.audience.hear(name, &outcome);
                if outcome.index >= order.warm_up {
                    if measure.record(&outcome) {
                        misses.record(&outcome);
                    }
                    if let Some((recorded, felt)) = recorded.as_mut().zip(twin(&outcome)) {
                        recorded.record(&felt);
                    }
                    judge(&outcome);
                }
                if let Some(log) = self.log.as_ref().filter(|_| broken_log.is_none()) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    broken_log = log.add(name, order.number, &outcome).err();
                }
            },
        );
        let started = summary.as_ref().map(|summary| summary.started);
        let seen = watch.stop(started.unwrap_or_else(|_| Instant::now()));
        drop(watched);
        let summary = summary?;
        if let Some(error) = broken_log {
            return Err(error.into());
        }
        // A run that was ended on purpose planned what it sent.
        let on_purpose = order.stop.is_requested() && !self.stop.is_requested();
        let evidence = self.evidence(&summary, order.calibration, on_purpose);
        // What was planned is known for sure once the plan's end was reached: copies of conversations are drawn.
        let whole = matches!(summary.ended, Ended::Whole);
        let planned = if whole {
            summary.plan.planned
        } else {
            order.ticket.planned
        };
        let planned = (!on_purpose).then(|| planned.saturating_sub(order.warm_up));
        let identity = TargetIdentity {
            name: name.clone(),
            url: order.target.url.to_string(),
            model: Some(order.calibration.model.clone()),
        };
        let sample = measure.take_sample();
        let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
        let mut told = measure.finish(identity, evidence, seen.observed());
        told.misses = misses.finish();
        told.simulated |= order.calibration.simulated;
        told.turns = (summary.turns.turns > 0).then_some(summary.turns);
        told.requests.planned = planned.map_or(told.requests.planned, |planned| {
            planned.saturating_sub(told.window.prelude_requests)
        });
        Ok(Measured {
            run: MeasuredRun {
                summary: told,
                latencies,
                lateness,
            },
            sample,
            recorded: recorded.and_then(production),
            elapsed: summary.elapsed,
        })
    }
}

impl Campaign {
    /// When a round begins on the wall clock; `None` where it begins as soon as it can.
    fn starts_at(&self, round: u64) -> Option<SystemTime> {
        let first = self.run.start_at?;
        match self.start_every {
            _ if round == 0 => Some(first),
            Some(every) => Some(first + every.saturating_mul(u32::try_from(round).ok()?)),
            None => None,
        }
    }
}

/// Production's own figures; `None` where the trace tells nothing of them.
pub(super) fn production(mut measure: TargetMeasure) -> Option<Recorded> {
    let sample = measure.take_sample();
    if sample.is_empty() {
        return None;
    }
    let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
    let identity = TargetIdentity {
        name: RECORDED.to_owned(),
        ..TargetIdentity::default()
    };
    let evidence = crate::measure::GeneratorEvidence {
        remarks: vec!["what production's clients felt when the trace was recorded".to_owned()],
        ..Default::default()
    };
    let summary = measure.finish(identity, evidence, Observed::default());
    Some(Recorded {
        run: MeasuredRun {
            summary,
            latencies,
            lateness,
        },
        sample,
    })
}

/// Opens the gate when its run is over, however it ended.
struct Passage(Gate);

impl Drop for Passage {
    fn drop(&mut self) {
        self.0.open();
    }
}

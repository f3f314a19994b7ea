//! One run against one target.

use std::ops::Range;
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::Campaign;
use super::audience::Ticket;
use super::error::CampaignError;
use super::evaluate::Under;
use super::stage::Stage;
use super::tally::Tally;
use crate::measure::traffic::SharingMeter;
use crate::measure::{
    MeasureOptions, MeasuredRun, Observed, RECORDED, RunSample, TargetIdentity, TargetMeasure,
};
use crate::replay::{
    Calibration, Ended, Gate, Passes, PlanOptions, Planner, Progress, RequestOutcome, RunOptions,
    Source, Stop, Target, run,
};
use crate::report::{RunGaps, RunHistograms, RunSamples};
use crate::telemetry::Timelines;
use crate::trace::Trace;
use crate::verdict::per_request_bounds;

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
    /// Whether its target's answers are judged meanwhile.
    pub(super) judged: bool,
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
    /// What was sampled beside its requests, of a shard.
    pub(super) sampled: Option<Timelines>,
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

    /// The gaps between its tokens, for the file that has them.
    pub(super) fn gaps(&self, run: u64) -> Option<RunGaps> {
        RunGaps::of(&self.run.summary.name, run, &self.sample)
    }

    /// What was sampled beside its requests, for the file that has it whole.
    pub(super) fn take_samples(&mut self, run: u64) -> Option<RunSamples> {
        Some(RunSamples {
            target: self.run.summary.name.clone(),
            run,
            sampled: self.sampled.take()?,
        })
    }
}

impl Stage<'_> {
    /// Runs the plan against a target. `judge` is shown every request beyond the warm-up as it ends, says which of them count by now (see
    /// [`Tally::add`]), and may end the run: that it was ended so is no fault.
    pub(super) fn once(
        &self,
        order: Order<'_>,
        judge: &mut dyn FnMut(&RequestOutcome) -> u64,
    ) -> Result<Measured, CampaignError> {
        // Others may wait for this run at the gate, and must not do so for ever.
        let _passage = order.gate.clone().map(Passage);
        let campaign = self.campaign;
        let mut trace = Trace::open(&campaign.traces)?;
        let layout = self.layout(order.plan, &mut trace)?;
        let from = layout.options().from();
        let plan = layout.requests(Passes::new(trace.exchanges_from(from)));
        let as_surveyed = self.plans_what_was_surveyed(&order);
        let mut options = RunOptions {
            run: order.salt,
            block: self.survey.block,
            connections: campaign.connections(self.survey),
            readers: campaign.readers(self.survey),
            idle_connections: self.survey.idle_connections(&order.plan),
            start_at: campaign.starts_at(order.round)?,
            gate: order.gate,
            ..campaign.run.clone()
        };
        options.prompts.models.clone_from(&self.survey.models);
        let measuring = MeasureOptions {
            bounds: per_request_bounds(&campaign.objectives),
            // A warm-up holds the prelude's requests already, by their number: what decides a step must be what is measured of it.
            prelude_us: match order.warm_up {
                0 => campaign.measure.prelude_us,
                _ => 0,
            },
            ..campaign.measure.clone()
        };
        let mut tally = Tally::new(
            &measuring,
            &campaign.objectives,
            order.with_recorded,
            order.warm_up,
        );
        let progress = Progress::default();
        let watched = self.audience.watch(&order.ticket, &progress);
        let watch = campaign.watch(order.target);
        let name = &order.target.name;
        let over = OnceLock::new();
        let under = Under {
            progress: &progress,
            planned: order.ticket.planned,
            before_full: self.survey.before_full,
            over: &over,
        };
        let mut hear = |outcome: RequestOutcome| {
            self.audience.hear(name, &outcome);
            if let Some(log) = &self.log {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.add(name, order.number, &outcome);
            }
            tally.add(outcome, judge);
        };
        let (summary, seen, loaded) = std::thread::scope(|scope| {
            let judging = order.judged.then(|| {
                scope.spawn(|| self.evaluate_loaded(order.target, order.calibration, &under))
            });
            let summary = run(
                order.target,
                order.calibration,
                plan,
                &options,
                &progress,
                &order.stop,
                &mut hear,
            );
            let _ = over.set(Instant::now());
            let started = summary.as_ref().map(|summary| summary.started);
            let seen = watch.stop(started.unwrap_or_else(|_| Instant::now()));
            drop(watched);
            // A panic of the evaluator's thread must not cost the replay its figures.
            let loaded = judging.and_then(|judging| judging.join().ok().flatten());
            (summary, seen, loaded)
        });
        let summary = summary?;
        self.audience.ran(name, order.number, summary.started_at);
        // A run that was ended on purpose planned what it sent.
        let on_purpose = order.stop.is_requested() && !self.stop.is_requested();
        if !on_purpose {
            tally.take_all();
        }
        let whole = matches!(summary.ended, Ended::Whole);
        let measured = tally.counted();
        let prefix_share = if whole && as_surveyed {
            self.survey.prefix_share
        } else if whole || (on_purpose && measured.end < u64::MAX) {
            let again = Passes::new(trace.exchanges_from(from));
            self.prefix_share(layout.requests(again), measured)?
        } else {
            // It ended anywhere.
            None
        };
        let mut evidence = self.evidence(&summary, order.calibration, on_purpose, prefix_share);
        evidence.remarks.extend(seen.remarks.iter().cloned());
        // What was planned is known for sure once the plan's end was reached: copies of conversations are drawn.
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
            protocol: Some(order.target.http.protocol(&order.target.url).to_owned()),
        };
        let Tally {
            mut measure,
            misses,
            recorded,
            without_twin,
            ..
        } = tally;
        let sample = measure.take_sample();
        let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
        let mut told = measure.finish(identity, evidence, Observed::of(&seen.sampled));
        told.misses = misses.finish();
        told.quality = loaded.and_then(|loaded| self.quality(order.target, &loaded));
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
            recorded: recorded.and_then(|recorded| production(recorded, without_twin, OF_A_TRACE)),
            elapsed: summary.elapsed,
            sampled: campaign.plan.shard.is_some().then_some(seen.sampled),
        })
    }
}

impl Campaign {
    /// When a round begins on the wall clock; `None` where it begins as soon as it can.
    ///
    /// # Errors
    /// When no clock tells that moment.
    pub(super) fn starts_at(&self, round: u64) -> Result<Option<SystemTime>, CampaignError> {
        let (Some(first), Some(every)) = (self.run.start_at, self.start_every) else {
            return Ok(self.run.start_at.filter(|_| round == 0));
        };
        let later = u32::try_from(round)
            .ok()
            .and_then(|round| first.checked_add(every.checked_mul(round)?));
        later.map(Some).ok_or(CampaignError::NoSuchMoment { round })
    }
}

impl Stage<'_> {
    /// Whether a run has all the requests that the survey read, and no others: a speed brings the same ones sooner.
    fn plans_what_was_surveyed(&self, order: &Order<'_>) -> bool {
        let surveyed = self.campaign.plan;
        let mut plan = order.plan;
        if plan.loop_for_us.is_none() {
            plan.speed = surveyed.speed;
        }
        order.warm_up == 0 && plan == surveyed
    }

    /// The share of the prompt tokens of some requests of a plan, by their places in it, that repeat an earlier prompt's beginning. The
    /// first thousand requests of a trace repeat less than all of them do, and half of its conversations less than the whole.
    fn prefix_share<S: Source>(
        &self,
        plan: Planner<S>,
        counted: Range<u64>,
    ) -> Result<Option<f64>, CampaignError> {
        let Some(block) = self.survey.block else {
            return Ok(None);
        };
        let mut meter = SharingMeter::new(block);
        let mut begun = false;
        for planned in plan {
            let planned = planned?;
            if planned.index >= counted.end {
                break;
            }
            if planned.index >= counted.start && !begun {
                begun = true;
                meter.begin();
            }
            meter.add(&planned.exchange.request);
        }
        Ok(meter.finish().and_then(|sharing| sharing.prefix_share))
    }
}

/// What the figures of production in a trace are.
pub(super) const OF_A_TRACE: &str = "what production's clients felt when the trace was recorded";

/// Production's own figures, what they are, and of how many requests there are none; `None` where nothing is told of any.
pub(super) fn production(
    mut measure: TargetMeasure,
    without_twin: u64,
    what: &str,
) -> Option<Recorded> {
    let sample = measure.take_sample();
    if sample.is_empty() {
        return None;
    }
    let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
    let identity = TargetIdentity {
        name: RECORDED.to_owned(),
        ..TargetIdentity::default()
    };
    let mut remarks = vec![what.to_owned()];
    if latencies.itl.count() > 0 {
        remarks.push("the gaps between tokens are kept as counts: ITL is within 1.6 %, the longest stall exact".to_owned());
    }
    if without_twin > 0 {
        remarks.push(format!(
            "{without_twin} requests are not compared with production: their clients went away before anything had come, or their end was not seen"
        ));
    }
    let evidence = crate::measure::GeneratorEvidence {
        remarks,
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

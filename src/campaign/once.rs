//! One run against one target.

use std::time::{Duration, Instant};

use super::audience::{Audience, Ticket};
use super::error::CampaignError;
use super::survey::Survey;
use super::{Campaign, Gpu};
use crate::measure::{
    MeasureOptions, PairedSample, TargetIdentity, TargetMeasure, TargetSummary, summarise_gpus,
};
use crate::replay::{
    CalibrateOptions, Calibration, PlanOptions, Planner, Progress, RunOptions, RunSummary, Stop,
    Target, calibrate, run,
};
use crate::report::{ReportError, RequestLog, TargetCharts};
use crate::telemetry::{GpuSampler, GpuTimeline};
use crate::trace::Trace;
use crate::verdict::per_request_bounds;

/// What one run came to.
pub(super) struct Measured {
    pub(super) summary: TargetSummary,
    pub(super) sample: PairedSample,
    pub(super) charts: TargetCharts,
}

impl Campaign {
    /// Runs the plan against `target`, which is the campaign's run number `position`.
    pub(super) fn once(
        &self,
        position: usize,
        target: &Target,
        survey: &Survey,
        audience: &dyn Audience,
        stop: &Stop,
        mut log: Option<&mut RequestLog>,
    ) -> Result<Measured, CampaignError> {
        let probing = CalibrateOptions {
            connect_timeout: self.run.connect_timeout,
            probe_timeout: self.run.request_timeout.min(PROBE_TIMEOUT),
            seed: self.run.seed,
        };
        let calibration = calibrate(target, &survey.plan.endpoints, &probing)?;
        let mut trace = Trace::open(&self.traces)?;
        let counted = PlanOptions {
            bytes_per_token: survey.plan.bytes_per_token(),
            ..self.plan
        };
        let plan = Planner::new(trace.exchanges_from(counted.from()), counted);
        let options = RunOptions {
            run: position as u64,
            block: survey.block,
            ..self.run.clone()
        };
        let mut measure = TargetMeasure::new(MeasureOptions {
            bounds: per_request_bounds(&self.objectives),
            ..MeasureOptions::default()
        });
        let progress = Progress::default();
        let watched = audience.watch(
            &Ticket {
                name: target.name.clone(),
                planned: survey.plan.planned,
                span: Duration::from_micros(survey.plan.span_us),
            },
            &progress,
        );
        let sampling_since = Instant::now();
        let sampler = self.sampler(sampling_since, position, audience);
        let mut broken_log: Option<ReportError> = None;
        let summary = run(
            target,
            &calibration,
            plan,
            &options,
            &progress,
            stop,
            |outcome| {
                measure.record(&outcome);
                if let Some(open) = log.as_deref_mut().filter(|_| broken_log.is_none()) {
                    broken_log = open.add(&target.name, &outcome).err();
                }
            },
        );
        let gpus = sampler.map(GpuSampler::stop).unwrap_or_default();
        drop(watched);
        let summary = summary?;
        if let Some(error) = broken_log {
            return Err(error.into());
        }
        let lead = summary.started.saturating_duration_since(sampling_since);
        let gpus = gpus.since(u64::try_from(lead.as_micros()).unwrap_or(0));
        Ok(self.measured(target, &calibration, survey, &summary, measure, &gpus))
    }

    fn measured(
        &self,
        target: &Target,
        calibration: &Calibration,
        survey: &Survey,
        summary: &RunSummary,
        mut measure: TargetMeasure,
        gpus: &GpuTimeline,
    ) -> Measured {
        let identity = TargetIdentity {
            name: target.name.clone(),
            url: target.url.to_string(),
            model: Some(calibration.model.clone()),
        };
        let sample = measure.take_sample();
        let charts = TargetCharts::of(measure.latencies(), measure.lateness());
        let evidence = self.evidence(survey, summary, calibration);
        let mut told = measure.finish(identity, evidence, summarise_gpus(gpus), |start, end| {
            gpus.used_between(start, end)
        });
        told.simulated |= calibration.simulated;
        told.requests.planned = survey.plan.planned;
        Measured {
            summary: told,
            sample,
            charts,
        }
    }

    /// The GPU sampler, where there is something to sample. That there is nothing is said once, and only if it was asked for.
    fn sampler(
        &self,
        began: Instant,
        position: usize,
        audience: &dyn Audience,
    ) -> Option<GpuSampler> {
        let library = match &self.gpu {
            Gpu::Off => return None,
            Gpu::Auto => None,
            Gpu::Library(path) => Some(path.clone()),
        };
        match GpuSampler::start(library, began, SAMPLE_EVERY) {
            Ok(sampler) => Some(sampler),
            Err(absent) => {
                if position == 0 && self.gpu != Gpu::Auto {
                    audience.say(&format!("warning: GPU memory is not sampled: {absent}"));
                }
                None
            }
        }
    }
}

const SAMPLE_EVERY: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

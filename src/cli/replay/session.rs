//! One replay from trace to verdict: the rooms called in their order.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::progress::{Display, say};
use super::survey::{Survey, seconds, skip_words};
use crate::cli::failure::{Exit, Failure};
use crate::cli::inspect;
use crate::measure::{
    GeneratorEvidence, MeasureOptions, PairedSample, TargetIdentity, TargetMeasure, TargetSummary,
    compare, summarise_gpus,
};
use crate::replay::{
    CalibrateOptions, Calibration, Ended, PlanOptions, Planner, Progress, RunError, RunOptions,
    RunSummary, Stop, Target, TargetError, calibrate, run,
};
use crate::report::{
    Charts, PlanAccount, ReportError, RequestLog, ResultDirectory, ResultDocument, TargetCharts,
    Tool,
};
use crate::telemetry::{GpuSampler, GpuTimeline};
use crate::trace::Trace;
use crate::verdict::{Objective, Status, judge, per_request_bounds};

/// What a replay needs to know.
pub(in crate::cli) struct Session {
    pub(in crate::cli) traces: Vec<PathBuf>,
    pub(in crate::cli) targets: Vec<Target>,
    pub(in crate::cli) plan: PlanOptions,
    pub(in crate::cli) run: RunOptions,
    pub(in crate::cli) objectives: Vec<Objective>,
    pub(in crate::cli) out: Option<PathBuf>,
    pub(in crate::cli) gpu: Gpu,
    /// The command line, for the report.
    pub(in crate::cli) command: Option<String>,
    /// The targets run in this process, so its processor time says nothing of the generator's.
    pub(in crate::cli) shares_process: bool,
}

/// Where GPU memory is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Gpu {
    Auto,
    Off,
    Library(PathBuf),
}

/// What one target's run came to.
struct Measured {
    summary: TargetSummary,
    sample: PairedSample,
    charts: TargetCharts,
}

impl Session {
    /// Replays against every target in turn, writes the results, and gives them back.
    pub(in crate::cli) fn run(&self) -> Result<ResultDocument, Failure> {
        let began = Instant::now();
        // To the second: nobody compares clocks closer than that.
        let started_at = jiff::Timestamp::now()
            .round(jiff::Unit::Second)?
            .to_string();
        let out = self
            .out
            .as_deref()
            .map(ResultDirectory::create)
            .transpose()
            .map_err(unwritable)?;
        let survey = self.survey()?;
        self.announce(&survey);
        let stop = Stop::default();
        let asked = stop.clone();
        // A second handler in one process (the demo) is refused, and the first one serves.
        let _ = ctrlc::set_handler(move || {
            if asked.is_requested() {
                std::process::exit(130);
            }
            say("stopping: what was measured so far is reported (once more to leave at once)");
            asked.request();
        });
        let mut log = out
            .as_ref()
            .map(ResultDirectory::request_log)
            .transpose()
            .map_err(unwritable)?;
        let mut measured: Vec<Measured> = Vec::new();
        for (i, target) in self.targets.iter().enumerate() {
            if stop.is_requested() {
                break;
            }
            measured.push(self.target(i, target, &survey, &stop, log.as_mut())?);
        }
        if let Some(log) = log {
            log.finish().map_err(unwritable)?;
        }
        let comparison = match measured.split_first() {
            Some((baseline, others)) => others
                .iter()
                .map(|other| {
                    let side = |measured: &Measured| measured.summary.name.clone();
                    compare(
                        (&side(baseline), &baseline.sample),
                        (&side(other), &other.sample),
                        MARGIN,
                        self.run.seed,
                    )
                })
                .collect(),
            None => Vec::new(),
        };
        let (targets, charts): (Vec<_>, Vec<_>) = measured
            .into_iter()
            .map(|measured| (measured.summary, measured.charts))
            .unzip();
        let verdict = judge(&self.objectives, &targets, &comparison);
        let document = ResultDocument {
            schema: ResultDocument::SCHEMA,
            tool: Tool {
                version: env!("CARGO_PKG_VERSION"),
            },
            started_at,
            elapsed_s: began.elapsed().as_secs_f64(),
            simulated: targets.iter().any(|target| target.simulated),
            command: self.command.clone(),
            trace: survey.trace,
            plan: PlanAccount {
                speed: self.plan.speed,
                rate_scale: 1.0,
                seed: self.run.seed,
                planned: survey.plan.planned,
                span_s: seconds(survey.plan.span_us),
                skipped: survey
                    .plan
                    .skipped
                    .iter()
                    .map(|(&reason, &n)| (skip_words(reason).to_owned(), n))
                    .collect(),
            },
            targets,
            comparison,
            verdict,
        };
        if let Some(out) = &out {
            out.write(&document, &Charts { targets: charts })
                .map_err(unwritable)?;
            say(&format!(
                "report: {}",
                out.path().join("report.html").display()
            ));
        }
        Ok(document)
    }

    fn target(
        &self,
        position: usize,
        target: &Target,
        survey: &Survey,
        stop: &Stop,
        mut log: Option<&mut RequestLog>,
    ) -> Result<Measured, Failure> {
        let probing = CalibrateOptions {
            connect_timeout: self.run.connect_timeout,
            probe_timeout: self.run.request_timeout.min(PROBE_TIMEOUT),
            seed: self.run.seed,
        };
        let calibration =
            calibrate(target, &survey.plan.endpoints, &probing).map_err(target_failure)?;
        let mut trace = Trace::open(&self.traces).map_err(inspect::failure)?;
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
        let span = Duration::from_micros(survey.plan.span_us);
        let display = Display::start(&target.name, survey.plan.planned, span, progress.clone());
        let sampling_since = Instant::now();
        let sampler = self.sampler(sampling_since, position);
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
        drop(display);
        let summary = summary.map_err(run_failure)?;
        if let Some(error) = broken_log {
            return Err(unwritable(error));
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

    fn evidence(
        &self,
        survey: &Survey,
        summary: &RunSummary,
        calibration: &Calibration,
    ) -> GeneratorEvidence {
        let generator = &summary.evidence;
        let mut faults = Vec::new();
        match &summary.ended {
            Ended::Whole => {}
            Ended::Stopped => faults.push(format!(
                "the run was stopped: {} of {} requests were sent, {} of them still open",
                generator_sent(summary, survey),
                survey.plan.planned,
                summary.abandoned
            )),
            Ended::TraceBroken(error) => {
                faults.push(format!("the trace could not be read to its end: {error}"));
            }
        }
        if generator.outcomes_lost > 0 {
            faults.push(format!(
                "{} outcomes were lost inside the generator",
                generator.outcomes_lost
            ));
        }
        let mut remarks = survey.remarks.clone();
        if generator.local_errors > 0 {
            remarks.push(format!(
                "{} connections failed for want of a port, a descriptor or memory on this machine",
                generator.local_errors
            ));
        }
        let uncounted = calibration
            .endpoints
            .values()
            .filter(|endpoint| !endpoint.costs.measured)
            .count();
        if uncounted > 0 {
            remarks.push(
                "the target does not tell its token counts, so one word was taken for one token"
                    .to_owned(),
            );
        }
        #[allow(clippy::cast_precision_loss, reason = "cores are few")]
        let cores = generator.cpu_cores as f64;
        GeneratorEvidence {
            heartbeat_p99: Some(Duration::from_micros(generator.heartbeat_p99_us)),
            cpu_share: (!self.shares_process && cores > 0.0)
                .then(|| generator.cpu_cores_used / cores),
            prefix_share_recorded: survey.prefix_share,
            alterations: summary
                .alterations
                .iter()
                .map(|(alteration, n)| format!("{} ({n} requests)", alteration.describe()))
                .collect(),
            faults,
            remarks,
        }
    }

    /// The GPU sampler, where there is something to sample. That there is nothing is said once, and only if it was asked for.
    fn sampler(&self, began: Instant, position: usize) -> Option<GpuSampler> {
        let library = match &self.gpu {
            Gpu::Off => return None,
            Gpu::Auto => None,
            Gpu::Library(path) => Some(path.clone()),
        };
        match GpuSampler::start(library, began, SAMPLE_EVERY) {
            Ok(sampler) => Some(sampler),
            Err(absent) => {
                if position == 0 && self.gpu != Gpu::Auto {
                    say(&format!("warning: GPU memory is not sampled: {absent}"));
                }
                None
            }
        }
    }
}

/// Prints the result for a person, or as the document itself.
#[allow(
    clippy::print_stdout,
    reason = "the result is what standard output is for"
)]
pub(in crate::cli) fn print(document: &ResultDocument, json: bool) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(document)? + "\n"
    } else {
        crate::report::summary(document)
    };
    match write!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The exit code that a result ends in.
pub(in crate::cli) fn exit(document: &ResultDocument) -> Exit {
    match document.verdict.status {
        Status::Pass => Exit::Ok,
        Status::Fail => Exit::ObjectiveMissed,
        Status::Invalid => Exit::Invalid,
    }
}

fn generator_sent(summary: &RunSummary, survey: &Survey) -> u64 {
    summary.plan.planned.min(survey.plan.planned)
}

fn target_failure(error: TargetError) -> Failure {
    let hint = error.hint();
    Failure::could_not_run(error).hint(hint)
}

fn run_failure(error: RunError) -> Failure {
    match error {
        RunError::Target(error) => target_failure(error),
        other => Failure::could_not_run(other),
    }
}

fn unwritable(error: ReportError) -> Failure {
    Failure::could_not_run(error).hint("give --out a directory that can be made and written to")
}

/// A ratio of latencies within this is no difference.
const MARGIN: f64 = 0.05;
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

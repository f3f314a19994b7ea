//! What the runs of a campaign share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::audience::Audience;
use super::error::CampaignError;
use super::once::Measured;
use super::survey::{Survey, seconds};
use super::{Baseline, Campaign};
use crate::measure::{
    CompareOptions, Comparison, Evaluation, MeasuredRun, RunSample, Scaling, Side, compare,
    compare_with_recorded, pool,
};
use crate::replay::{
    CalibrateOptions, Calibration, Passes, Plan, PlanOptions, Problem, Stop, Target, TargetError,
    calibrate,
};
use crate::report::{
    Charts, Difference, EarlierResult, ReportError, RequestLog, RunGaps, RunHistograms, RunSamples,
    ScheduleAccount, TargetCharts,
};
use crate::trace::Trace;
use crate::verdict::{Objective, ObjectiveResult, judge_margin};

/// What the runs of a campaign share.
pub(super) struct Stage<'a> {
    pub(super) campaign: &'a Campaign,
    pub(super) survey: &'a Survey,
    pub(super) audience: &'a dyn Audience,
    pub(super) stop: &'a Stop,
    pub(super) log: Option<Mutex<RequestLog>>,
    salts: AtomicU64,
    /// That the trace is too short for a step was said.
    pub(super) told_looped: AtomicBool,
    /// What the trace was read for last, beyond the survey.
    layout: Mutex<Option<Plan>>,
    /// What was judged of targets while they were idle.
    judged_idle: Mutex<BTreeMap<String, Evaluation>>,
}

/// What the runs came to: a target for each of the campaign's that was reached, and what follows from them.
#[derive(Default)]
pub(super) struct Played {
    pub(super) targets: Vec<MeasuredRun>,
    pub(super) comparison: Vec<Comparison>,
    /// Every latency of every run, whole.
    pub(super) histograms: Vec<RunHistograms>,
    /// Gaps between the tokens of every run, as many as are compared.
    pub(super) gaps: Vec<RunGaps>,
    /// What was sampled beside the requests of each run of a shard, whole.
    pub(super) samples: Vec<RunSamples>,
    /// In which order the runs were, where there were several.
    pub(super) schedule: Option<ScheduleAccount>,
    /// What is judged beside the campaign's objectives on each target: the limit that a search found, the steps of a sweep.
    pub(super) judged: Vec<ObjectiveResult>,
    /// What makes the whole invalid beside an unfaithful target: a step of a sweep that was not.
    pub(super) invalid: Vec<String>,
}

impl Played {
    /// What the report draws of it.
    pub(super) fn charts(&self) -> Charts {
        Charts {
            targets: self.targets.iter().map(TargetCharts::of).collect(),
        }
    }
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        campaign: &'a Campaign,
        survey: &'a Survey,
        audience: &'a dyn Audience,
        stop: &'a Stop,
        log: Option<RequestLog>,
    ) -> Self {
        Self {
            campaign,
            survey,
            audience,
            stop,
            log: log.map(Mutex::new),
            salts: AtomicU64::new(0),
            told_looped: AtomicBool::new(false),
            layout: Mutex::default(),
            judged_idle: Mutex::default(),
        }
    }

    /// What was judged of targets while they were idle, by name.
    pub(super) fn idle(&self) -> MutexGuard<'_, BTreeMap<String, Evaluation>> {
        self.judged_idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes the log of requests.
    pub(super) fn close(self) -> Result<(), ReportError> {
        let log = self.log.map(Mutex::into_inner);
        log.map_or(Ok(()), |log| {
            log.unwrap_or_else(PoisonError::into_inner).finish()
        })
    }

    /// A number that no other run of the campaign has.
    pub(super) fn salt(&self) -> u64 {
        self.salts.fetch_add(1, Ordering::Relaxed)
    }

    /// What the requests of a plan are made by. The trace is read for it only where it was not before: a campaign takes one slice to many loads.
    pub(super) fn layout(
        &self,
        plan: PlanOptions,
        trace: &mut Trace,
    ) -> Result<Plan, CampaignError> {
        let options = PlanOptions {
            bytes_per_token: self.survey.plan.bytes_per_token(),
            ..self.campaign.resolved(plan)
        };
        if let Some(known) = self.survey.layout.at(options) {
            return Ok(known);
        }
        let mut read = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.as_ref().and_then(|read| read.at(options)) {
            return Ok(known);
        }
        let layout = Plan::survey(options, Passes::new(trace.exchanges_from(options.from())))?;
        *read = Some(layout.clone());
        Ok(layout)
    }

    /// Asks each target how it counts, once for all of its runs; `None` where the replay was stopped meanwhile.
    pub(super) fn calibrate(&self, target: &Target) -> Result<Option<Calibration>, CampaignError> {
        let run = &self.campaign.run;
        let probing = CalibrateOptions {
            connect_timeout: run.connect_timeout,
            ready_timeout: run.ready_timeout,
            probe_timeout: run.request_timeout.min(PROBE_TIMEOUT),
            seed: run.words_seed,
            prompts: run.prompts.clone(),
        };
        let tell = |error: &TargetError, most: Duration| {
            self.audience.say(&format!(
                "{error}: waiting up to {:.0} s for it to be ready",
                most.as_secs_f64()
            ));
        };
        let needs = &self.survey.plan.endpoints;
        match calibrate(target, needs, &probing, self.stop, &tell) {
            Err(error) if matches!(error.problem, Problem::Stopped) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// The earlier result that the targets are compared with.
    fn earlier(&self) -> Option<&EarlierResult> {
        match &self.campaign.baseline {
            Baseline::Earlier(earlier) => Some(earlier),
            Baseline::First | Baseline::Recorded => None,
        }
    }

    /// Joins the runs of each target, and compares each target with the first, with what production felt and with an earlier result.
    pub(super) fn join(&self, runs: BTreeMap<usize, Vec<Measured>>) -> Played {
        let options = CompareOptions {
            margin: self.campaign.margin,
            seed: self.campaign.run.seed,
            ..CompareOptions::default()
        };
        let plan = &self.campaign.plan;
        let scaling = Scaling {
            speed: plan.speed,
            rate_scale: plan.rate_scale,
            loop_for_s: plan.loop_for_us.map(seconds),
            shape: plan.shape,
        };
        let mut played = join(runs.into_values(), &options, self.earlier(), scaling);
        if let Some(earlier) = self.earlier() {
            let name = earlier.name();
            let difference = self.campaign.beside(earlier, self.survey);
            if let Some(Difference::Connections(remark)) = difference {
                let compared = played.comparison.iter_mut();
                compared
                    .filter(|compared| compared.baseline == name)
                    .for_each(|compared| compared.remarks.push(remark.clone()));
            }
            if !self.campaign.objectives.iter().any(Objective::is_relative) {
                let compared = played.comparison.iter();
                let against = compared.filter(|compared| compared.baseline == name);
                played.judged.extend(against.map(judge_margin));
            }
            let invalid = earlier.invalid.as_ref();
            let told = invalid.map(|why| format!("{name}: {why}"));
            played.invalid.extend(told);
        }
        played
    }
}

/// Joins the runs of each target, and compares each target with the first, with what production felt (`scaling` is what the plan made of its
/// load) and with `earlier`.
pub(super) fn join(
    targets: impl Iterator<Item = Vec<Measured>>,
    options: &CompareOptions,
    earlier: Option<&EarlierResult>,
    scaling: Scaling,
) -> Played {
    let mut played = Played::default();
    let mut samples: Vec<(String, Vec<RunSample>)> = Vec::new();
    let mut recorded = None;
    for measured in targets {
        let (mut runs, mut sampled) = (Vec::new(), Vec::new());
        for (mut measured, number) in measured.into_iter().zip(0..) {
            played.histograms.push(measured.histograms(number));
            played.samples.extend(measured.take_samples(number));
            played.gaps.extend(measured.gaps(number));
            runs.push(measured.run);
            sampled.push(measured.sample);
            recorded = recorded.or(measured.recorded);
        }
        if let Some(pooled) = pool(runs) {
            samples.push((pooled.summary.name.clone(), sampled));
            played.targets.push(pooled);
        }
    }
    if let Some((baseline, others)) = samples.split_first() {
        let others = others.iter();
        played.comparison = others
            .map(|other| compare(side(baseline), side(other), options))
            .collect();
    }
    if let Some(earlier) = earlier {
        let name = earlier.name();
        let before = Side {
            name: &name,
            runs: &earlier.runs,
        };
        let compared = samples.iter();
        let compared = compared.map(|target| compare(before, side(target), options));
        played.comparison.extend(compared);
    }
    if let Some(recorded) = recorded {
        for target in &samples {
            let twins = vec![recorded.sample.clone(); target.1.len()];
            let compared = compare_with_recorded(&twins, side(target), scaling, options);
            played.comparison.push(compared);
        }
        let name = &recorded.run.summary.name;
        played.histograms.push(RunHistograms {
            target: name.clone(),
            run: 0,
            latencies: recorded.run.latencies.clone(),
        });
        let gaps = RunGaps::of(name, 0, &recorded.sample);
        played.gaps.extend(gaps);
        played.targets.push(recorded.run);
    }
    played
}

fn side((name, runs): &(String, Vec<RunSample>)) -> Side<'_> {
    Side { name, runs }
}

const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

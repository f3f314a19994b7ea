//! What the runs of a campaign share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Campaign;
use super::audience::Audience;
use super::error::CampaignError;
use super::once::Measured;
use super::survey::Survey;
use crate::measure::{Comparison, MeasuredRun, compare, pool};
use crate::replay::{CalibrateOptions, Calibration, Stop, Target, calibrate};
use crate::report::RequestLog;
use crate::verdict::ObjectiveResult;

/// What the runs of a campaign share.
pub(super) struct Stage<'a> {
    pub(super) campaign: &'a Campaign,
    pub(super) survey: &'a Survey,
    pub(super) audience: &'a dyn Audience,
    pub(super) stop: &'a Stop,
    pub(super) log: Option<Mutex<RequestLog>>,
    salts: AtomicU64,
}

/// What the runs came to: a target for each of the campaign's that was reached, and what follows from them.
#[derive(Default)]
pub(super) struct Played {
    pub(super) targets: Vec<MeasuredRun>,
    pub(super) comparison: Vec<Comparison>,
    /// What is judged beside the campaign's objectives on each target: the limit that a search found, the steps of a sweep.
    pub(super) judged: Vec<ObjectiveResult>,
    /// What makes the whole invalid beside an unfaithful target: a step of a sweep that was not.
    pub(super) invalid: Vec<String>,
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
        }
    }

    /// Completes the log of requests.
    pub(super) fn close(self) -> Result<(), CampaignError> {
        if let Some(log) = self.log {
            log.into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .finish()?;
        }
        Ok(())
    }

    /// A number that no other run of the campaign has.
    pub(super) fn salt(&self) -> u64 {
        self.salts.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks each target how it counts, once for all of its runs.
    pub(super) fn calibrate(&self, target: &Target) -> Result<Calibration, CampaignError> {
        let run = &self.campaign.run;
        let probing = CalibrateOptions {
            connect_timeout: run.connect_timeout,
            probe_timeout: run.request_timeout.min(PROBE_TIMEOUT),
            seed: run.seed,
        };
        Ok(calibrate(target, &self.survey.plan.endpoints, &probing)?)
    }

    /// Joins the runs of each target, and compares each target with the first.
    pub(super) fn join(&self, runs: BTreeMap<usize, Vec<Measured>>) -> Played {
        let mut played = Played::default();
        let mut samples = Vec::new();
        for measured in runs.into_values() {
            let (runs, mut sampled): (Vec<_>, Vec<_>) = measured
                .into_iter()
                .map(|measured| (measured.run, measured.sample))
                .unzip();
            if let Some(pooled) = pool(runs) {
                samples.push((pooled.summary.name.clone(), sampled.swap_remove(0)));
                played.targets.push(pooled);
            }
        }
        if let Some(((name, sample), others)) = samples.split_first() {
            let seed = self.campaign.run.seed;
            played.comparison = others
                .iter()
                .map(|(other, values)| compare((name, sample), (other, values), MARGIN, seed))
                .collect();
        }
        played
    }
}

/// A ratio of latencies within this is no difference.
const MARGIN: f64 = 0.05;
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

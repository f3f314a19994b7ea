//! The evaluator of answer quality: before a target's first run, and while it runs.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::stage::Stage;
use crate::measure::{Evaluation, QualitySummary, canary, quality};
use crate::probe::{Phase, Probe};
use crate::replay::{Calibration, Progress, Target};

/// Who judges the answers, and how long it may take for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluator {
    /// Who.
    pub probe: Probe,
    /// After this long it is ended.
    pub patience: Duration,
}

/// What was judged while a run went on.
pub(super) struct Loaded {
    evaluation: Evaluation,
    overlap: f64,
}

/// How far a run is, for whoever waits for its full load.
pub(super) struct Under<'a> {
    pub(super) progress: &'a Progress,
    /// Requests of the plan.
    pub(super) planned: u64,
    /// Of them, those before it is at full load, as it was surveyed.
    pub(super) before_full: u64,
    /// When the run was over.
    pub(super) over: &'a OnceLock<Instant>,
}

impl Stage<'_> {
    /// Has a target judged while nothing is sent to it; nothing where there is no evaluator.
    pub(super) fn evaluate_idle(&self, target: &Target, calibration: &Calibration) {
        let Some(evaluator) = &self.campaign.evaluator else {
            return;
        };
        self.audience.say(&format!(
            "{}: {} judges its answers while it is idle",
            target.name,
            evaluator.probe.name()
        ));
        let evaluation = self.evaluate(evaluator, target, calibration, Phase::Idle);
        self.idle().insert(target.name.clone(), evaluation);
    }

    /// Has a target judged from the moment on at which its run is at full load. Blocks until that is done, or cannot be any more.
    pub(super) fn evaluate_loaded(
        &self,
        target: &Target,
        calibration: &Calibration,
        under: &Under<'_>,
    ) -> Option<Loaded> {
        let evaluator = self.campaign.evaluator.as_ref()?;
        // A tenth in any case: an engine that has just been sent its first requests is not full of them.
        let enough = under.before_full.max(under.planned / 10);
        while under.progress.sent() <= enough {
            if under.over.get().is_some() || self.stop.is_requested() {
                return Some(Loaded {
                    evaluation: Evaluation {
                        problem: Some("the replay was over before it was at full load".to_owned()),
                        ..Evaluation::default()
                    },
                    overlap: 0.0,
                });
            }
            std::thread::sleep(LOOK);
        }
        let began = Instant::now();
        let evaluation = self.evaluate(evaluator, target, calibration, Phase::Loaded);
        let ended = Instant::now();
        let under_load = under
            .over
            .get()
            .map_or(ended, |&over| over.min(ended))
            .saturating_duration_since(began);
        let took = ended - began;
        Some(Loaded {
            evaluation,
            overlap: under_load.as_secs_f64() / took.as_secs_f64().max(f64::MIN_POSITIVE),
        })
    }

    /// What was judged of a target, idle and under load.
    pub(super) fn quality(&self, target: &Target, loaded: &Loaded) -> Option<QualitySummary> {
        let evaluator = self.campaign.evaluator.as_ref()?;
        let judged_idle = self.idle();
        let idle = judged_idle.get(&target.name);
        let first = self.campaign.targets.first();
        let first = first.filter(|first| first.name != target.name);
        let first = first.and_then(|first| judged_idle.get(&first.name));
        let loaded_one = Some(&loaded.evaluation);
        let name = evaluator.probe.name();
        Some(QualitySummary {
            canary: canary(idle, loaded_one, first),
            ..quality(name, idle, loaded_one, Some(loaded.overlap))
        })
    }

    fn evaluate(
        &self,
        evaluator: &Evaluator,
        target: &Target,
        calibration: &Calibration,
        phase: Phase,
    ) -> Evaluation {
        let probe = &evaluator.probe;
        probe.evaluate(target, calibration, phase, evaluator.patience, self.stop)
    }
}

/// How often it is asked whether the load is full.
const LOOK: Duration = Duration::from_millis(20);

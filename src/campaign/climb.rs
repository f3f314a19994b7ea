//! What the steps of one target come to.

use super::axis::Axis;
use super::error::CampaignError;
use super::find_max::FindMax;
use super::rung::Climbed;
use super::search::Search;
use super::stage::Played;
use crate::measure::{Limit, MeasuredRun, Step, StepVerdict, knee};
use crate::report::RunHistograms;
use crate::verdict::{Objective, ObjectiveResult, ObjectiveStatus};

/// One target's steps, and the runs that may come to stand for it: that of the highest step that met every objective does, else the first that
/// was measured faithfully, else the first.
pub(super) struct Climb {
    axis: Axis,
    target: String,
    steps: Vec<Step>,
    /// That of the first step, or of the first faithful one; and those of the steps that met every objective; each with its number.
    runs: Vec<(u64, MeasuredRun)>,
    judged: Vec<ObjectiveResult>,
    invalid: Vec<String>,
    limit: Option<Limit>,
    /// Why a step could not be taken.
    ran_out: Option<String>,
}

impl Climb {
    pub(super) fn new(axis: Axis, target: &str) -> Self {
        Self {
            axis,
            target: target.to_owned(),
            steps: Vec::new(),
            runs: Vec::new(),
            judged: Vec::new(),
            invalid: Vec::new(),
            limit: None,
            ran_out: None,
        }
    }

    /// Steps so far.
    pub(super) fn taken(&self) -> u64 {
        self.steps.len() as u64
    }

    pub(super) fn keep(&mut self, climbed: Climbed) {
        let faithful = |step: &Step| step.verdict != StepVerdict::Invalid;
        // A hiccup of this machine at the first load says nothing of the target, where the same was measured after it.
        if faithful(&climbed.step) && !self.steps.iter().any(faithful) {
            self.runs.clear();
        }
        // Only these can come to stand for the target.
        if self.runs.is_empty() || met(&climbed.step) {
            self.runs.push((self.taken(), climbed.run));
        }
        self.steps.push(climbed.step);
    }

    /// Notes that the next step could not be taken, since the trace is too short for it.
    pub(super) fn ran_out(&mut self, why: &CampaignError) {
        let hint = why
            .hint()
            .map_or_else(String::new, |hint| format!(" ({hint})"));
        self.ran_out = Some(format!("{why}{hint}"));
    }

    /// The end of a sweep: each step is a thing that was judged, where there were objectives to judge it by.
    pub(super) fn settle_sweep(&mut self, objectives: &[Objective]) {
        for step in &self.steps {
            let status = match step.verdict {
                StepVerdict::Pass => ObjectiveStatus::Pass,
                StepVerdict::Measured => continue,
                StepVerdict::Invalid => {
                    let load = self.axis.words(self.axis.of_step(step));
                    self.invalid
                        .push(format!("{} at {load}: {}", self.target, step.reason));
                    continue;
                }
                _ if objectives.is_empty() => continue,
                StepVerdict::Fail | StepVerdict::Saturated => ObjectiveStatus::Fail,
                StepVerdict::Undecided => ObjectiveStatus::Inconclusive,
            };
            let load = self.axis.words(self.axis.of_step(step));
            self.judged.push(ObjectiveResult {
                expr: format!("every objective at {load}"),
                target: self.target.clone(),
                value: None,
                status,
                reason: step.reason.clone(),
            });
        }
    }

    /// The end of a search.
    pub(super) fn settle_search(&mut self, find: &FindMax, search: &Search, stopped: bool) {
        let words = |load| self.axis.words(load);
        let rate = |load: f64| {
            let mut at = self.steps.iter();
            at.find(|step| self.axis.of_step(step) == load)
                .map(|step| step.offered_per_s)
        };
        let value = search.value();
        let told = |load: f64| {
            let rate = rate(load).unwrap_or(0.0);
            format!("{} ({rate:.1} requests/s)", words(load))
        };
        let reason = match (value, search.above()) {
            (None, _) if stopped => {
                "stopped before any load was shown to meet the objectives".to_owned()
            }
            (None, _) => {
                let mut steps = self.steps.iter();
                let faithful = steps.find(|step| step.verdict != StepVerdict::Invalid);
                let why = faithful.or(self.steps.first());
                let why = why.map_or("", |step| step.reason.as_str());
                format!("not even the first load was shown to meet the objectives: {why}")
            }
            (Some(met), _) if stopped => {
                format!("stopped: {} met every objective so far", told(met))
            }
            (Some(met), _) if self.ran_out.is_some() => {
                let why = self.ran_out.as_deref().unwrap_or_default();
                format!("at least {}: {why}", told(met))
            }
            (Some(met), Some(_)) if search.exhausted() => format!(
                "at least {}: this machine could not send more to tell how much more",
                told(met)
            ),
            (Some(met), Some(above)) => {
                let again = match search.confirmed() {
                    true => ", twice",
                    false => ", though not reliably",
                };
                let above = words(above);
                format!(
                    "{} met every objective{again}; {above} was not shown to",
                    told(met)
                )
            }
            (Some(met), None) if search.exhausted() => format!(
                "at least {}: there or beyond it the generator was the bottleneck",
                told(met)
            ),
            (Some(met), None) => format!("at least {}: the search went no further", told(met)),
        };
        let limit = Limit {
            by: self.axis.name(),
            value,
            requests_per_s: value.and_then(rate),
            above: search.above(),
            confirmed: search.confirmed(),
            precision: find.precision,
            reason: reason.clone(),
        };
        self.judged.push(ObjectiveResult {
            expr: format!("find-max {}", self.axis.name()),
            target: self.target.clone(),
            value,
            status: match value {
                Some(_) => ObjectiveStatus::Pass,
                None => ObjectiveStatus::Fail,
            },
            reason,
        });
        self.limit = Some(limit);
    }

    pub(super) fn into_played(mut self, played: &mut Played) {
        let of = |number: u64| {
            let steps = self.steps.iter().zip(0..);
            let step = { steps }
                .find(|(_, other)| *other == number)
                .map(|(step, _)| step);
            step.filter(|step| met(step))
                .map(|step| self.axis.of_step(step))
        };
        // Of a search, the answer's last run; of a sweep, the highest step that met the objectives.
        let answer = match &self.limit {
            Some(limit) => limit.value,
            None => self
                .runs
                .iter()
                .filter_map(|(number, _)| of(*number))
                .reduce(f64::max),
        };
        let shown = self
            .runs
            .iter()
            .rposition(|(number, _)| of(*number) == answer && answer.is_some());
        if self.runs.is_empty() {
            return;
        }
        let (number, mut run) = self.runs.swap_remove(shown.unwrap_or(0));
        played.histograms.push(RunHistograms {
            target: self.target,
            run: number,
            latencies: run.latencies.clone(),
        });
        // A search takes few steps below the limit and many at it: the limit is its answer.
        run.summary.knee = match &self.limit {
            Some(_) => None,
            None => knee(&self.steps),
        };
        run.summary.steps = self.steps;
        run.summary.limit = self.limit;
        played.judged.extend(self.judged);
        played.invalid.extend(self.invalid);
        played.targets.push(run);
    }
}

fn met(step: &Step) -> bool {
    matches!(step.verdict, StepVerdict::Pass | StepVerdict::Measured)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::search::{Next, Told};
    use super::*;
    use crate::measure::{
        Distribution, GeneratorEvidence, Latencies, MeasureOptions, Observed, Requests,
        TargetIdentity, TargetMeasure, Throughput,
    };

    fn climbed(speed: f64, verdict: StepVerdict, reason: &str) -> Climbed {
        let mut measure = TargetMeasure::new(MeasureOptions::default());
        measure.record(&crate::replay::RequestOutcome::default());
        let evidence = GeneratorEvidence {
            faults: (verdict == StepVerdict::Invalid)
                .then(|| reason.to_owned())
                .into_iter()
                .collect(),
            ..GeneratorEvidence::default()
        };
        let identity = TargetIdentity::default();
        Climbed {
            step: Step {
                speed,
                rate_scale: 1.0,
                offered_per_s: 10.0 * speed,
                verdict,
                reason: reason.to_owned(),
                remarks: Vec::new(),
                looped: false,
                confirmation: false,
                elapsed_s: 1.0,
                warm_up: 0,
                requests: Requests::default(),
                latency: BTreeMap::new(),
                throughput: Throughput::default(),
                goodput: None,
                misses: Vec::new(),
            },
            run: MeasuredRun {
                summary: measure.finish(identity, evidence, Observed::default()),
                latencies: Latencies::default(),
                lateness: Distribution::default(),
            },
        }
    }

    const FIND: FindMax = FindMax {
        by: Axis::Speed,
        precision: 0.05,
        most: 100.0,
        step: Duration::ZERO,
    };

    /// A search whose first try was invalid, and what came of it once more.
    fn after_a_hiccup(again: Climbed, told: Told) -> Played {
        let mut climb = Climb::new(Axis::Speed, "a");
        climb.keep(climbed(1.0, StepVerdict::Invalid, "sends were late"));
        climb.keep(again);
        let mut search = Search::new(1.0, 100.0, 0.05);
        search.tell(Next::Try(1.0), told);
        climb.settle_search(&FIND, &search, false);
        let mut played = Played::default();
        climb.into_played(&mut played);
        played
    }

    #[test]
    fn a_hiccup_at_the_first_load_does_not_stand_for_the_target() {
        let again = climbed(1.0, StepVerdict::Fail, "too slow");
        let played = after_a_hiccup(again, Told::NotMet);
        let target = &played.targets[0].summary;
        assert!(target.fidelity.valid, "{:?}", target.fidelity.reasons);
        assert_eq!(target.steps.len(), 2);
        assert_eq!(played.histograms[0].run, 1);
        let judged = &played.judged[0];
        assert_eq!(judged.status, ObjectiveStatus::Fail);
        assert!(judged.reason.ends_with("too slow"), "{}", judged.reason);
    }

    #[test]
    fn what_is_invalid_twice_is_told() {
        let again = climbed(1.0, StepVerdict::Invalid, "and again");
        let played = after_a_hiccup(again, Told::Exhausted);
        assert!(!played.targets[0].summary.fidelity.valid);
        assert!(played.judged[0].reason.ends_with("sends were late"));
    }

    #[test]
    fn a_sweep_without_objectives_misses_none() {
        let settled = |objectives: &[&str]| {
            let objectives: Vec<Objective> = objectives
                .iter()
                .map(|expr| expr.parse().unwrap())
                .collect();
            let mut climb = Climb::new(Axis::Speed, "a");
            climb.keep(climbed(
                1.0,
                StepVerdict::Measured,
                "no objective was given",
            ));
            climb.keep(climbed(8.0, StepVerdict::Saturated, "the queue only grew"));
            climb.settle_sweep(&objectives);
            let mut played = Played::default();
            climb.into_played(&mut played);
            played
        };
        let measured = settled(&[]);
        assert!(measured.judged.is_empty(), "{:?}", measured.judged);
        assert_eq!(measured.targets[0].summary.steps.len(), 2);
        let judged = settled(&["e2e.p99<1s"]).judged;
        assert_eq!(judged[0].status, ObjectiveStatus::Fail);
        assert_eq!(judged[0].expr, "every objective at 8× speed");
    }
}

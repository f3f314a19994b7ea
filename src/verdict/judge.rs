use serde::Serialize;

use super::figure::{Figure, figure, grown, held_against};
use super::objective::{Bound, Metric, Objective, Statistic, Unit, unit};
use super::relative::relative;
use crate::measure::{Comparison, PerRequestBounds, RECORDED, TargetSummary};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every objective was met.
    Pass,
    /// An objective was missed.
    Fail,
    /// The figures cannot be believed.
    Invalid,
}

/// The end of a result: pass, fail or invalid, objective by objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The whole.
    pub status: Status,
    /// Why it is invalid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Each objective for each target.
    pub objectives: Vec<ObjectiveResult>,
}

/// One objective for one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectiveResult {
    /// As the user wrote it.
    pub expr: String,
    /// The target it was judged on.
    pub target: String,
    /// The figure, in the metric's base unit (milliseconds, bytes, a share, a count); for a relative objective the change
    /// against the first target, as a share. Absent where there is no finite figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What became of it.
    pub status: ObjectiveStatus,
    /// Why, in a sentence.
    pub reason: String,
}

/// What became of one objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveStatus {
    /// Met.
    Pass,
    /// Missed.
    Fail,
    /// Relative, and the interval holds the tolerance: this run cannot tell. Does not fail the run.
    Inconclusive,
    /// There is no figure to judge: fails the run, since a gate that did not look must not open.
    NotMeasured,
}

/// What one request must meet for goodput: the bounds of absolute objectives on TTFT, TPOT and E2E; the loosest
/// of each, since a bound on the median is not meant for every request.
pub fn per_request_bounds(objectives: &[Objective]) -> PerRequestBounds {
    let loosest = |metric: Metric| {
        objectives
            .iter()
            .filter(|objective| objective.metric == metric && objective.operator.is_upper())
            .filter_map(|objective| match objective.bound {
                Bound::Absolute(bound) => Some(bound),
                Bound::Relative(_) => None,
            })
            .reduce(f64::max)
    };
    PerRequestBounds {
        ttft_ms: loosest(Metric::Ttft),
        tpot_ms: loosest(Metric::Tpot),
        e2e_ms: loosest(Metric::E2e),
    }
}

/// The first objective on goodput, where no absolute one says what a single request must meet for it: it could not be measured.
pub fn boundless_goodput(objectives: &[Objective]) -> Option<&Objective> {
    let boundless = per_request_bounds(objectives) == PerRequestBounds::default();
    let mut goodput = objectives
        .iter()
        .filter(|it| it.metric == Metric::Goodput && boundless);
    goodput.next()
}

/// Judges every objective on every target. Relative ones are judged against the first target.
///
/// The run is invalid when any target's replay was not faithful: neither a pass nor a miss would mean anything.
pub fn judge(
    objectives: &[Objective],
    targets: &[TargetSummary],
    comparisons: &[Comparison],
) -> Verdict {
    let baseline = targets.first().map_or("", |first| first.name.as_str());
    judge_against(baseline, objectives, targets, comparisons)
}

/// The same with another baseline of relative objectives: the target of that name (production's own figures are [`RECORDED`]), or whatever a
/// comparison names so.
pub fn judge_against(
    baseline: &str,
    objectives: &[Objective],
    targets: &[TargetSummary],
    comparisons: &[Comparison],
) -> Verdict {
    let reference = targets.iter().position(|target| target.name == baseline);
    let mut results = Vec::new();
    for objective in objectives {
        for (position, target) in targets.iter().enumerate() {
            // Production has been; nothing is asked of it.
            if target.name == RECORDED {
                continue;
            }
            match objective.bound {
                Bound::Absolute(bound) => results.push(absolute(objective, bound, target)),
                Bound::Relative(_) if Some(position) == reference && targets.len() > 1 => {}
                Bound::Relative(tolerance) => {
                    results.push(relative(
                        objective,
                        tolerance,
                        target,
                        baseline,
                        reference.and_then(|position| targets.get(position)),
                        comparisons,
                    ));
                }
            }
        }
    }
    let reasons: Vec<String> = targets
        .iter()
        .filter(|target| !target.fidelity.valid)
        .flat_map(|target| {
            target
                .fidelity
                .reasons
                .iter()
                .map(move |reason| format!("{}: {reason}", target.name))
        })
        .collect();
    let missed = results.iter().any(|result| {
        matches!(
            result.status,
            ObjectiveStatus::Fail | ObjectiveStatus::NotMeasured
        )
    });
    let status = if targets.iter().any(|target| !target.fidelity.valid) {
        Status::Invalid
    } else if missed {
        Status::Fail
    } else {
        Status::Pass
    };
    Verdict {
        status,
        reasons,
        objectives: results,
    }
}

fn absolute(objective: &Objective, bound: f64, target: &TargetSummary) -> ObjectiveResult {
    let unit = unit(objective.metric, objective.statistic);
    let status = |met: bool| match met {
        true => ObjectiveStatus::Pass,
        false => ObjectiveStatus::Fail,
    };
    let (value, status, reason) = match figure(objective, target) {
        Figure::Value(value) => growth(objective, bound, target).unwrap_or_else(|| {
            let met = objective.operator.holds(value, bound);
            (Some(value), status(met), held_against(value, bound, unit))
        }),
        Figure::Unbounded(why) => (None, status(!objective.operator.is_upper()), why),
        Figure::Absent(why) => (None, ObjectiveStatus::NotMeasured, why),
    };
    ObjectiveResult {
        expr: objective.expr.clone(),
        target: target.name.clone(),
        value,
        status,
        reason,
    }
}

/// The growth of the GPU that stands worst against a bound: one that leaks a little counts before one that grew more, perhaps by chance. `None`
/// where the objective is about something else.
fn growth(
    objective: &Objective,
    bound: f64,
    target: &TargetSummary,
) -> Option<(Option<f64>, ObjectiveStatus, String)> {
    if objective.statistic != Statistic::Growth {
        return None;
    }
    let holds = |per_s: f64| objective.operator.holds(per_s, bound);
    let several = target.gpu.len() > 1;
    let judged = grown(target).map(|grown| {
        let (low, high) = grown
            .between
            .as_ref()
            .map_or((grown.per_s, grown.per_s), |it| it.0);
        let (severity, status) = match (holds(low), holds(high)) {
            (true, true) => (0, ObjectiveStatus::Pass),
            (false, false) => (2, ObjectiveStatus::Fail),
            _ => (1, ObjectiveStatus::Inconclusive),
        };
        let why = grown.between.map_or_else(
            || held_against(grown.per_s, bound, Unit::BytesPerSecond),
            |(_, why)| why,
        );
        let reason = match several {
            true => format!("GPU {}: {why}", grown.gpu.index),
            false => why,
        };
        (severity, grown.per_s, status, reason)
    });
    let worst = judged.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    worst.map(|(_, per_s, status, reason)| (Some(per_s), status, reason))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::measure::{
        GeneratorEvidence, GpuSummary, MeasureOptions, MemoryGrowth, Observed, TargetIdentity,
        TargetMeasure,
    };
    use crate::replay::{FailureKind, RequestOutcome, SendResult};

    pub(in crate::verdict) fn outcome(index: u64, took_us: u64, failed: bool) -> RequestOutcome {
        RequestOutcome {
            index,
            intended_us: index * 1000,
            sent_us: Some(index * 1000),
            headers_us: None,
            first_token_us: Some(index * 1000 + took_us / 2),
            first_answer_us: None,
            last_token_us: Some(index * 1000 + took_us),
            end_us: index * 1000 + took_us,
            stream: true,
            result: if failed {
                SendResult::Failed(FailureKind::Reset)
            } else {
                SendResult::Ok
            },
            status: Some(200),
            recorded_prompt_tokens: Some(10),
            prompt_tokens: Some(10),
            recorded_output_tokens: Some(5),
            output_tokens: Some(5),
            planned_shared_tokens: 0,
            cached_tokens: None,
            token_events: 5,
            gaps_us: vec![1000; 4],
            ..RequestOutcome::default()
        }
    }

    pub(in crate::verdict) fn run(
        name: &str,
        took_us: u64,
        failures: u64,
    ) -> (TargetSummary, TargetMeasure) {
        let measure = || {
            let mut measure = TargetMeasure::new(MeasureOptions::default());
            for i in 0..1000 {
                measure.record(&outcome(i, took_us + i % 50 * 100, i < failures));
            }
            measure
        };
        let identity = TargetIdentity {
            name: name.to_owned(),
            ..TargetIdentity::default()
        };
        (
            measure().finish(identity, GeneratorEvidence::default(), Observed::default()),
            measure(),
        )
    }

    pub(in crate::verdict) fn objectives(exprs: &[&str]) -> Vec<Objective> {
        exprs.iter().map(|expr| expr.parse().unwrap()).collect()
    }

    #[test]
    fn absolute_objectives_are_judged_on_every_target() {
        let targets = [run("a", 100_000, 0).0, run("b", 500_000, 0).0];
        let verdict = judge(
            &objectives(&["e2e.p99<200ms", "errors.rate<1%"]),
            &targets,
            &[],
        );
        let statuses: Vec<_> = verdict
            .objectives
            .iter()
            .map(|result| result.status)
            .collect();
        use ObjectiveStatus::{Fail, Pass};
        assert_eq!(statuses, [Pass, Fail, Pass, Pass]);
        assert_eq!(verdict.status, Status::Fail);
        assert!(
            verdict.objectives[1].reason.contains("against 200 ms"),
            "{verdict:#?}"
        );
    }

    #[test]
    fn a_quantile_among_the_failures_misses_its_bound() {
        let verdict = judge(&objectives(&["ttft.p99<10s"]), &[run("a", 1000, 50).0], &[]);
        assert_eq!(verdict.status, Status::Fail);
        assert!(
            verdict.objectives[0]
                .reason
                .contains("50 of 1000 requests failed")
        );
        assert_eq!(verdict.objectives[0].value, None);
    }

    #[test]
    fn what_was_not_measured_does_not_pass() {
        let verdict = judge(
            &objectives(&["vram.peak<80GiB"]),
            &[run("a", 1000, 0).0],
            &[],
        );
        assert_eq!(verdict.objectives[0].status, ObjectiveStatus::NotMeasured);
        assert_eq!(verdict.status, Status::Fail);
    }

    #[test]
    fn an_unfaithful_replay_is_neither_pass_nor_fail() {
        let (mut target, _) = run("a", 1000, 0);
        target.fidelity.valid = false;
        target.fidelity.reasons = vec!["sends were late".to_owned()];
        let verdict = judge(&objectives(&["e2e.p99<1ms"]), &[target], &[]);
        assert_eq!(verdict.status, Status::Invalid);
        assert_eq!(verdict.reasons, ["a: sends were late"]);
    }

    #[test]
    fn the_loosest_bounds_make_goodput() {
        let bounds = per_request_bounds(&objectives(&[
            "ttft.p99<800ms",
            "ttft.p50<200ms",
            "e2e.p99<+5%",
            "tpot.p95<=40ms",
        ]));
        assert_eq!(
            (bounds.ttft_ms, bounds.tpot_ms, bounds.e2e_ms),
            (Some(800.0), Some(40.0), None)
        );
    }

    #[test]
    fn growth_is_judged_on_the_gpu_that_stands_worst() {
        const MIB: f64 = 1_048_576.0;
        let gpu = |index, per_s: f64, ci95: (f64, f64), leak: Option<bool>| GpuSummary {
            index,
            growth_bytes_per_s: Some(per_s * MIB),
            growth_ci95: Some((ci95.0 * MIB, ci95.1 * MIB)),
            growth: leak.map(|leak| MemoryGrowth {
                bytes_per_s: per_s * MIB,
                ci95: (ci95.0 * MIB, ci95.1 * MIB),
                bytes_per_load: 0.0,
                leak,
                reason: format!("leak: {leak}"),
            }),
            ..GpuSummary::default()
        };
        let judged = |gpus: Vec<GpuSummary>| {
            let (mut target, _) = run("a", 1000, 0);
            target.gpu = gpus;
            judge(&objectives(&["vram.growth<1MiB/s"]), &[target], &[]).objectives[0].clone()
        };
        // What grew most may have done so by chance; what leaks less does not.
        let noise = gpu(0, 2.0, (-1.0, 5.0), Some(false));
        let leak = gpu(1, 1.5, (1.2, 1.8), Some(true));
        let both = judged(vec![noise.clone(), leak]);
        assert_eq!(both.status, ObjectiveStatus::Fail, "{both:#?}");
        assert_eq!(both.value, Some(1.5 * MIB));
        assert!(both.reason.starts_with("GPU 1: "), "{}", both.reason);
        let alone = judged(vec![noise]);
        assert_eq!(alone.status, ObjectiveStatus::Inconclusive);
        assert_eq!(alone.reason, "leak: false");
        // Too short a run to tell it apart from the load, and still an interval.
        let short = judged(vec![gpu(0, 1.1, (0.2, 2.0), None)]);
        assert_eq!(short.status, ObjectiveStatus::Inconclusive, "{short:#?}");
        let steep = judged(vec![gpu(0, 9.0, (7.0, 11.0), None)]);
        assert_eq!(steep.status, ObjectiveStatus::Fail, "{steep:#?}");
    }
}

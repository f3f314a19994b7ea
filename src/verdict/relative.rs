//! Objectives that are relative to a baseline.

use super::figure::{Figure, figure, held_against};
use super::judge::{ObjectiveResult, ObjectiveStatus};
use super::objective::{Bound, Metric, Objective, Statistic, Unit, unit};
use crate::measure::{Comparison, ComparisonVerdict, RECORDED, TargetSummary};

/// Judges a relative objective by the interval of a comparison; `None` where the objective is not relative, or the comparison does
/// not have its figure.
pub fn judge_compared(objective: &Objective, comparison: &Comparison) -> Option<ObjectiveResult> {
    let Bound::Relative(tolerance) = objective.bound else {
        return None;
    };
    let key = format!("{}.{}", objective.metric.name(), objective.statistic.name());
    let metric = comparison.metrics.get(&key)?;
    let result = |value, status, reason: String| {
        Some(ObjectiveResult {
            expr: objective.expr.clone(),
            target: comparison.target.clone(),
            value,
            status,
            reason,
        })
    };
    if metric.verdict == ComparisonVerdict::UnlikeLoad {
        return result(None, ObjectiveStatus::NotMeasured, unlike_load(comparison));
    }
    if metric.baseline_ms.is_none() && metric.target_ms.is_none() {
        let reason = "it lies among the failed requests of both, so there is nothing to compare; hold errors.rate to a bound, or compare a lower percentile";
        return result(None, ObjectiveStatus::NotMeasured, reason.to_owned());
    }
    if let Some(needed) = metric.pairs_needed {
        let change = metric.ratio.map(|ratio| ratio - 1.0);
        let what = match objective.metric {
            Metric::Itl => "gaps between tokens",
            _ => "requests",
        };
        let reason = format!(
            "{} against {}: no interval, which takes {needed} {what} that both answered",
            change.map_or_else(|| "it".to_owned(), percent),
            comparison.baseline
        );
        return result(change, ObjectiveStatus::Inconclusive, reason);
    }
    let Some((low, high)) = metric.ratio_ci95 else {
        let status = if objective.operator.is_upper() {
            ObjectiveStatus::Fail
        } else {
            ObjectiveStatus::Pass
        };
        let reason = "it lies among this target's failed requests".to_owned();
        return result(None, status, reason);
    };
    let holds = |ratio: f64| objective.operator.holds(ratio - 1.0, tolerance);
    let status = match (holds(low), holds(high.unwrap_or(f64::INFINITY))) {
        (true, true) => ObjectiveStatus::Pass,
        (false, false) => ObjectiveStatus::Fail,
        _ => ObjectiveStatus::Inconclusive,
    };
    let change = metric.ratio.map(|ratio| ratio - 1.0);
    let reason = format!(
        "{} against {}: between {} and {} (95 %, {}){}",
        change.map_or_else(|| "it".to_owned(), percent),
        comparison.baseline,
        percent(low - 1.0),
        high.map_or_else(
            || "∞, among the failed requests".to_owned(),
            |high| percent(high - 1.0)
        ),
        comparison.scope,
        metric
            .more_runs_for(tolerance, comparison.runs)
            .filter(|_| status == ObjectiveStatus::Inconclusive)
            .map_or_else(String::new, |more| format!(
                "; {} would decide",
                comparison.scope.would_tell(more)
            )),
    );
    result(change, status, reason)
}

/// Judges a relative objective on a target: by the interval of its comparison with `against`, and where that has none, by the two figures.
pub(super) fn relative(
    objective: &Objective,
    tolerance: f64,
    target: &TargetSummary,
    against: &str,
    baseline: Option<&TargetSummary>,
    comparisons: &[Comparison],
) -> ObjectiveResult {
    let result = |value, status, reason: String| ObjectiveResult {
        expr: objective.expr.clone(),
        target: target.name.clone(),
        value,
        status,
        reason,
    };
    let compared = comparisons
        .iter()
        .find(|comparison| comparison.target == target.name && comparison.baseline == against);
    if let Some(result) = compared.and_then(|compared| judge_compared(objective, compared)) {
        return result;
    }
    let Some(baseline) = baseline.filter(|baseline| baseline.name != target.name) else {
        let reason = match compared {
            // An earlier result is read request by request, and has nothing else.
            Some(_) => not_in_a_log(objective),
            None => "there is no other target to compare with; give --target twice",
        };
        return result(None, ObjectiveStatus::NotMeasured, reason.to_owned());
    };
    // What has no interval is no comparison either: who is asked for less fails less, fills less memory and meets more bounds.
    let differs = |comparison: &&Comparison| comparison.load.as_ref().is_some_and(|it| it.differs);
    if let Some(compared) = compared.filter(differs) {
        return result(None, ObjectiveStatus::NotMeasured, unlike_load(compared));
    }
    match (figure(objective, baseline), figure(objective, target)) {
        (Figure::Value(before), Figure::Value(now)) => {
            let unit = unit(objective.metric, objective.statistic);
            // Shares change by points, all else by ratio.
            let change = match unit {
                Unit::Share | Unit::Distance => now - before,
                _ if now == before => 0.0,
                _ if before > 0.0 => now / before - 1.0,
                _ => (now - before).signum() * f64::INFINITY,
            };
            let met = objective.operator.holds(change, tolerance);
            let status = if met {
                ObjectiveStatus::Pass
            } else {
                ObjectiveStatus::Fail
            };
            if change.is_infinite() {
                let reason = format!("{} of {}", held_against(now, before, unit), baseline.name);
                return result(None, status, reason);
            }
            let largest = match objective.statistic {
                Statistic::Max => " (the largest of a run is one request, and has no interval)",
                _ => "",
            };
            result(
                Some(change),
                status,
                format!("{} against {}{largest}", percent(change), baseline.name),
            )
        }
        (Figure::Absent(why) | Figure::Unbounded(why), _) | (_, Figure::Absent(why)) => {
            result(None, ObjectiveStatus::NotMeasured, why)
        }
        (_, Figure::Unbounded(why)) => result(None, ObjectiveStatus::Fail, why),
    }
}

/// Why a result that is read from its log of requests has nothing of what a relative objective is about.
pub fn not_in_a_log(objective: &Objective) -> &'static str {
    match (objective.metric, objective.statistic) {
        (Metric::Itl, statistic) if statistic != Statistic::Max => {
            "the gaps between tokens of one side are not known: a result has no gaps.json.zst, as those of earlier versions, the trace does not tell production's, or no answer was a stream"
        }
        _ => {
            "of an earlier result, requests are compared: p50, p90, p95, p99, p99.9 and mean of ttft, itl, tpot and e2e"
        }
    }
}

/// Why two that were under different load are not compared, and what mends it: a slow target that holds up its own next turns is asked for
/// less, and that must not open a gate.
pub(super) fn unlike_load(comparison: &Comparison) -> String {
    if comparison.baseline == RECORDED {
        let load = comparison.load.as_ref();
        let share = load.map_or_else(String::new, |load| {
            format!(" ({:.1} % of its requests a second)", load.requests * 100.0)
        });
        return format!(
            "this was not production's load{share}, so there is no comparison with it; replay at the trace's own pace (without --speed, --rate-scale or --shape), and with --sessions independent where slow answers hold up the turns after them"
        );
    }
    "the two were under different load, so there is no comparison; --sessions independent sends both the same".to_owned()
}

/// A change, in percent.
fn percent(change: f64) -> String {
    format!("{:+.1} %", change * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{CompareOptions, RunSample, Side, compare};
    use crate::verdict::judge::tests::{objectives, outcome, run};
    use crate::verdict::{Status, judge};

    fn compared(a: &RunSample, b: &RunSample) -> Comparison {
        let side = |name, run| Side {
            name,
            runs: std::slice::from_ref(run),
        };
        compare(side("a", a), side("b", b), &CompareOptions::default())
    }

    #[test]
    fn relative_latencies_are_judged_by_their_interval() {
        let (a, mut a_measure) = run("a", 100_000, 0);
        let (b, mut b_measure) = run("b", 130_000, 0);
        let compared = compared(&a_measure.take_sample(), &b_measure.take_sample());
        let verdict = judge(
            &objectives(&["e2e.p50<+10%", "e2e.p50<+50%"]),
            &[a, b],
            &[compared],
        );
        assert_eq!(verdict.objectives.len(), 2, "on the second target only");
        assert_eq!(
            verdict.objectives[0].status,
            ObjectiveStatus::Fail,
            "{verdict:#?}"
        );
        assert_eq!(verdict.objectives[1].status, ObjectiveStatus::Pass);
        assert!(verdict.objectives[0].reason.contains("this run"));
        let alone = judge(&objectives(&["e2e.p50<+10%"]), &[run("a", 1000, 0).0], &[]);
        assert_eq!(alone.objectives[0].status, ObjectiveStatus::NotMeasured);
    }

    #[test]
    fn gaps_means_and_every_quantile_are_judged_by_their_interval_too() {
        let (a, mut a_measure) = run("a", 100_000, 0);
        let (b, mut b_measure) = run("b", 130_000, 0);
        let compared = compared(&a_measure.take_sample(), &b_measure.take_sample());
        let exprs = ["e2e.mean", "tpot.p90", "e2e.p99.9", "itl.p99", "ttft.p90"];
        let targets = [a, b];
        let judged = |tolerance: &str| -> Vec<ObjectiveResult> {
            let exprs: Vec<String> = exprs.map(|expr| format!("{expr}<{tolerance}")).to_vec();
            let exprs: Vec<&str> = exprs.iter().map(String::as_str).collect();
            let compared = std::slice::from_ref(&compared);
            judge(&objectives(&exprs), &targets, compared).objectives
        };
        use ObjectiveStatus::{Fail, Pass};
        let wide = judged("+50%");
        assert!(wide.iter().all(|it| it.status == Pass), "{wide:#?}");
        assert!(wide.iter().all(|it| it.reason.contains("95 %")));
        let statuses: Vec<_> = judged("+10%").iter().map(|it| it.status).collect();
        // The simulated gaps are the same on both sides.
        assert_eq!(statuses, [Fail, Fail, Fail, Pass, Fail]);
        let largest = judge(
            &objectives(&["e2e.max<+10%"]),
            &targets,
            std::slice::from_ref(&compared),
        );
        assert!(largest.objectives[0].reason.contains("no interval"));
    }

    #[test]
    fn more_runs_are_counted_for_the_objective_and_not_for_the_margin() {
        let (_, mut a) = run("a", 100_000, 0);
        let (_, mut b) = run("b", 100_000, 0);
        let mut compared = compared(&a.take_sample(), &b.take_sample());
        let figures = compared.metrics.get_mut("e2e.p99").unwrap();
        (figures.ratio, figures.ratio_ci95) = (Some(1.421), Some((1.02, Some(1.9))));
        figures.more_runs = Some(4);
        compared.runs = 5;
        let reason = |expr: &str| {
            let judged = judge_compared(&objectives(&[expr])[0], &compared).unwrap();
            assert_eq!(judged.status, ObjectiveStatus::Inconclusive);
            judged.reason
        };
        let (near, far) = (reason("e2e.p99<+38%"), reason("e2e.p99<+10%"));
        assert!(far.ends_with("; 2 more runs of each would decide"), "{far}");
        assert!(near.ends_with(')'), "no number of runs would do: {near}");
    }

    #[test]
    fn too_few_requests_for_an_interval_are_inconclusive() {
        let sample = |took_us: u64| {
            let mut sample = RunSample::default();
            (0..50).for_each(|i| sample.record(&outcome(i, took_us, false)));
            sample
        };
        let compared = compared(&sample(1000), &sample(3000));
        let judged = judge_compared(&objectives(&["e2e.p99<+10%"])[0], &compared).unwrap();
        assert_eq!(judged.status, ObjectiveStatus::Inconclusive);
        assert!(
            judged.reason.contains("takes 100 requests"),
            "{}",
            judged.reason
        );
    }

    #[test]
    fn a_target_that_was_asked_for_less_does_not_pass() {
        let (a, mut a_measure) = run("a", 100_000, 0);
        let (b, mut b_measure) = run("b", 100_000, 0);
        let mut compared = compared(&a_measure.take_sample(), &b_measure.take_sample());
        for metric in compared.metrics.values_mut() {
            metric.verdict = ComparisonVerdict::UnlikeLoad;
        }
        let verdict = judge(&objectives(&["e2e.p50<+50%"]), &[a, b], &[compared]);
        assert_eq!(verdict.objectives[0].status, ObjectiveStatus::NotMeasured);
        assert_eq!(verdict.status, Status::Fail);
    }

    #[test]
    fn an_interval_that_reaches_into_the_failures_is_no_miss_in_itself() {
        let judged = |took_us: u64, failures: u64| {
            let (a, mut a_measure) = run("a", 100_000, 0);
            let (b, mut b_measure) = run("b", took_us, failures);
            let sides = (a_measure.take_sample(), b_measure.take_sample());
            let compared = compared(&sides.0, &sides.1);
            let verdict = judge(&objectives(&["e2e.p99<+10%"]), &[a, b], &[compared]);
            verdict.objectives[0].clone()
        };
        // Eight failures of a thousand lie beyond the P99, and in some resamples within it.
        let near = judged(100_000, 8);
        assert_eq!(near.status, ObjectiveStatus::Inconclusive, "{near:#?}");
        assert!(
            near.value.is_some() && near.reason.contains('∞'),
            "{near:#?}"
        );
        assert_eq!(judged(300_000, 8).status, ObjectiveStatus::Fail);
        let beyond = judged(100_000, 50);
        assert_eq!(beyond.status, ObjectiveStatus::Fail, "{beyond:#?}");
    }

    #[test]
    fn a_percentile_among_the_failures_of_both_opens_no_gate() {
        let (a, mut a_measure) = run("a", 100_000, 20);
        let (b, mut b_measure) = run("b", 300_000, 400);
        let compared = compared(&a_measure.take_sample(), &b_measure.take_sample());
        let verdict = judge(&objectives(&["e2e.p99<+10%"]), &[a, b], &[compared]);
        let judged = &verdict.objectives[0];
        assert_eq!(judged.status, ObjectiveStatus::NotMeasured, "{judged:#?}");
        assert!(judged.reason.contains("of both"), "{}", judged.reason);
        assert_eq!(verdict.status, Status::Fail);
    }

    #[test]
    fn a_change_from_nothing_has_no_percentage() {
        let preempted = |name: &str, count: f64| {
            let (mut target, _) = run(name, 100_000, 0);
            target.engine = Some(crate::measure::EngineSummary {
                preemptions: Some(count),
                ..crate::measure::EngineSummary::default()
            });
            target
        };
        let judged = |now: f64| {
            let targets = [preempted("a", 0.0), preempted("b", now)];
            judge(&objectives(&["preemptions.count<+10%"]), &targets, &[]).objectives[0].clone()
        };
        let same = judged(0.0);
        assert_eq!(
            (same.value, same.status),
            (Some(0.0), ObjectiveStatus::Pass)
        );
        assert_eq!(same.reason, "+0.0 % against a");
        let more = judged(3.0);
        assert_eq!((more.value, more.status), (None, ObjectiveStatus::Fail));
        assert_eq!(more.reason, "3 against 0 of a");
    }
}

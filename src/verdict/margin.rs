use super::judge::{ObjectiveResult, ObjectiveStatus};
use super::relative::unlike_load;
use crate::measure::{Comparison, ComparisonVerdict};

/// What a comparison says where no relative objective was declared: a P50 or P99 of TTFT, TPOT or E2E that is worse than the margin is a miss,
/// and so is a load that differed, since latencies under less load prove nothing.
pub fn judge_margin(comparison: &Comparison) -> ObjectiveResult {
    let of = |verdict: ComparisonVerdict| -> Vec<String> {
        let held = comparison.metrics.iter().filter(|(metric, figures)| {
            !metric.starts_with("stall")
                // A result of an earlier version has no gaps, so another run of the same comparison might not look at them.
                && !metric.starts_with("itl")
                && (metric.ends_with(".p50") || metric.ends_with(".p99"))
                && figures.verdict == verdict
        });
        held.map(|(metric, figures)| match figures.ratio {
            Some(ratio) => format!("{metric} ({:+.1} %)", (ratio - 1.0) * 100.0),
            None => format!("{metric} (among failed requests)"),
        })
        .collect()
    };
    let (worse, unlike, open) = (
        of(ComparisonVerdict::Worse),
        of(ComparisonVerdict::UnlikeLoad),
        of(ComparisonVerdict::Inconclusive),
    );
    let margin = comparison.margin * 100.0;
    let (status, reason) = if !unlike.is_empty() {
        (ObjectiveStatus::Fail, unlike_load(comparison))
    } else if !worse.is_empty() {
        (
            ObjectiveStatus::Fail,
            format!("worse: {}", worse.join(", ")),
        )
    } else if !open.is_empty() {
        (ObjectiveStatus::Inconclusive, open.join(", "))
    } else if comparison.pairs == 0 {
        let reason = "no request was answered on both sides".to_owned();
        (ObjectiveStatus::NotMeasured, reason)
    } else {
        let reason = format!("no P50 and no P99 is worse by more than {margin:.1} %");
        (ObjectiveStatus::Pass, reason)
    };
    ObjectiveResult {
        expr: format!("no worse than {}", comparison.baseline),
        target: comparison.target.clone(),
        value: None,
        status,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{CompareOptions, RunSample, Side, compare};
    use crate::replay::RequestOutcome;

    fn run(every_us: u64, took_us: impl Fn(u64) -> u64) -> RunSample {
        let mut sample = RunSample::default();
        for index in 0..400 {
            let due = index * every_us;
            let end = due + took_us(index);
            sample.record(&RequestOutcome {
                index,
                intended_us: due,
                sent_us: Some(due),
                first_token_us: Some(end),
                end_us: end,
                ..RequestOutcome::default()
            });
        }
        sample
    }

    fn compared(a: &RunSample, b: &RunSample) -> Comparison {
        let side = |name, run| Side {
            name,
            runs: std::slice::from_ref(run),
        };
        compare(side("a", a), side("b", b), &CompareOptions::default())
    }

    fn judged(a: &RunSample, b: &RunSample) -> ObjectiveResult {
        judge_margin(&compared(a, b))
    }

    #[test]
    fn the_reason_of_what_is_open_does_not_repeat_that_it_is() {
        let usual = run(1000, |_| 20_000);
        let mut comparison = compared(&usual, &usual);
        let figures = comparison.metrics.get_mut("e2e.p99").unwrap();
        figures.verdict = ComparisonVerdict::Inconclusive;
        let open = judge_margin(&comparison);
        assert_eq!(open.status, ObjectiveStatus::Inconclusive);
        assert_eq!(open.reason, "e2e.p99 (+0.0 %)");
    }

    #[test]
    fn worse_is_a_miss_and_the_same_is_none() {
        let slow = |index| 20_000 + index % 7 * 100;
        let usual = run(1000, slow);
        let slower = run(1000, |index| slow(index) * 2);
        let same = judged(&usual, &usual);
        assert_eq!(same.status, ObjectiveStatus::Pass, "{}", same.reason);
        assert_eq!((&*same.expr, &*same.target), ("no worse than a", "b"));
        let worse = judged(&usual, &slower);
        assert_eq!(worse.status, ObjectiveStatus::Fail);
        assert!(
            worse.reason.contains("e2e.p99 (+100.0 %)"),
            "{}",
            worse.reason
        );
        assert_eq!(judged(&slower, &usual).status, ObjectiveStatus::Pass);
        let other_load = run(2000, slow);
        assert_eq!(
            judged(&usual, &RunSample::default()).status,
            ObjectiveStatus::NotMeasured
        );
        assert_eq!(judged(&usual, &other_load).status, ObjectiveStatus::Fail);
    }
}

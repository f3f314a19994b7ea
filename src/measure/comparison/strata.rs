use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap::{Both, Column};
use super::decision::Ratio;
use super::sample::RunSample;
use super::{CompareOptions, Figure, METRICS, all_tell, cores};

/// Requests of like prompts that were recorded under like load: the target beside production.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stratum {
    /// The metric, as objectives name it.
    pub metric: &'static str,
    /// Prompt tokens from this on.
    pub prompt_tokens_from: u32,
    /// And below this; absent for the largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_below: Option<u32>,
    /// Exchanges in flight in production from this on.
    pub in_flight_from: u32,
    /// And below this; absent for the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_below: Option<u32>,
    /// Pairs of requests.
    pub pairs: u64,
    /// The median of the target's − its twin's, pair by pair, in milliseconds; absent where it lies among failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_difference_ms: Option<f64>,
    /// Ratio of the medians, target over production.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Its 95 % interval, by resampling conversations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_ci95: Option<(f64, f64)>,
}

const PROMPT_EDGES: [u32; 4] = [512, 2048, 8192, 32_768];
const IN_FLIGHT_EDGES: [u32; 4] = [4, 16, 64, 256];
/// Fewer pairs than that say nothing.
const FEWEST: usize = 20;

type Cell = (usize, usize);

pub(super) fn strata(
    recorded: &[RunSample],
    target: &[RunSample],
    options: &CompareOptions,
) -> Vec<Stratum> {
    let of_metric = |(metric, value): (&'static str, Figure)| {
        let cells = columns(recorded, target, value).into_iter();
        cells.map(move |(cell, column)| (metric, cell, column))
    };
    let told = METRICS
        .into_iter()
        .filter(|&(_, value)| all_tell(recorded, target, value));
    let strata = cores::each(told.flat_map(of_metric), |(metric, cell, column)| {
        stratum(metric, cell, column, target.len(), options)
    });
    strata.into_iter().flatten().collect()
}

/// For each cell of prompt size and load: its pairs, conversation by conversation, and their differences.
fn columns(
    recorded: &[RunSample],
    target: &[RunSample],
    value: Figure,
) -> BTreeMap<Cell, (Column, Vec<f32>)> {
    let mut cells: BTreeMap<Cell, (Column, Vec<f32>)> = BTreeMap::new();
    for (recorded, target) in recorded.iter().zip(target) {
        let mut clusters: BTreeMap<(Cell, u64), Vec<(f32, f32)>> = BTreeMap::new();
        for (index, now) in &target.values {
            let both = recorded
                .values
                .get(index)
                .and_then(|before| Some((value(before)?, value(now)?)));
            if let Some(pair) = both {
                let cell = (
                    bin(&PROMPT_EDGES, now.prompt_tokens),
                    bin(&IN_FLIGHT_EDGES, now.concurrency),
                );
                clusters.entry((cell, now.cluster)).or_default().push(pair);
            }
        }
        let mut opened = None;
        for ((cell, _), pairs) in &clusters {
            let (column, differences) = cells.entry(*cell).or_default();
            if opened != Some(*cell) {
                column.open_run();
                opened = Some(*cell);
            }
            let both = |(before, now): &(f32, f32)| ([*before], [*now]);
            let pairs_of_one: Vec<_> = pairs.iter().map(both).collect();
            let requests: Vec<Both<'_>> = pairs_of_one
                .iter()
                .map(|(before, now)| (&before[..], &now[..]))
                .collect();
            column.add(&requests);
            differences.extend(pairs.iter().map(|&(before, now)| difference(before, now)));
        }
    }
    cells
}

/// By how much later it is now; what failed then as it does now is no later.
fn difference(before: f32, now: f32) -> f32 {
    match before.is_finite() || now.is_finite() {
        true => now - before,
        false => 0.0,
    }
}

fn stratum(
    metric: &'static str,
    (prompt, in_flight): Cell,
    (column, mut differences): (Column, Vec<f32>),
    runs: usize,
    options: &CompareOptions,
) -> Option<Stratum> {
    let pairs = column.pairs();
    if pairs < FEWEST {
        return None;
    }
    let few = super::pairs_needed(Some(0.5), pairs, column.clusters()).is_some();
    let resampled = column.resample(&[0.5], options.resamples, options.seed)?;
    let observed = *resampled.observed.first()?;
    let comparable = observed.0.is_finite() || observed.1.is_finite();
    let ratio = Ratio::of(observed, resampled.resamples.first()?, runs);
    let middle = (differences.len() - 1) / 2;
    let (_, median, _) = differences.select_nth_unstable_by(middle, f32::total_cmp);
    let median = f64::from(*median);
    Some(Stratum {
        metric,
        prompt_tokens_from: lower(&PROMPT_EDGES, prompt),
        prompt_tokens_below: PROMPT_EDGES.get(prompt).copied(),
        in_flight_from: lower(&IN_FLIGHT_EDGES, in_flight),
        in_flight_below: IN_FLIGHT_EDGES.get(in_flight).copied(),
        pairs: pairs as u64,
        median_difference_ms: median.is_finite().then_some(median),
        ratio: (comparable && ratio.value.is_finite()).then_some(ratio.value),
        ratio_ci95: (comparable && !few && ratio.low.is_finite() && ratio.high.is_finite())
            .then_some((ratio.low, ratio.high)),
    })
}

fn bin(edges: &[u32], value: u32) -> usize {
    edges.partition_point(|&edge| edge <= value)
}

fn lower(edges: &[u32], bin: usize) -> u32 {
    bin.checked_sub(1)
        .and_then(|below| edges.get(below).copied())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::{Comparison, Scaling, Side, compare_with_recorded};
    use super::*;
    use crate::measure::target::tests::outcome;
    use crate::measure::twin;
    use crate::replay::{FailureKind, SendResult};

    fn beside(recorded: &RunSample, target: &RunSample) -> Comparison {
        let runs = std::slice::from_ref(target);
        let target = Side { name: "b", runs };
        compare_with_recorded(
            std::slice::from_ref(recorded),
            target,
            Scaling::default(),
            &CompareOptions::default(),
        )
    }

    #[test]
    fn each_request_is_compared_with_its_twin_among_its_like() {
        let (mut recorded, mut target) = (RunSample::default(), RunSample::default());
        for i in 0..400 {
            let mut outcome = outcome(i, i * 1000, 100_000);
            let long = i % 2 == 0;
            outcome.recorded_prompt_tokens = Some(if long { 4000 } else { 100 });
            outcome.planned_us = outcome.intended_us;
            outcome.recorded.completed = true;
            // Production took twice as long with long prompts, and as long with short ones.
            outcome.recorded.end_us = Some(if long { 200_000 } else { 100_000 });
            recorded.record(&twin(&outcome).unwrap());
            target.record(&outcome);
        }
        let compared = beside(&recorded, &target);
        assert_eq!(compared.baseline, "recorded");
        let e2e: Vec<_> = compared
            .strata
            .iter()
            .map(|stratum| {
                (
                    stratum.metric,
                    stratum.prompt_tokens_from,
                    stratum.pairs,
                    stratum.ratio,
                    stratum.median_difference_ms,
                )
            })
            .collect();
        assert_eq!(
            e2e,
            [
                ("e2e", 0, 200, Some(1.0), Some(0.0)),
                ("e2e", 2048, 200, Some(0.5), Some(-100.0))
            ]
        );
    }

    #[test]
    fn pairs_that_failed_on_both_sides_are_no_change() {
        let (mut recorded, mut target) = (RunSample::default(), RunSample::default());
        for i in 0..400 {
            let mut outcome = outcome(i, i * 1000, 130_000);
            outcome.planned_us = outcome.intended_us;
            outcome.recorded.completed = true;
            outcome.recorded.end_us = Some(100_000);
            // Three of ten are refused now as they were then; of the others, half are no slower.
            match i % 10 {
                0..3 => {
                    outcome.result = SendResult::Failed(FailureKind::Overloaded);
                    outcome.recorded.completed = false;
                    outcome.recorded.failure = Some(FailureKind::Overloaded);
                }
                3..5 => outcome.recorded.end_us = Some(140_000),
                _ => {}
            }
            recorded.record(&twin(&outcome).unwrap());
            target.record(&outcome);
        }
        let compared = beside(&recorded, &target);
        let e2e = compared.strata.iter().find(|one| one.metric == "e2e");
        // 20 % faster by 10 ms, 30 % the same, 50 % slower by 30 ms: the middle of them is the last that is the same.
        assert_eq!(e2e.unwrap().median_difference_ms, Some(0.0));
    }
}

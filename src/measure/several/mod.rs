//! What several runs of one target say together, and the steps of a search for its limit.

mod spread;
mod sums;

use std::collections::BTreeMap;

use serde::Serialize;

pub use spread::{Spread, spread};
pub(crate) use sums::{altered_in_all, said_by_each};

use super::change_points::ChangePoint;
use super::distribution::{Distribution, LatencySummary};
use super::latency::Latencies;
use super::memory::Ooms;
use super::misses::{self, Misses};
use super::span::MeasuredWindow;
use super::summary::{Goodput, Requests, TargetSummary, Throughput};
use super::target::latency_summaries;
use crate::replay::TurnAccount;

/// One of several runs of a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFigures {
    /// Which, from 1, in the order in which they were run.
    pub run: u64,
    /// Whether its replay was faithful.
    pub valid: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What else a reader should know of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// What became of the requests.
    pub requests: Requests,
    /// Its latencies, named as the target's.
    pub latency: BTreeMap<&'static str, LatencySummary>,
    /// Rates over the run.
    pub throughput: Throughput,
    /// Requests that met every per-request objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput: Option<Goodput>,
    /// Requests that missed, for each objective that is about single requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<Misses>,
    /// Why its latencies say how long the run was and no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturated: Option<String>,
    /// Where its measured window lies.
    pub window: MeasuredWindow,
    /// Moments at which it changed its course.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangePoint>,
}

/// A run with what it is pooled by.
#[derive(Debug, Clone)]
pub struct MeasuredRun {
    /// Its figures.
    pub summary: TargetSummary,
    /// Its latencies.
    pub latencies: Latencies,
    /// How late its sends were.
    pub lateness: Distribution,
}

/// Several runs of one target, in the order in which they were run, as one: counts and histograms are added up, rates are means over
/// runs, and the fidelity is that of the worst. The timeline, with its changes and memory against load, is that of the first run. No interval is given for a pooled quantile, since
/// requests of one run depend on each other; [`Spread`] has one over runs.
///
/// One run is given back as it is; `None` where there is none.
pub fn pool(runs: Vec<MeasuredRun>) -> Option<MeasuredRun> {
    if runs.len() < 2 {
        return runs.into_iter().next();
    }
    let figures: Vec<RunFigures> = runs
        .iter()
        .zip(1..)
        .map(|(run, number)| RunFigures {
            run: number,
            valid: run.summary.fidelity.valid,
            reasons: run.summary.fidelity.reasons.clone(),
            remarks: run.summary.fidelity.remarks.clone(),
            requests: run.summary.requests.clone(),
            latency: run.summary.latency.clone(),
            throughput: run.summary.throughput.clone(),
            goodput: run.summary.goodput.clone(),
            misses: run.summary.misses.clone(),
            saturated: run.summary.saturated.clone(),
            window: run.summary.window.clone(),
            changes: run.summary.changes.clone(),
        })
        .collect();
    let summaries: Vec<&TargetSummary> = runs.iter().map(|run| &run.summary).collect();
    let (requests, throughput, goodput) = (
        sums::requests(&summaries),
        sums::throughput(&summaries),
        sums::goodput(&summaries),
    );
    let (fidelity, gpu) = (sums::fidelity(&summaries), sums::gpus(&summaries));
    let engine = sums::engine(&summaries);
    let oom = Ooms::sum(summaries.iter().map(|summary| &summary.oom));
    let window = sums::window(&summaries);
    let tokens_per_event = sums::mean(
        summaries
            .iter()
            .filter_map(|summary| summary.tokens_per_event),
    );
    let turns = TurnAccount::sum(summaries.iter().filter_map(|summary| summary.turns));
    let simulated = summaries.iter().any(|summary| summary.simulated);
    let saturated = saturated(&figures);
    let mut missed = Vec::new();
    figures
        .iter()
        .for_each(|run| misses::add(&mut missed, &run.misses));
    let mut rest = runs.into_iter();
    let first = rest.next()?;
    let (mut latencies, mut lateness) = (first.latencies, first.lateness);
    for run in rest {
        latencies.add(&run.latencies);
        lateness.add(&run.lateness);
    }
    let mut latency = latency_summaries(&latencies);
    latency
        .values_mut()
        .for_each(LatencySummary::without_intervals);
    let summary = TargetSummary {
        simulated,
        requests,
        latency,
        throughput,
        goodput,
        misses: missed,
        saturated,
        fidelity,
        gpu,
        engine,
        oom,
        turns,
        window,
        tokens_per_event,
        spread: spread::spreads(&figures),
        runs: figures,
        ..first.summary
    };
    Some(MeasuredRun {
        summary,
        latencies,
        lateness,
    })
}

/// That runs were saturated, if any was: which, and how the first of them shows it.
fn saturated(runs: &[RunFigures]) -> Option<String> {
    let each = || runs.iter().filter(|run| run.saturated.is_some());
    let why = each().next()?.saturated.as_deref()?;
    let numbers: Vec<String> = each().map(|run| run.run.to_string()).collect();
    let plural = if numbers.len() > 1 { "runs" } else { "run" };
    let words = why.strip_prefix("saturated: ").unwrap_or(why);
    Some(format!(
        "saturated: in {plural} {}: {words}",
        numbers.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::observed::Observed;
    use super::*;
    use crate::measure::target::tests::outcome;
    use crate::measure::{
        EngineSummary, ErrorQuantiles, GeneratorEvidence, GpuSummary, MeasureOptions, MemoryGrowth,
        TargetIdentity, TargetMeasure,
    };

    fn run(took_us: u64, fault: Option<&str>) -> MeasuredRun {
        let mut measure = TargetMeasure::new(MeasureOptions::default());
        for i in 0..100 {
            measure.record(&outcome(i, i * 10_000, took_us));
        }
        let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
        let evidence = GeneratorEvidence {
            faults: fault.map(str::to_owned).into_iter().collect(),
            remarks: std::iter::once("the trace lacks a file")
                .chain(fault.map(|_| "a port was wanting"))
                .map(str::to_owned)
                .collect(),
            ..GeneratorEvidence::default()
        };
        let identity = TargetIdentity::default();
        MeasuredRun {
            summary: measure.finish(identity, evidence, Observed::default()),
            latencies,
            lateness,
        }
    }

    #[test]
    fn pooled_runs_add_up_and_any_invalid_one_is_named() {
        let pooled = pool(vec![
            run(100_000, None),
            run(200_000, Some("sends were late")),
            run(300_000, None),
        ])
        .unwrap()
        .summary;
        assert_eq!((pooled.requests.planned, pooled.requests.ok), (300, 300));
        assert_eq!(pooled.latency["itl_ms"].count, 2700);
        assert_eq!(pooled.latency["e2e_ms"].p99_ci95, None);
        assert!((pooled.latency["e2e_ms"].p50.unwrap() - 200.0).abs() < 0.5);
        assert!(!pooled.fidelity.valid);
        assert_eq!(pooled.fidelity.reasons, ["run 2: sends were late"]);
        assert_eq!(
            pooled.fidelity.remarks,
            ["the trace lacks a file", "run 2: a port was wanting"]
        );
        assert_eq!(pooled.runs[0].reasons, Vec::<String>::new());
        assert_eq!(pooled.runs[0].remarks, ["the trace lacks a file"]);
        assert_eq!(pooled.runs.len(), 3);
        assert!(pooled.runs[0].valid && !pooled.runs[1].valid);
        let spread = pooled.spread["e2e_ms.p99"];
        assert!(spread.min < 101.0 && spread.max > 299.0, "{spread:?}");
        assert!(spread.ci95.is_some());
    }

    #[test]
    fn what_a_run_was_like_is_not_taken_from_the_first_alone() {
        let mut runs = [run(100_000, None), run(200_000, None)];
        let second = &mut runs[1].summary;
        second.window.drain_s += 2.0;
        second.fidelity.prefix_share_recorded = Some(0.5);
        second.fidelity.prefix_share_sent = Some(0.1);
        second.fidelity.prompt_tokens_errors = Some(ErrorQuantiles {
            p50: 0.1,
            p99: 0.2,
            max: 0.3,
        });
        let arrivals = second.fidelity.arrivals.as_mut().unwrap();
        (arrivals.ks_distance, arrivals.achieved_per_s) = (0.5, 50.0);
        second.changes = vec![ChangePoint {
            t_s: 5.0,
            metric: "e2e_p50_ms",
            before: 1.0,
            after: 2.0,
        }];
        let first = runs[0].summary.clone();
        let drains = first.window.drain_s + runs[1].summary.window.drain_s;
        let pooled = pool(runs.to_vec()).unwrap().summary;
        let fidelity = &pooled.fidelity;
        assert!((pooled.window.drain_s - drains / 2.0).abs() < 1e-9);
        assert_eq!(fidelity.prefix_share_sent, Some(0.1));
        assert_eq!(fidelity.prompt_tokens_errors.unwrap().p99, 0.2);
        let arrivals = fidelity.arrivals.as_ref().unwrap();
        let before = first.fidelity.arrivals.unwrap().achieved_per_s;
        assert_eq!(arrivals.ks_distance, 0.5);
        assert!((arrivals.achieved_per_s - (before + 50.0) / 2.0).abs() < 1e-9);
        assert_eq!((pooled.changes.len(), pooled.runs[1].changes.len()), (0, 1));
    }

    #[test]
    fn one_run_is_what_it_is() {
        let alone = pool(vec![run(100_000, None)]).unwrap().summary;
        assert!(alone.runs.is_empty() && alone.spread.is_empty());
        assert!(pool(Vec::new()).is_none());
    }

    #[test]
    fn the_interval_over_runs_is_students() {
        // Logs 0, 1, 2: mean 1, standard deviation 1, t(0.975; 2) = 4.3027.
        let of = |logs: &[f64]| spread(&logs.iter().map(|log| Some(log.exp())).collect::<Vec<_>>());
        let (low, high) = of(&[0.0, 1.0, 2.0]).unwrap().ci95.unwrap();
        assert!((low.ln() - (1.0 - 4.3027 / 3.0_f64.sqrt())).abs() < 1e-3);
        assert!((high.ln() - (1.0 + 4.3027 / 3.0_f64.sqrt())).abs() < 1e-3);
        assert_eq!(of(&[0.0, 1.0]).unwrap().ci95, None);
        let with_infinite = spread(&[Some(1.0), None, Some(2.0), Some(3.0)]).unwrap();
        assert_eq!((with_infinite.finite, with_infinite.ci95), (3, None));
    }

    #[test]
    fn gpus_of_two_hosts_stay_two_and_a_leak_of_any_run_stays_one() {
        let gpu = |uuid: &str, used: u64| GpuSummary {
            source: "dcgm".to_owned(),
            uuid: Some(uuid.to_owned()),
            used_peak_bytes: used,
            ..GpuSummary::default()
        };
        let grown = |gpu: &mut GpuSummary, per_s: f64, leak: bool| {
            gpu.growth_bytes_per_s = Some(per_s);
            gpu.growth = Some(MemoryGrowth {
                bytes_per_s: per_s,
                ci95: (per_s - 1.0, per_s + 1.0),
                bytes_per_load: 0.0,
                leak,
                reason: String::new(),
            });
        };
        let mut runs = [run(100_000, None), run(100_000, None)];
        for (run, used) in runs.iter_mut().zip([10, 20]) {
            // Both are the first of their host.
            run.summary.gpu = vec![gpu("GPU-a", used), gpu("GPU-b", 100 * used)];
        }
        grown(&mut runs[0].summary.gpu[0], 5.0, true);
        grown(&mut runs[1].summary.gpu[0], 8.0, false);
        let pooled = pool(runs.to_vec()).unwrap().summary.gpu;
        let peaks: Vec<u64> = pooled.iter().map(|gpu| gpu.used_peak_bytes).collect();
        assert_eq!(peaks, [20, 2000]);
        assert_eq!(pooled[0].growth_bytes_per_s, Some(5.0));
        assert!(pooled[0].growth.as_ref().unwrap().leak);
        // Where nobody tells which is which, the order does.
        for gpu in runs.iter_mut().flat_map(|run| &mut run.summary.gpu) {
            gpu.uuid = None;
        }
        assert_eq!(pool(runs.to_vec()).unwrap().summary.gpu.len(), 2);
    }

    #[test]
    fn a_run_whose_page_was_never_read_does_not_hide_what_the_others_told() {
        let told = |kind: &str, samples, state: Option<&str>| EngineSummary {
            kind: kind.to_owned(),
            samples,
            state: state.map(str::to_owned),
            kv_capacity_tokens: (samples > 0).then_some(640.0),
            ..EngineSummary::default()
        };
        let mut runs = [run(100_000, None), run(100_000, None)];
        runs[0].summary.engine = Some(told("unknown", 0, Some("no answer")));
        runs[1].summary.engine = Some(told("vllm", 7, None));
        let engine = pool(runs.to_vec()).unwrap().summary.engine.unwrap();
        assert_eq!((engine.kind.as_str(), engine.samples), ("vllm", 7));
        assert_eq!(engine.kv_capacity_tokens, Some(640.0));
        assert_eq!(engine.state.as_deref(), Some("no answer"));
    }
}

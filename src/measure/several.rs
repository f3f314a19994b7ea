//! What several runs of one target say together, and the steps of a search for its limit.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::arrival_process::ArrivalProcess;
use super::change_points::ChangePoint;
use super::engine::EngineSummary;
use super::fidelity::{ErrorQuantiles, Fidelity};
use super::latency::{Distribution, Latencies, LatencySummary};
use super::memory::Ooms;
use super::misses::{self, Misses};
use super::span::MeasuredWindow;
use super::summary::{Goodput, GpuSummary, Requests, TargetSummary, Throughput};
use super::target::latency_summaries;
use crate::replay::TurnAccount;

/// One of several runs of a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFigures {
    /// Which, from 1, in the order in which they were run.
    pub run: u64,
    /// Whether its replay was faithful.
    pub valid: bool,
    /// Why not, or what a reader should know although it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
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

/// How a figure varies from run to run. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Runs.
    pub runs: u64,
    /// Runs in which it has a finite value: in the others it lies among the failures.
    pub finite: u64,
    /// Smallest.
    pub min: f64,
    /// Geometric mean of the finite values.
    pub mean: f64,
    /// Largest finite value.
    pub max: f64,
    /// 95 % interval of the geometric mean: Student's t on the logarithms, over runs. From three runs on, and only where every run has a
    /// finite value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<(f64, f64)>,
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
        requests(&summaries),
        throughput(&summaries),
        goodput(&summaries),
    );
    let (fidelity, gpu) = (fidelity(&summaries), gpus(&summaries));
    let engine = engine(&summaries);
    let oom = Ooms::sum(summaries.iter().map(|summary| &summary.oom));
    let window = window(&summaries);
    let tokens_per_event = mean(
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
        spread: spreads(&figures),
        runs: figures,
        ..first.summary
    };
    Some(MeasuredRun {
        summary,
        latencies,
        lateness,
    })
}

/// How the medians and 99th percentiles of `runs` vary, by name (`ttft_ms.p99`).
fn spreads(runs: &[RunFigures]) -> BTreeMap<String, Spread> {
    let mut spreads = BTreeMap::new();
    for name in ["ttft_ms", "itl_ms", "tpot_ms", "e2e_ms"] {
        for (label, value) in [
            (
                "p50",
                (|latency: &LatencySummary| latency.p50) as fn(&LatencySummary) -> Option<f64>,
            ),
            ("p99", |latency| latency.p99),
        ] {
            let values: Vec<Option<f64>> = runs
                .iter()
                .filter_map(|run| run.latency.get(name).map(value))
                .collect();
            if let Some(spread) = spread(&values) {
                spreads.insert(format!("{name}.{label}"), spread);
            }
        }
    }
    spreads
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

/// The spread of one figure over runs; `None` where it is finite in none.
pub fn spread(values: &[Option<f64>]) -> Option<Spread> {
    let finite: Vec<f64> = values.iter().copied().flatten().collect();
    let logs: Vec<f64> = finite
        .iter()
        .map(|value| value.max(f64::MIN_POSITIVE).ln())
        .collect();
    let (n, min, max) = (
        float(finite.len()),
        finite.iter().copied().reduce(f64::min)?,
        finite.iter().copied().reduce(f64::max)?,
    );
    let mean = logs.iter().sum::<f64>() / n;
    let ci95 = (finite.len() == values.len() && finite.len() >= 3)
        .then(|| {
            let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
            let half = t * (variance / n).sqrt();
            Some(((mean - half).exp(), (mean + half).exp()))
        })
        .flatten();
    Some(Spread {
        runs: values.len() as u64,
        finite: finite.len() as u64,
        min,
        mean: mean.exp(),
        max,
        ci95,
    })
}

fn requests(runs: &[&TargetSummary]) -> Requests {
    let mut sum = Requests::default();
    for requests in runs.iter().map(|run| &run.requests) {
        sum.planned += requests.planned;
        sum.sent += requests.sent;
        sum.ok += requests.ok;
        sum.failed += requests.failed;
        sum.cancelled += requests.cancelled;
        for (kind, n) in &requests.errors {
            *sum.errors.entry(kind.clone()).or_default() += n;
        }
        sum.retry_after.add(&requests.retry_after);
    }
    sum
}

/// Lengths and rates are means over runs; requests of preludes are added up, as all requests are.
fn window(runs: &[&TargetSummary]) -> MeasuredWindow {
    let each = || runs.iter().map(|run| &run.window);
    let mean_of = |value: fn(&MeasuredWindow) -> Option<f64>| mean(each().filter_map(value));
    MeasuredWindow {
        prelude_s: each().next().map_or(0.0, |window| window.prelude_s),
        prelude_requests: each().map(|window| window.prelude_requests).sum(),
        measured_s: mean_of(|window| Some(window.measured_s)).unwrap_or(0.0),
        drain_s: mean_of(|window| Some(window.drain_s)).unwrap_or(0.0),
        requests_per_s: mean_of(|window| window.requests_per_s),
        output_tokens_per_s: mean_of(|window| window.output_tokens_per_s),
    }
}

fn throughput(runs: &[&TargetSummary]) -> Throughput {
    let mean_of = |value: fn(&Throughput) -> Option<f64>| {
        mean(runs.iter().filter_map(|run| value(&run.throughput)))
    };
    Throughput {
        requests_per_s: mean_of(|rates| Some(rates.requests_per_s)).unwrap_or(0.0),
        input_tokens_per_s: mean_of(|rates| rates.input_tokens_per_s),
        output_tokens_per_s: mean_of(|rates| rates.output_tokens_per_s),
    }
}

fn goodput(runs: &[&TargetSummary]) -> Option<Goodput> {
    let each = || runs.iter().filter_map(|run| run.goodput.as_ref());
    Some(Goodput {
        rate: mean(each().map(|goodput| goodput.rate))?,
        requests_per_s: mean(each().map(|goodput| goodput.requests_per_s))?,
    })
}

/// The worst of every run, and every reason with the run that it is of.
fn fidelity(runs: &[&TargetSummary]) -> Fidelity {
    let each = || runs.iter().map(|run| &run.fidelity);
    let worst = |value: fn(&Fidelity) -> Option<f64>| each().filter_map(value).reduce(f64::max);
    let mut pooled = each().next().cloned().unwrap_or_default();
    pooled.valid = each().all(|fidelity| fidelity.valid);
    for fidelity in each() {
        let (worst, late) = (&mut pooled.lateness_ms, &fidelity.lateness_ms);
        worst.p50 = worst.p50.max(late.p50);
        worst.p99 = worst.p99.max(late.p99);
        worst.p99_9 = worst.p99_9.max(late.p99_9);
        worst.max = worst.max.max(late.max);
    }
    pooled.prompt_tokens_error = worst(|fidelity| fidelity.prompt_tokens_error);
    pooled.output_tokens_error = worst(|fidelity| fidelity.output_tokens_error);
    pooled.prompt_tokens_errors = worst_errors(each().filter_map(|it| it.prompt_tokens_errors));
    pooled.output_tokens_errors = worst_errors(each().filter_map(|it| it.output_tokens_errors));
    let arrivals: Vec<&ArrivalProcess> = each().filter_map(|it| it.arrivals.as_ref()).collect();
    pooled.arrivals = ArrivalProcess::pooled(&arrivals);
    // The run that is furthest from the trace.
    let off = |it: &&Fidelity| {
        let shares = it.prefix_share_sent.zip(it.prefix_share_recorded);
        shares.map_or(0.0, |(sent, recorded)| (sent - recorded).abs())
    };
    if let Some(furthest) = each().max_by(|a, b| off(a).total_cmp(&off(b))) {
        pooled.prefix_share_recorded = furthest.prefix_share_recorded;
        pooled.prefix_share_sent = furthest.prefix_share_sent;
    }
    pooled.prefix_share_cached = worst(|fidelity| fidelity.prefix_share_cached);
    for alteration in each().flat_map(|fidelity| &fidelity.alterations) {
        if !pooled.alterations.contains(alteration) {
            pooled.alterations.push(alteration.clone());
        }
    }
    pooled.heartbeat_p99_ms = worst(|fidelity| fidelity.heartbeat_p99_ms);
    pooled.cpu_share = worst(|fidelity| fidelity.cpu_share);
    // What is true of every run is said once.
    let of_all = |reason: &String| each().all(|fidelity| fidelity.reasons.contains(reason));
    let mut reasons: Vec<String> = Vec::new();
    for (fidelity, number) in each().zip(1..) {
        for reason in &fidelity.reasons {
            let told = if of_all(reason) {
                reason.clone()
            } else {
                format!("run {number}: {reason}")
            };
            if !reasons.contains(&told) {
                reasons.push(told);
            }
        }
    }
    pooled.reasons = reasons;
    pooled
}

/// Each quantile of the run in which it is largest.
fn worst_errors(runs: impl Iterator<Item = ErrorQuantiles>) -> Option<ErrorQuantiles> {
    runs.reduce(|worst, run| ErrorQuantiles {
        p50: worst.p50.max(run.p50),
        p99: worst.p99.max(run.p99),
        max: worst.max.max(run.max),
    })
}

/// The engine over all runs: peaks are of the worst, preemptions are added up, and the hit rate is the mean over runs.
fn engine(runs: &[&TargetSummary]) -> Option<EngineSummary> {
    let told: Vec<&EngineSummary> = runs.iter().filter_map(|run| run.engine.as_ref()).collect();
    let most = |value: fn(&EngineSummary) -> Option<f64>| {
        told.iter()
            .filter_map(|engine| value(engine))
            .reduce(f64::max)
    };
    let preempted = told.iter().filter_map(|engine| engine.preemptions);
    Some(EngineSummary {
        kv_cache_peak: most(|engine| engine.kv_cache_peak),
        running_peak: most(|engine| engine.running_peak),
        waiting_peak: most(|engine| engine.waiting_peak),
        preemptions: preempted.reduce(|sum, more| sum + more),
        restarts: told
            .iter()
            .filter_map(|engine| engine.restarts)
            .reduce(|sum, more| sum + more),
        fragmentation_peak: most(|engine| engine.fragmentation_peak),
        prefix_hit_rate: mean(told.iter().filter_map(|engine| engine.prefix_hit_rate)),
        samples: told.iter().map(|engine| engine.samples).sum(),
        missed: told.iter().map(|engine| engine.missed).sum(),
        state: told.iter().find_map(|engine| engine.state.clone()),
        ..(*told.first()?).clone()
    })
}

/// Each GPU over all runs: the memory at the start of the first and at the end of the last, and the highest peak.
fn gpus(runs: &[&TargetSummary]) -> Vec<GpuSummary> {
    let mut pooled: Vec<GpuSummary> = Vec::new();
    for gpu in runs.iter().flat_map(|run| &run.gpu) {
        let known = pooled.iter_mut().find(|known| {
            (known.source == gpu.source && known.index == gpu.index)
                && known.instance == gpu.instance
        });
        match known {
            None => pooled.push(gpu.clone()),
            Some(known) => {
                known.used_peak_bytes = known.used_peak_bytes.max(gpu.used_peak_bytes);
                known.used_end_bytes = gpu.used_end_bytes;
                known.samples += gpu.samples;
                if gpu.growth_bytes_per_s > known.growth_bytes_per_s {
                    known.growth_bytes_per_s = gpu.growth_bytes_per_s;
                    known.growth_ci95 = gpu.growth_ci95;
                    known.growth.clone_from(&gpu.growth);
                }
                known.state = known.state.take().or_else(|| gpu.state.clone());
            }
        }
    }
    pooled
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / float(n))
}

#[allow(clippy::cast_precision_loss, reason = "runs are few")]
fn float(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::super::observed::Observed;
    use super::*;
    use crate::measure::target::tests::outcome;
    use crate::measure::{GeneratorEvidence, MeasureOptions, TargetIdentity, TargetMeasure};

    fn run(took_us: u64, fault: Option<&str>) -> MeasuredRun {
        let mut measure = TargetMeasure::new(MeasureOptions::default());
        for i in 0..100 {
            measure.record(&outcome(i, i * 10_000, took_us));
        }
        let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
        let evidence = GeneratorEvidence {
            faults: fault.map(str::to_owned).into_iter().collect(),
            remarks: vec!["the trace lacks a file".to_owned()],
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
        assert_eq!(
            pooled.fidelity.reasons,
            ["the trace lacks a file", "run 2: sends were late"]
        );
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
}

//! What several runs add up to, figure by figure.

use std::collections::BTreeMap;

use super::super::arrival_process::ArrivalProcess;
use crate::measure::{
    EngineSummary, ErrorQuantiles, Fidelity, Goodput, GpuSummary, MeasuredWindow, Requests,
    TargetSummary, Throughput,
};

pub(super) fn requests(runs: &[&TargetSummary]) -> Requests {
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
pub(super) fn window(runs: &[&TargetSummary]) -> MeasuredWindow {
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

pub(super) fn throughput(runs: &[&TargetSummary]) -> Throughput {
    let mean_of = |value: fn(&Throughput) -> Option<f64>| {
        mean(runs.iter().filter_map(|run| value(&run.throughput)))
    };
    Throughput {
        requests_per_s: mean_of(|rates| Some(rates.requests_per_s)).unwrap_or(0.0),
        input_tokens_per_s: mean_of(|rates| rates.input_tokens_per_s),
        output_tokens_per_s: mean_of(|rates| rates.output_tokens_per_s),
    }
}

pub(super) fn goodput(runs: &[&TargetSummary]) -> Option<Goodput> {
    let each = || runs.iter().filter_map(|run| run.goodput.as_ref());
    Some(Goodput {
        rate: mean(each().map(|goodput| goodput.rate))?,
        requests_per_s: mean(each().map(|goodput| goodput.requests_per_s))?,
    })
}

/// The worst of every run, and every reason with the run that it is of.
pub(super) fn fidelity(runs: &[&TargetSummary]) -> Fidelity {
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
    pooled.alterations = altered_in_all(each().flat_map(|fidelity| &fidelity.alterations));
    pooled.heartbeat_p99_ms = worst(|fidelity| fidelity.heartbeat_p99_ms);
    pooled.cpu_share = worst(|fidelity| fidelity.cpu_share);
    let said = |list: fn(&Fidelity) -> &Vec<String>| {
        let runs = each().zip(1..);
        said_by_each(runs.map(|(it, number)| (format!("run {number}"), &list(it)[..])))
    };
    pooled.reasons = said(|fidelity| &fidelity.reasons);
    pooled.remarks = said(|fidelity| &fidelity.remarks);
    pooled
}

/// Alterations of runs or shards, with their counts added up: each is a sentence with `(N requests)` at its end.
pub(crate) fn altered_in_all<'a>(each: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for told in each {
        let parsed = told.strip_suffix(" requests)").and_then(|told| {
            let (what, n) = told.rsplit_once(" (")?;
            Some((what, n.parse::<u64>().ok()?))
        });
        let (what, n) = parsed.unwrap_or((told, 0));
        *counts.entry(what).or_default() += n;
    }
    let sentence = |(what, n): (&str, u64)| match n {
        0 => what.to_owned(),
        n => format!("{what} ({n} requests)"),
    };
    counts.into_iter().map(sentence).collect()
}

/// What runs or shards, each with its name, say of themselves: what is true of all is said once, anything else by whose it is.
pub(crate) fn said_by_each<'a>(parts: impl Iterator<Item = (String, &'a [String])>) -> Vec<String> {
    let parts: Vec<_> = parts.collect();
    let mut said: Vec<String> = Vec::new();
    for (name, sentences) in &parts {
        for sentence in *sentences {
            let told = match parts.iter().all(|(_, other)| other.contains(sentence)) {
                true => sentence.clone(),
                false => format!("{name}: {sentence}"),
            };
            if !said.contains(&told) {
                said.push(told);
            }
        }
    }
    said
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
pub(super) fn engine(runs: &[&TargetSummary]) -> Option<EngineSummary> {
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
        // Of a run whose page was never to be had there is no more than that.
        ..(*told
            .iter()
            .find(|engine| engine.samples > 0)
            .or(told.first())?)
        .clone()
    })
}

/// Each GPU over all runs: the memory at the start of the first and at the end of the last, and the highest peak.
pub(super) fn gpus(runs: &[&TargetSummary]) -> Vec<GpuSummary> {
    let mut pooled: Vec<GpuSummary> = Vec::new();
    for run in runs {
        // Those of one run are different ones, though two hosts' exporters may give both the same index.
        let mut open: Vec<usize> = (0..pooled.len()).collect();
        for gpu in &run.gpu {
            let is_known = |&place: &usize| pooled.get(place).is_some_and(|one| is_same(one, gpu));
            match open.iter().position(is_known) {
                None => pooled.push(gpu.clone()),
                Some(at) => {
                    let place = open.remove(at);
                    if let Some(known) = pooled.get_mut(place) {
                        add(known, gpu);
                    }
                }
            }
        }
    }
    pooled
}

fn is_same(one: &GpuSummary, other: &GpuSummary) -> bool {
    let place = |gpu: &GpuSummary| (gpu.index, gpu.instance);
    let uuids = one.uuid.as_ref().zip(other.uuid.as_ref());
    one.source == other.source
        && place(one) == place(other)
        && uuids.is_none_or(|(one, other)| one == other)
}

/// Takes another run's figures of a GPU in.
fn add(known: &mut GpuSummary, gpu: &GpuSummary) {
    known.used_peak_bytes = known.used_peak_bytes.max(gpu.used_peak_bytes);
    known.used_end_bytes = gpu.used_end_bytes;
    known.samples += gpu.samples;
    known.xids.extend_from_slice(&gpu.xids);
    // A leak of one run is not hidden by what grew more in another, perhaps by chance.
    let growth = |gpu: &GpuSummary| {
        let leaks = gpu.growth.as_ref().is_some_and(|growth| growth.leak);
        (leaks, gpu.growth_bytes_per_s)
    };
    if growth(gpu) > growth(known) {
        known.growth_bytes_per_s = gpu.growth_bytes_per_s;
        known.growth_ci95 = gpu.growth_ci95;
        known.growth.clone_from(&gpu.growth);
    }
    known.state = known.state.take().or_else(|| gpu.state.clone());
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / float(n))
}

#[allow(clippy::cast_precision_loss, reason = "runs are few")]
pub(super) fn float(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alterations_of_runs_and_shards_add_up() {
        let told = [
            "media left out (3 requests)",
            "media left out (4 requests)",
            "odd",
        ];
        let told = told.map(str::to_owned);
        assert_eq!(
            altered_in_all(told.iter()),
            ["media left out (7 requests)", "odd"]
        );
    }
}

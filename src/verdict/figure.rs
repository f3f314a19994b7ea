use super::objective::{Metric, Objective, Statistic, Unit};
use crate::measure::{EngineSummary, GpuSummary, LatencySummary, TargetSummary};
use crate::wording::{apart, counted};

/// What a target's summary says of what an objective is about.
pub(super) enum Figure {
    Value(f64),
    /// The figure is infinite: it lies among the failures.
    Unbounded(String),
    Absent(String),
}

/// The figure that an objective is about.
pub(super) fn figure(objective: &Objective, target: &TargetSummary) -> Figure {
    let absent = |what: &str| Figure::Absent(format!("{what} was not measured"));
    let known = |value: Option<f64>, what: &str| value.map_or_else(|| absent(what), Figure::Value);
    let requests = &target.requests;
    match objective.metric {
        Metric::Ttft => latency(target.latency.get("ttft_ms"), objective.statistic, "TTFT"),
        Metric::Itl => latency(target.latency.get("itl_ms"), objective.statistic, "ITL"),
        Metric::Tpot => latency(target.latency.get("tpot_ms"), objective.statistic, "TPOT"),
        Metric::E2e => latency(target.latency.get("e2e_ms"), objective.statistic, "E2E"),
        Metric::Errors => {
            let judged = requests.planned - requests.cancelled;
            known((judged > 0).then(|| float(requests.failed) / float(judged)), "the share of errors")
        }
        Metric::Requests => Figure::Value(float(requests.failed)),
        Metric::Goodput => match (&target.goodput, objective.statistic) {
            (None, _) => Figure::Absent(
                "goodput needs a bound on ttft, tpot or e2e among the objectives, such as ttft.p99<800ms".to_owned(),
            ),
            (Some(goodput), Statistic::Rate) => Figure::Value(goodput.rate),
            (Some(goodput), _) => Figure::Value(goodput.requests_per_s),
        },
        Metric::Throughput => match objective.statistic {
            Statistic::RequestsPerS => Figure::Value(target.throughput.requests_per_s),
            _ => known(target.throughput.output_tokens_per_s, "the rate of output tokens"),
        },
        Metric::Oom => Figure::Value(float(target.oom.count)),
        Metric::Vram if objective.statistic == Statistic::Growth => known(
            grown(target).map(|gpu| gpu.per_s).reduce(f64::max),
            "growth of GPU memory",
        ),
        Metric::Vram => {
            let peak = target.gpu.iter().map(|gpu| float(gpu.used_peak_bytes)).reduce(f64::max);
            known(peak, "GPU memory")
        }
        Metric::KvCache => engine(target, "KV cache", |engine| engine.kv_cache_peak),
        Metric::Preemptions => engine(target, "count of preemptions", |engine| engine.preemptions),
        Metric::Waiting => engine(target, "queue", |engine| engine.waiting_peak),
        Metric::Quality => quality(target, objective.statistic),
    }
}

/// How a GPU's memory grew.
pub(super) struct Grown<'a> {
    pub(super) gpu: &'a GpuSummary,
    pub(super) per_s: f64,
    /// Between which values that may as well lie, and why; `None` where it is to be taken as it is. A leak is; what grows by chance is not.
    pub(super) between: Option<((f64, f64), String)>,
}

/// The growth of each GPU that has one.
pub(super) fn grown(target: &TargetSummary) -> impl Iterator<Item = Grown<'_>> {
    target.gpu.iter().filter_map(|gpu| {
        let between = match &gpu.growth {
            Some(growth) if growth.leak => None,
            Some(growth) => Some((growth.ci95, growth.reason.clone())),
            None => gpu.growth_ci95.map(|(low, high)| {
                let (low_words, high_words) =
                    (show(low, Unit::BytesPerSecond), show(high, Unit::BytesPerSecond));
                let why = format!(
                    "between {low_words} and {high_words} (95 %), in a run too short to tell it apart from the load"
                );
                ((low, high), why)
            }),
        };
        Some(Grown {
            gpu,
            per_s: gpu.growth_bytes_per_s?,
            between,
        })
    })
}

fn quality(target: &TargetSummary, statistic: Statistic) -> Figure {
    let absent = |why: &str| Figure::Absent(format!("quality under load was not measured: {why}"));
    let Some(quality) = &target.quality else {
        return absent("no evaluator was run; give --probe");
    };
    let why = quality
        .problems
        .first()
        .map_or("the evaluator ran no test", String::as_str);
    let Some(loaded) = &quality.loaded else {
        return absent(why);
    };
    match statistic {
        // An evaluation that was not of this target, or not under load, is no figure of it.
        _ if !quality.problems.is_empty() => absent(why),
        Statistic::CanaryIdentical | Statistic::CanaryDistance => {
            let canary = quality.canary.as_ref();
            match canary.and_then(|canary| canary.loaded.as_ref()) {
                None => absent("its answers were not compared; --probe canary does"),
                Some(pairs) if statistic == Statistic::CanaryIdentical => {
                    Figure::Value(pairs.identical_rate)
                }
                Some(pairs) => Figure::Value(pairs.distance_mean),
            }
        }
        Statistic::Score => loaded
            .score_mean
            .map_or_else(|| absent("its tests have no scores"), Figure::Value),
        Statistic::Flips if quality.change.is_none() => absent(why),
        Statistic::Flips => Figure::Value(float(quality.flips.0)),
        _ => Figure::Value(loaded.pass_rate),
    }
}

fn engine(target: &TargetSummary, what: &str, value: fn(&EngineSummary) -> Option<f64>) -> Figure {
    match target.engine.as_ref().map(|engine| (engine, value(engine))) {
        Some((_, Some(value))) => Figure::Value(value),
        Some((engine, None)) => {
            let why = engine.state.as_deref().unwrap_or("its page does not tell");
            Figure::Absent(format!(
                "the engine's {what} was not measured: {why} ({})",
                engine.url
            ))
        }
        None => Figure::Absent(format!(
            "the engine's {what} was not measured: no /metrics page of an engine was read; name it with --engine-metrics URL"
        )),
    }
}

impl Statistic {
    /// This figure of a latency, in milliseconds; `None` where it lies among the failures, or nothing was measured.
    pub fn of(self, summary: &LatencySummary) -> Option<f64> {
        match self {
            Self::P50 => summary.p50,
            Self::P90 => summary.p90,
            Self::P95 => summary.p95,
            Self::P99 => summary.p99,
            Self::P99_9 => summary.p99_9,
            Self::Mean => summary.mean,
            _ => summary.max,
        }
    }
}

fn latency(summary: Option<&LatencySummary>, statistic: Statistic, name: &str) -> Figure {
    let Some(summary) = summary else {
        return Figure::Absent(format!("{name} was not measured"));
    };
    match statistic.of(summary) {
        Some(value) => Figure::Value(value),
        None if summary.misses > 0 => {
            let total = summary.count + summary.misses;
            Figure::Unbounded(format!(
                "it lies among the failures: {} of {} failed",
                summary.misses,
                counted(total, "request")
            ))
        }
        None => Figure::Absent(format!("{name} was not measured")),
    }
}

/// A figure for people.
pub(super) fn show(value: f64, unit: Unit) -> String {
    precisely(value, value, unit, 0)
}

/// `0.20 % against 0.10 %`: a figure and what it is held to, which are seen to differ where they do. Figures that are near each other are told in
/// one unit, or 999.9 ms against 1.00 s would read as the same.
pub(super) fn held_against(value: f64, bound: f64, unit: Unit) -> String {
    let (least, most) = (value.min(bound), value.max(bound));
    let near = least > 0.0 && most < 2.0 * least;
    let (value, bound) = apart((value, bound), |value, more| {
        precisely(value, if near { most } else { value }, unit, more)
    });
    format!("{value} against {bound}")
}

/// A figure with so many more digits than usual, and in the unit and with the digits that `like` has.
fn precisely(value: f64, like: f64, unit: Unit, more: usize) -> String {
    let (scaled, digits, name) = match unit {
        Unit::Milliseconds if like >= 10_000.0 => (value / 1000.0, 1, " s"),
        Unit::Milliseconds if like >= 1000.0 => (value / 1000.0, 2, " s"),
        Unit::Milliseconds if like >= 100.0 => (value, 0, " ms"),
        Unit::Milliseconds => (value, 2, " ms"),
        Unit::Share => (value * 100.0, 2, " %"),
        Unit::Bytes => (value / 1_073_741_824.0, 2, " GiB"),
        Unit::BytesPerSecond => (value / 1_048_576.0, 2, " MiB/s"),
        Unit::Distance => (value, 3, ""),
        // A bound may lie between two.
        Unit::Count if value.fract() == 0.0 => return format!("{value:.0}"),
        Unit::Count | Unit::Number => (value, 1, ""),
    };
    format!("{scaled:.*}{name}", digits + more)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts and bytes stay below 2^53"
)]
/// For figures; counts and bytes are exact.
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_told_in_its_own_unit_and_apart_from_its_bound() {
        for (value, bound, unit, told) in [
            (1.0, 0.0, Unit::Count, "1 against 0"),
            (3.0, 2.5, Unit::Count, "3 against 2.5"),
            (0.004, 0.02, Unit::Distance, "0.004 against 0.020"),
            (0.25, 0.1, Unit::Share, "25.00 % against 10.00 %"),
            (0.001_004, 0.001, Unit::Share, "0.1004 % against 0.1000 %"),
            (
                800.4,
                800.0,
                Unit::Milliseconds,
                "800.4 ms against 800.0 ms",
            ),
            (
                999.9,
                1000.0,
                Unit::Milliseconds,
                "0.9999 s against 1.0000 s",
            ),
            (
                99.98,
                100.0,
                Unit::Milliseconds,
                "99.98 ms against 100.00 ms",
            ),
            (
                9_999.0,
                10_002.0,
                Unit::Milliseconds,
                "9.999 s against 10.002 s",
            ),
            (1200.0, 800.0, Unit::Milliseconds, "1.20 s against 0.80 s"),
            (
                12.0,
                15_000.0,
                Unit::Milliseconds,
                "12.00 ms against 15.0 s",
            ),
            (11.4, 105.0, Unit::Milliseconds, "11.40 ms against 105 ms"),
            (0.87, 0.85, Unit::Number, "0.9 against 0.8"),
            (800.0, 800.0, Unit::Milliseconds, "800 ms against 800 ms"),
        ] {
            assert_eq!(held_against(value, bound, unit), told);
        }
    }
}

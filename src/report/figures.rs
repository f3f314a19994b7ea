//! How figures are written for people, the same in every rendering, and the table that they all show.

use super::document::ResultDocument;
use super::fidelity;
use crate::measure::{
    AnswerPairs, CanarySummary, EngineSummary, LatencySummary, PairedFigure, PhaseQuality, Scope,
    TargetSummary,
};
use crate::verdict::{ObjectiveStatus, Status, Verdict};

/// A latency in milliseconds: three digits are enough, and more than three are not true.
pub(super) fn ms(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => format!("{:.1} s", value / 1000.0),
        v if v >= 1000.0 => format!("{:.2} s", value / 1000.0),
        v if v >= 100.0 => format!("{value:.0} ms"),
        v if v >= 10.0 => format!("{value:.1} ms"),
        v if v >= 0.1 => format!("{value:.2} ms"),
        _ => format!("{:.0} µs", value * 1000.0),
    }
}

pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value == 0.0 || value.abs() >= 10.0 {
        format!("{value:.0} %")
    } else {
        format!("{value:.2} %")
    }
}

pub(super) fn gib(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let value = bytes as f64 / 1_073_741_824.0;
    format!("{value:.2} GiB")
}

pub(super) fn number(value: f64) -> String {
    if value >= 100.0 {
        whole(value)
    } else {
        format!("{value:.2}")
    }
}

/// How many answers were the same, and how far the others were from each other.
fn same_answers(
    target: &TargetSummary,
    pairs: fn(&CanarySummary) -> Option<&AnswerPairs>,
) -> Option<String> {
    let pairs = pairs(target.quality.as_ref()?.canary.as_ref()?)?;
    let distance = match pairs.n - pairs.identical {
        0 => String::new(),
        _ => format!(", mean distance {}", percent(pairs.distance_mean)),
    };
    Some(format!(
        "{} of {}{distance}",
        count(pairs.identical),
        count(pairs.n)
    ))
}

/// A figure idle and under load, and between which values what it changed by lies.
pub(super) fn changed(figure: &PairedFigure, shown: fn(f64) -> String) -> String {
    let signed = |value: f64| {
        let sign = if value < 0.0 { "−" } else { "+" };
        format!("{sign}{}", shown(value.abs()))
    };
    let change = signed(figure.change);
    let interval = figure
        .change_ci95
        .map(|(low, high)| format!(" ({} – {})", signed(low), signed(high)));
    format!(
        "{} → {}: {change}{}",
        shown(figure.idle),
        shown(figure.loaded),
        interval.unwrap_or_default()
    )
}

fn passed(phase: &PhaseQuality) -> String {
    let (low, high) = phase.pass_rate_ci95;
    format!(
        "{} of {}: {} ({} – {})",
        count(phase.passed),
        count(phase.n),
        percent(phase.pass_rate),
        percent(low),
        percent(high)
    )
}

/// A count that a page told as a decimal number.
fn whole(value: f64) -> String {
    grouped(&format!("{value:.0}"))
}

/// `12,345`
pub(super) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// Of digits alone, without a sign.
fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub(super) fn seconds(value: f64) -> String {
    if value >= 120.0 {
        format!("{:.1} min", value / 60.0)
    } else {
        format!("{value:.1} s")
    }
}

pub(super) const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::Invalid => "invalid",
    }
}

/// The word at the head of a result: where nothing was judged, nothing has passed.
pub(super) fn stamp(verdict: &Verdict) -> &'static str {
    match verdict.status {
        Status::Pass if verdict.objectives.is_empty() => "measured",
        status => status_word(status),
    }
}

pub(super) const fn mark(status: ObjectiveStatus) -> &'static str {
    match status {
        ObjectiveStatus::Pass => "✓",
        ObjectiveStatus::Fail => "✗",
        ObjectiveStatus::Inconclusive => "~",
        ObjectiveStatus::NotMeasured => "?",
    }
}

pub(super) const fn objective_word(status: ObjectiveStatus) -> &'static str {
    match status {
        ObjectiveStatus::Pass => "met",
        ObjectiveStatus::Fail => "missed",
        ObjectiveStatus::Inconclusive => "inconclusive",
        ObjectiveStatus::NotMeasured => "not measured",
    }
}

/// A row of the table of targets: a label and a cell for each target; `None` where it was not measured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) cells: Vec<Option<String>>,
}

/// Targets side by side, and how true their replays were in brief. Rows that no target has are left out.
pub(super) fn rows(targets: &[TargetSummary]) -> Vec<Row> {
    let mut rows = measured(targets);
    rows.extend(fidelity::brief(targets));
    rows
}

/// What the intervals in [`rows`] are; `None` where no row has one.
pub(super) fn intervals(document: &ResultDocument) -> Option<String> {
    let targets = document.targets.iter();
    let mut latencies = targets.flat_map(|target| target.latency.values());
    latencies
        .any(|latency| latency.p99_ci95.is_some())
        .then(|| {
            format!(
                "in brackets: 95 % intervals, {}; ∞: too few requests for an upper end",
                of_what(document)
            )
        })
}

/// What an interval of a single figure speaks of.
pub(super) fn of_what(document: &ResultDocument) -> Scope {
    Scope::of(document.mirror.is_some(), 1)
}

/// The first part of [`rows`]: what the targets did.
pub(super) fn measured(targets: &[TargetSummary]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |label, cell: &dyn Fn(&TargetSummary) -> Option<String>| {
        let cells: Vec<_> = targets.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            rows.push(Row { label, cells });
        }
    };
    for (name, median, tail) in [
        ("ttft_ms", "TTFT p50", "TTFT p99"),
        ("itl_ms", "ITL p50", "ITL p99"),
        ("tpot_ms", "TPOT p50", "TPOT p99"),
        ("stall_ms", "Longest stall p50", "Longest stall p99"),
        ("e2e_ms", "E2E p50", "E2E p99"),
    ] {
        row(median, &|target| {
            quantile(target.latency.get(name)?, |latency| latency.p50)
        });
        row(tail, &|target| {
            let latency = target.latency.get(name)?;
            let told = |(low, high): (f64, Option<f64>)| {
                let high = high.map_or_else(|| "∞".to_owned(), ms);
                format!(" ({} – {high})", ms(low))
            };
            let interval = latency.p99_ci95.map_or_else(String::new, told);
            quantile(latency, |latency| latency.p99).map(|value| format!("{value}{interval}"))
        });
    }
    row("Requests / s", &|target| {
        Some(number(target.throughput.requests_per_s))
    });
    row("Output tokens / s", &|target| {
        target.throughput.output_tokens_per_s.map(number)
    });
    row("Answered", &|target| {
        Some(format!(
            "{} of {}",
            count(target.requests.ok),
            count(target.requests.planned)
        ))
    });
    row("Failed", &|target| {
        let kinds: Vec<String> = target
            .requests
            .errors
            .iter()
            .map(|(kind, n)| format!("{kind} {n}"))
            .collect();
        Some(match kinds.is_empty() {
            true => count(target.requests.failed),
            false => format!("{} ({})", count(target.requests.failed), kinds.join(", ")),
        })
    });
    row("Asked to retry later", &|target| {
        let asked = &target.requests.retry_after;
        (asked.requests > 0).then(|| {
            format!(
                "{} (after {} s at most)",
                count(asked.requests),
                count(asked.max_s)
            )
        })
    });
    row("Cancelled as recorded", &|target| {
        (target.requests.cancelled > 0).then(|| count(target.requests.cancelled))
    });
    row("Goodput", &|target| {
        let goodput = target.goodput.as_ref()?;
        Some(format!(
            "{} ({} / s)",
            percent(goodput.rate),
            number(goodput.requests_per_s)
        ))
    });
    row("VRAM peak", &|target| {
        target
            .gpu
            .iter()
            .map(|gpu| gpu.used_peak_bytes)
            .reduce(|a, b| a + b)
            .map(gib)
    });
    let engine = |target: &TargetSummary, value: fn(&EngineSummary) -> Option<String>| {
        target.engine.as_ref().and_then(value)
    };
    row("KV cache peak", &|target| {
        engine(target, |engine| engine.kv_cache_peak.map(percent))
    });
    row("Preemptions", &|target| {
        engine(target, |engine| engine.preemptions.map(whole))
    });
    row("Waiting in the engine, peak", &|target| {
        engine(target, |engine| engine.waiting_peak.map(whole))
    });
    row("Prefix hits told by the engine", &|target| {
        engine(target, |engine| engine.prefix_hit_rate.map(percent))
    });
    row("Tests passed, idle", &|target| {
        target.quality.as_ref()?.idle.as_ref().map(passed)
    });
    row("Tests passed, under load", &|target| {
        let quality = target.quality.as_ref()?;
        let loaded = quality.loaded.as_ref()?;
        Some(match quality.flips {
            (0, 0) => passed(loaded),
            (worse, better) => format!("{} ({worse} worsened, {better} improved)", passed(loaded)),
        })
    });
    row("Test scores, idle to load", &|target| {
        let score = target.quality.as_ref()?.score.as_ref()?;
        Some(changed(score, number))
    });
    row("Test latency (median), idle to load", &|target| {
        let latency = target.quality.as_ref()?.latency_ms.as_ref()?;
        Some(changed(latency, ms))
    });
    row("Canary answers unchanged, idle again", &|target| {
        same_answers(target, |canary| canary.idle.as_ref())
    });
    row("Canary answers unchanged, under load", &|target| {
        same_answers(target, |canary| canary.loaded.as_ref())
    });
    row("Canary answers as the first target's", &|target| {
        same_answers(target, |canary| canary.first.as_ref())
    });
    row("Tokens an event", &|target| {
        target
            .tokens_per_event
            .filter(|tokens| *tokens >= 1.05)
            .map(number)
    });
    rows
}

/// A quantile among the failures has no finite value, which is not the same as not having been measured.
fn quantile(
    latency: &LatencySummary,
    value: impl Fn(&LatencySummary) -> Option<f64>,
) -> Option<String> {
    match value(latency) {
        Some(value) => Some(ms(value)),
        None if latency.misses > 0 => Some("∞ (failed)".to_owned()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_true() {
        assert_eq!(
            [0.05, 0.5, 12.34, 123.4, 1234.0, 12345.0].map(ms),
            ["50 µs", "0.50 ms", "12.3 ms", "123 ms", "1.23 s", "12.3 s"]
        );
        assert_eq!([0.0, 0.001, 0.5].map(percent), ["0 %", "0.10 %", "50 %"]);
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.5, 99.996, 999.4, 999_999.5].map(number),
            ["0.50", "100.00", "999", "1,000,000"]
        );
    }
}

//! What a reader must know beside the figures, as sentences that every rendering tells in the same words.

use super::comparison::metric_words;
use super::document::{ResultDocument, ScheduleAccount};
use super::driver_errors::driver_errors;
use super::fidelity::replayed;
use super::figures::{count, ms, number, percent, seconds};
use super::loads::missed_it;
use crate::measure::{
    Boundary, ChangePoint, Comparison, ComparisonVerdict, MetricComparison, Misses, Spread,
    TargetSummary,
};
use crate::verdict::{ObjectiveResult, ObjectiveStatus, Status};
use crate::wording::counted;

/// The verdict in a sentence.
pub(super) fn headline(document: &ResultDocument) -> String {
    let objectives = &document.verdict.objectives;
    let missed = objectives
        .iter()
        .filter(|result| {
            matches!(
                result.status,
                ObjectiveStatus::Fail | ObjectiveStatus::NotMeasured
            )
        })
        .count();
    let open = objectives
        .iter()
        .filter(|result| result.status == ObjectiveStatus::Inconclusive)
        .count();
    match document.verdict.status {
        Status::Invalid => {
            "The measurement cannot be believed, so there is no verdict on the targets.".to_owned()
        }
        Status::Fail => format!(
            "{missed} of {} {} missed.",
            counted(objectives.len() as u64, "objective"),
            if missed == 1 { "was" } else { "were" }
        ),
        Status::Pass if objectives.is_empty() => {
            let believed = match document.mirror {
                Some(_) => "the measurement can be trusted",
                None => "every replay was faithful",
            };
            let failed: String = document.targets.iter().filter_map(failures).collect();
            format!("No objectives were set; {believed}.{failed}")
        }
        Status::Pass if open > 0 => format!(
            "None of {} was missed; {open} could not be decided.",
            counted(objectives.len() as u64, "objective")
        ),
        Status::Pass if objectives.len() == 1 => "The objective was met.".to_owned(),
        Status::Pass => format!("All {} objectives were met.", objectives.len()),
    }
}

/// How many of a target's requests failed: that they did is no verdict where none was asked for, but nobody should have to look for it.
fn failures(target: &TargetSummary) -> Option<String> {
    let requests = &target.requests;
    let judged = requests.planned - requests.cancelled;
    (replayed(target) && requests.failed > 0).then(|| {
        format!(
            " {} failed {} of {}.",
            target.name,
            count(requests.failed),
            counted(judged, "request")
        )
    })
}

/// Whether the figures can be believed, and by what that was seen: what comes before any figure.
pub(super) fn validity(document: &ResultDocument) -> String {
    let replays: Vec<&TargetSummary> = document.targets.iter().filter(|t| replayed(t)).collect();
    if document.verdict.status == Status::Invalid {
        return "Not valid: these figures say more of the measurement than of a target.".to_owned();
    }
    let worst = |value: fn(&TargetSummary) -> Option<f64>| {
        replays
            .iter()
            .filter_map(|target| value(target))
            .reduce(f64::max)
    };
    let mut seen = Vec::new();
    seen.extend(
        worst(|target| Some(target.fidelity.lateness_ms.p99))
            .map(|late| format!("sends at most {} late at P99", ms(late))),
    );
    seen.extend(
        worst(|target| target.fidelity.prompt_tokens_error)
            .map(|off| format!("prompts {} off", percent(off))),
    );
    seen.extend(
        worst(|target| target.fidelity.output_tokens_error)
            .map(|off| format!("answers {} off", percent(off))),
    );
    format!("Valid: {}.", seen.join(", "))
}

/// A sentence for each target that only queued.
pub(super) fn saturations(targets: &[TargetSummary]) -> impl Iterator<Item = String> {
    targets.iter().filter_map(|target| {
        let why = target.saturated.as_deref()?;
        let why = why.strip_prefix("saturated: ").unwrap_or(why);
        Some(format!("{} is saturated: {why}.", target.name))
    })
}

/// What was mirrored, where no trace was replayed.
pub(super) fn live(document: &ResultDocument) -> Option<String> {
    let mirror = document.mirror.as_ref()?;
    Some(format!(
        "{} requests of live traffic over {}, of {} of the conversations, sent as production's clients sent them",
        count(document.plan.planned),
        seconds(document.plan.span_s),
        percent(mirror.share),
    ))
}

/// A sentence for each moment at which a replayed target changed its course; of several runs those of the first, and which others did.
pub(super) fn changes(targets: &[TargetSummary]) -> impl Iterator<Item = String> {
    let replays = targets.iter().filter(|target| replayed(target));
    replays.flat_map(|target| {
        let place = match target.runs.is_empty() {
            true => "",
            false => ", in its first run",
        };
        let told = move |change| changed(target, place, change);
        target.changes.iter().map(told).chain(others(target))
    })
}

/// Which of the runs after the first changed their course, if any did.
fn others(target: &TargetSummary) -> Option<String> {
    let later = target.runs.iter().skip(1);
    let changed: Vec<String> = later
        .filter(|run| !run.changes.is_empty())
        .map(|run| run.run.to_string())
        .collect();
    (!changed.is_empty()).then(|| {
        format!(
            "{}: run {} changed its course, too (`runs[].changes` in result.json).",
            target.name,
            changed.join(", run ")
        )
    })
}

fn changed(target: &TargetSummary, place: &str, change: &ChangePoint) -> String {
    let (what, show): (_, fn(f64) -> String) = match change.metric {
        "ttft_p50_ms" => ("the median TTFT", ms),
        "e2e_p50_ms" => ("the median E2E", ms),
        _ => ("output tokens / s", number),
    };
    format!(
        "{}: from {} on{place}, {what} went from {} to {}.",
        target.name,
        seconds(change.t_s),
        show(change.before),
        show(change.after)
    )
}

/// At what load each memory of a target runs out, and why the engine or the evaluator told nothing where they did not: a sentence for
/// each.
pub(super) fn beside_the_requests(targets: &[TargetSummary]) -> impl Iterator<Item = String> {
    targets.iter().flat_map(|target| {
        let memory = target.memory.as_ref();
        let boundary = |name, boundary: Option<&Boundary>| {
            boundary.map(|it| format!("{}: {name}: {}.", target.name, it.reason))
        };
        let engine = target
            .engine
            .as_ref()
            .and_then(|engine| engine.state.as_ref());
        let judged = target
            .quality
            .as_ref()
            .map(|quality| {
                [&quality.problems[..], &quality.remarks[..]]
                    .concat()
                    .join("; ")
            })
            .filter(|told| !told.is_empty());
        [
            boundary(
                "KV cache",
                memory.and_then(|memory| memory.kv_cache.as_ref()),
            ),
            boundary("VRAM", memory.and_then(|memory| memory.vram.as_ref())),
            cliffs(target),
            leaks(target),
            ran_out(target),
            driver_errors(&target.gpu).map(|told| format!("{}: {told}", target.name)),
            engine.map(|state| format!("{}: the engine's figures: {state}.", target.name)),
            judged.map(|told| format!("{}: quality: {told}.", target.name)),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
    })
}

/// From which load on it was worse at once.
fn cliffs(target: &TargetSummary) -> Option<String> {
    let told: Vec<String> = target
        .cliffs
        .iter()
        .map(|cliff| {
            let from = format!(
                "{}: from some {:.0} tokens in flight on, ",
                target.name, cliff.in_flight_tokens
            );
            match cliff.metric.as_str() {
                "tpot_ms" => format!(
                    "{from}the median TPOT is {}, where {} would follow from what it is below: a cliff.",
                    ms(cliff.after),
                    ms(cliff.before)
                ),
                _ => format!("{from}{} preemptions / s.", number(cliff.after)),
            }
        })
        .collect();
    (!told.is_empty()).then(|| told.join(" "))
}

/// That a memory grows whatever the load.
fn leaks(target: &TargetSummary) -> Option<String> {
    let gpus = target.gpu.iter().filter_map(|gpu| {
        let growth = gpu.growth.as_ref()?;
        Some((format!("GPU {} ({})", gpu.index, gpu.source), growth))
    });
    let host = target.engine.as_ref().and_then(|engine| {
        let growth = engine.host_memory.as_ref()?.growth.as_ref()?;
        Some(("the engine's process".to_owned(), growth))
    });
    let told: Vec<String> = gpus
        .chain(host)
        .filter(|(_, growth)| growth.leak)
        .map(|(what, growth)| format!("{}: memory of {what}: {}.", target.name, growth.reason))
        .collect();
    (!told.is_empty()).then(|| told.join(" "))
}

/// How often memory ran out, and at what load first.
fn ran_out(target: &TargetSummary) -> Option<String> {
    if target.oom.is_none() {
        return None;
    }
    let mut told = format!(
        "{}: memory ran out {}",
        target.name,
        match target.oom.count {
            1 => "once".to_owned(),
            many => format!("{many} times"),
        }
    );
    if let Some(first) = target.oom.events.first() {
        let full = |name: &str, share: Option<f64>| {
            share.map_or_else(String::new, |share| {
                format!(", {name} {} full", percent(share))
            })
        };
        told += &format!(
            ", first at {} with {:.0} tokens in flight{}{}",
            seconds(first.t_s),
            first.in_flight_tokens,
            full("VRAM", first.vram),
            full("the KV cache", first.kv_cache)
        );
    }
    Some(told + ".")
}

/// Where the measured window of a target lies.
pub(super) fn window(target: &TargetSummary) -> String {
    let window = &target.window;
    let mut text = String::new();
    if window.prelude_s > 0.0 {
        text = format!(
            "prelude of {} ({} requests, sent and not measured), ",
            seconds(window.prelude_s),
            count(window.prelude_requests)
        );
    }
    text += &format!(
        "measured {}, drained {}",
        seconds(window.measured_s),
        seconds(window.drain_s)
    );
    if let Some(rate) = window.requests_per_s {
        text += &format!("; {} requests / s without the drain", number(rate));
    }
    if target.runs.len() > 1 {
        text += "; lengths and rates are means over runs";
    }
    text
}

/// What else a reader should know of a replay, whether valid or not, and what was sent otherwise than recorded.
pub(super) fn notes(target: &TargetSummary) -> Vec<String> {
    let fidelity = &target.fidelity;
    let remarks = fidelity.remarks.iter().map(|remark| format!("{remark}."));
    let altered = fidelity.alterations.iter();
    remarks
        .chain(altered.map(|alteration| format!("Altered: {alteration}.")))
        .collect()
}

/// How a figure of a target varied from run to run.
pub(super) struct SpreadRow<'a> {
    pub(super) target: &'a str,
    /// `TTFT p99`
    pub(super) figure: String,
    pub(super) range: String,
    pub(super) mean: String,
    /// Of the mean, over runs.
    pub(super) interval: String,
}

/// Medians and tails of every target that was run several times.
pub(super) fn spreads(targets: &[TargetSummary]) -> Vec<SpreadRow<'_>> {
    let names = ["ttft", "itl", "tpot", "e2e"];
    let figures = names.map(|name| ["p50", "p99"].map(|quantile| (name, quantile)));
    let figures = || figures.iter().flatten();
    let of = |target: &'_ TargetSummary, name: &str, quantile: &str| {
        let key = format!("{name}_ms.{quantile}");
        target.spread.get(&key).copied()
    };
    let mut rows = Vec::new();
    for target in targets {
        for (name, quantile) in figures() {
            rows.extend(of(target, name, quantile).map(|spread| SpreadRow {
                target: &target.name,
                figure: metric_words(&format!("{name}.{quantile}")),
                range: range(&spread),
                mean: ms(spread.mean),
                interval: spread.ci95.map_or_else(
                    || "–".to_owned(),
                    |(low, high)| format!("{} – {}", ms(low), ms(high)),
                ),
            }));
        }
    }
    rows
}

fn range(spread: &Spread) -> String {
    match spread.runs - spread.finite {
        0 => format!("{} – {}", ms(spread.min), ms(spread.max)),
        infinite => format!(
            "{} – ∞ ({infinite} of {} runs)",
            ms(spread.min),
            spread.runs
        ),
    }
}

/// `a, b, b, a (abba)`
pub(super) fn order(schedule: &ScheduleAccount) -> String {
    let rounds: Vec<String> = schedule
        .rounds
        .iter()
        .map(|round| {
            let names: Vec<&str> = round.iter().map(|run| run.target.as_str()).collect();
            names.join(" + ")
        })
        .collect();
    let separator = match schedule.order.as_str() {
        "interleaved" => ", then ",
        _ => ", ",
    };
    format!("{} ({})", rounds.join(separator), schedule.order)
}

/// How many requests missed an objective on its target, where it is about single requests.
pub(super) fn misses<'a>(
    document: &'a ResultDocument,
    objective: &ObjectiveResult,
) -> Option<&'a Misses> {
    let mut targets = document.targets.iter();
    let target = targets.find(|target| target.name == objective.target)?;
    target.misses.iter().find(|m| m.expr == objective.expr)
}

/// Why an objective ended as it did, with how many requests missed it.
pub(super) fn reason(document: &ResultDocument, objective: &ObjectiveResult) -> String {
    match misses(document, objective) {
        Some(misses) => format!("{}; {}", objective.reason, missed_it(misses)),
        None => objective.reason.clone(),
    }
}

/// What a comparison was of.
pub(super) fn scope(comparison: &Comparison) -> String {
    format!(
        "{} against {}: {} requests; {}; a latency up to {} longer counts as no worse",
        comparison.target,
        comparison.baseline,
        count(comparison.pairs),
        comparison.scope,
        percent(comparison.margin)
    )
}

/// Worse, not worse, or what would tell.
pub(super) fn compared(comparison: &Comparison, figures: &MetricComparison) -> String {
    let words = verdict_words(figures.verdict);
    let lost = figures.baseline_ms.is_none() && figures.target_ms.is_none();
    if lost && figures.verdict == ComparisonVerdict::Inconclusive {
        return format!("{words} (among the failed requests of both)");
    }
    if let Some(needed) = figures.pairs_needed {
        return format!(
            "{words} (too few for an interval, which takes {})",
            count(needed)
        );
    }
    match figures.more_runs {
        Some(more) => format!(
            "{words} (about {} would tell)",
            comparison.scope.would_tell(more)
        ),
        None => words.to_owned(),
    }
}

pub(super) const fn verdict_words(verdict: ComparisonVerdict) -> &'static str {
    match verdict {
        ComparisonVerdict::Worse => "worse",
        ComparisonVerdict::NotWorse => "not worse",
        ComparisonVerdict::Inconclusive => "inconclusive",
        ComparisonVerdict::UnlikeLoad => "unlike load",
    }
}

/// How many figures of a comparison are what: `2 of 9 worse, 1 of 9 inconclusive`.
pub(super) fn in_short(comparison: &Comparison) -> String {
    let count = |verdict| {
        let figures = comparison.metrics.values();
        figures.filter(|figure| figure.verdict == verdict).count()
    };
    let all = comparison.metrics.len();
    let said = [
        ComparisonVerdict::Worse,
        ComparisonVerdict::Inconclusive,
        ComparisonVerdict::UnlikeLoad,
    ]
    .map(|verdict| (count(verdict), verdict_words(verdict)));
    let told: Vec<String> = said
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} of {all} {word}"))
        .collect();
    match told.is_empty() {
        true if all == 0 => String::new(),
        true => format!("none of {all} worse"),
        false => told.join(", "),
    }
}

/// What to know of a comparison beside its figures.
pub(super) fn aside(comparison: &Comparison) -> impl Iterator<Item = String> {
    unlike_load(comparison)
        .into_iter()
        .chain(comparison.remarks.iter().cloned())
}

/// That two targets were not under the same load, so that nothing can be said.
pub(super) fn unlike_load(comparison: &Comparison) -> Option<String> {
    let load = comparison.load.as_ref().filter(|load| load.differs)?;
    let tokens = load.tokens.map_or_else(String::new, |tokens| {
        format!(" and {:.1} % of its tokens", tokens * 100.0)
    });
    Some(format!(
        "no verdict: {} was sent {:.1} % of {}'s requests a second{tokens}, over 2 % apart",
        comparison.target,
        load.requests * 100.0,
        comparison.baseline
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{CompareOptions, Scope, Side, compare};

    #[test]
    fn what_is_inconclusive_says_what_would_tell() {
        let figures = |ms: Option<f64>, pairs_needed, more_runs| MetricComparison {
            baseline_ms: ms,
            target_ms: ms,
            ratio: None,
            ratio_ci95: None,
            pairs_needed,
            verdict: ComparisonVerdict::Inconclusive,
            more_runs,
        };
        let options = CompareOptions::default();
        let none = Side {
            name: "none",
            runs: &[],
        };
        let mut comparison = compare(none, none, &options);
        for (told, words) in [
            (figures(Some(1.0), None, None), "inconclusive"),
            (
                figures(Some(1.0), None, Some(3)),
                "inconclusive (about 3 more runs of each would tell)",
            ),
            (
                figures(Some(1.0), Some(100), None),
                "inconclusive (too few for an interval, which takes 100)",
            ),
            (
                figures(None, None, None),
                "inconclusive (among the failed requests of both)",
            ),
        ] {
            assert_eq!(compared(&comparison, &told), words);
        }
        comparison.metrics.clear();
        for (metric, verdict, words) in [
            ("a", ComparisonVerdict::NotWorse, "none of 1 worse"),
            ("b", ComparisonVerdict::Worse, "1 of 2 worse"),
            (
                "c",
                ComparisonVerdict::Inconclusive,
                "1 of 3 worse, 1 of 3 inconclusive",
            ),
        ] {
            let figures = MetricComparison {
                verdict,
                ..figures(Some(1.0), None, None)
            };
            comparison.metrics.insert(metric.to_owned(), figures);
            assert_eq!(in_short(&comparison), words);
        }
        let more =
            |comparison: &Comparison| compared(comparison, &figures(Some(1.0), None, Some(1)));
        assert_eq!(
            more(&comparison),
            "inconclusive (about one more run of each would tell)"
        );
        // What came once is not run again.
        comparison.scope = Scope::LiveTraffic;
        assert_eq!(
            more(&comparison),
            "inconclusive (about 2 times as much traffic would tell)"
        );
    }
}

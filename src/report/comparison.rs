use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::figures::{count, mark, ms, objective_word, percent, status_word};
use crate::measure::{Comparison, ComparisonVerdict, MetricComparison, Stratum};
use crate::verdict::{ObjectiveResult, ObjectiveStatus, Status};

/// What `reenact compare` says, schema `reenact.comparison/1`; shown as text by its `Display`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonDocument {
    /// `reenact.comparison/1`
    pub schema: &'static str,
    /// The results that were compared: the baseline's, then the target's.
    pub results: (Vec<String>, Vec<String>),
    /// The comparison.
    pub comparison: Comparison,
    /// Each relative objective.
    pub objectives: Vec<ObjectiveResult>,
    /// Pass, fail (an objective missed; without objectives: a latency worse), or invalid.
    pub status: Status,
    /// Why it is invalid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl ComparisonDocument {
    /// The schema's name.
    pub const SCHEMA: &'static str = "reenact.comparison/1";
}

impl Display for ComparisonDocument {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let compared = &self.comparison;
        writeln!(
            f,
            "{} against {}: {} requests, margin {}; 95 % intervals: {}\n",
            compared.target,
            compared.baseline,
            count(compared.pairs),
            percent(compared.margin),
            compared.scope
        )?;
        let header = ["", "baseline", "target", "change (95 %)", "verdict"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(compared.metrics.iter().map(|(metric, figures)| {
            [
                metric_words(metric),
                bounded_ms(figures.baseline_ms),
                bounded_ms(figures.target_ms),
                change(figures.ratio, figures.ratio_ci95),
                verdict(figures),
            ]
        }));
        table(f, &rows)?;
        for stratum in compared.strata.iter().filter(|one| one.metric == "e2e") {
            let (ratio, interval) = (stratum.ratio, stratum.ratio_ci95);
            writeln!(
                f,
                "{}: {} requests; E2E p50 {}",
                stratum_words(stratum),
                count(stratum.pairs),
                change(ratio, interval.map(|(low, high)| (low, Some(high))))
            )?;
        }
        if let Some(load) = compared.load.as_ref().filter(|load| load.differs) {
            writeln!(
                f,
                "no verdict: the target was sent {:.1} % of the baseline's requests a second{}, over 2 % apart",
                load.requests * 100.0,
                load.tokens.map_or_else(String::new, |tokens| format!(
                    " and {:.1} % of its tokens",
                    tokens * 100.0
                ))
            )?;
        }
        for objective in &self.objectives {
            let status: ObjectiveStatus = objective.status;
            writeln!(
                f,
                "{} {}  {}: {}",
                mark(status),
                objective.expr,
                objective_word(status),
                objective.reason
            )?;
        }
        for reason in &self.reasons {
            writeln!(f, "· {reason}")?;
        }
        writeln!(f, "{}", status_word(self.status))
    }
}

/// Columns as wide as their widest cell, the first one and the last one to the left.
fn table(f: &mut Formatter<'_>, rows: &[[String; 5]]) -> fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    for [metric, baseline, target, change, verdict] in rows {
        let [a, b, c, d] = widths;
        let line = format!("{metric:a$}  {baseline:>b$}  {target:>c$}  {change:>d$}  {verdict}");
        writeln!(f, "{}", line.trim_end())?;
    }
    writeln!(f)
}

fn verdict(figures: &MetricComparison) -> String {
    let words = verdict_words(figures.verdict);
    match figures.more_runs {
        Some(more) => format!("{words} (about {more} more runs of each would tell)"),
        None => words.to_owned(),
    }
}

/// `ttft.p99` as a person reads it.
pub(super) fn metric_words(metric: &str) -> String {
    metric
        .replacen('.', " ", 1)
        .replace("ttft", "TTFT")
        .replace("tpot", "TPOT")
        .replace("e2e", "E2E")
        .replace("stall", "longest stall")
}

/// A latency that may lie among failures.
pub(super) fn bounded_ms(value: Option<f64>) -> String {
    value.map_or_else(|| "∞".to_owned(), ms)
}

/// A ratio as a change, with its interval.
pub(super) fn change(ratio: Option<f64>, interval: Option<(f64, Option<f64>)>) -> String {
    match (ratio, interval) {
        (Some(ratio), Some((low, high))) => format!(
            "{:+.1} % ({:+.1} … {})",
            (ratio - 1.0) * 100.0,
            (low - 1.0) * 100.0,
            high.map_or_else(
                || "∞".to_owned(),
                |high| format!("{:+.1}", (high - 1.0) * 100.0)
            )
        ),
        _ => "–".to_owned(),
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

/// Which requests a stratum holds.
fn stratum_words(stratum: &Stratum) -> String {
    let range = |from: u32, below: Option<u32>| match below {
        Some(below) => format!("{from} – {}", below.saturating_sub(1)),
        None => format!("{from} and more"),
    };
    format!(
        "{} prompt tokens, {} in flight",
        range(stratum.prompt_tokens_from, stratum.prompt_tokens_below),
        range(stratum.in_flight_from, stratum.in_flight_below)
    )
}

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::columns::aligned;
use super::figures::{count, mark, ms, objective_word, percent, status_word};
use super::findings::{aside, compared as how_it_stands};
use crate::measure::{Comparison, Stratum};
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
        let mut rows = vec![heads(compared).map(str::to_owned).to_vec()];
        rows.extend(compared.metrics.iter().map(|(metric, figures)| {
            vec![
                metric_words(metric),
                bounded_ms(figures.baseline_ms),
                bounded_ms(figures.target_ms),
                change(figures.ratio, figures.ratio_ci95),
                how_it_stands(compared, figures),
            ]
        }));
        for line in aligned(&rows) {
            writeln!(f, "{line}")?;
        }
        writeln!(f)?;
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
        for sentence in aside(compared) {
            writeln!(f, "{sentence}")?;
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

/// The heads of a comparison's columns: a name says which figures are whose, where a result has several comparisons.
pub(super) fn heads(comparison: &Comparison) -> [&str; 5] {
    let Comparison {
        baseline, target, ..
    } = comparison;
    ["", baseline, target, "change (95 %)", "verdict"]
}

/// `ttft.p99` as a person reads it.
pub(super) fn metric_words(metric: &str) -> String {
    metric
        .replacen('.', " ", 1)
        .replace("ttft", "TTFT")
        .replace("itl", "ITL")
        .replace("tpot", "TPOT")
        .replace("e2e", "E2E")
        .replace("stall", "Longest stall")
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
        (Some(ratio), None) => format!("{:+.1} %", (ratio - 1.0) * 100.0),
        (None, _) => "–".to_owned(),
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

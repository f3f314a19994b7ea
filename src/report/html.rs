//! `report.html`: one self-contained page; tables are in the HTML, charts are drawn by an embedded uPlot from a data island.

mod shift;
pub(super) mod skeleton;

use askama::Template;
use serde::Serialize;

use self::shift::ShiftChart;
use self::skeleton::Skeleton;
use super::comparison::{bounded_ms, change, metric_words, verdict_words};
use super::directory::ReportError;
use super::document::{Charts, ResultDocument};
use super::figures::{Row, count, mark, ms, objective_word, percent, rows, seconds, status_word};
use crate::measure::{MetricComparison, TargetSummary};
use crate::verdict::{ObjectiveStatus, Status};

/// The whole page.
pub(super) fn render(document: &ResultDocument, charts: &Charts) -> Result<String, ReportError> {
    let failed = |why: String| ReportError::Render {
        what: "report.html",
        why,
    };
    let island = Island {
        targets: document
            .targets
            .iter()
            .map(|target| target.name.as_str())
            .collect(),
        timelines: document
            .targets
            .iter()
            .map(|target| &target.timeline)
            .collect(),
        charts,
    };
    let own = (
        include_str!("html/report.css"),
        include_str!("html/report.js"),
    );
    let skeleton =
        Skeleton::new(&island, own.0, own.1).map_err(|error| failed(error.to_string()))?;
    let page = Page {
        document,
        status: status_word(document.verdict.status),
        headline: headline(document),
        rows: rows(&document.targets),
        comparisons: comparisons(document),
        shifts: document
            .comparison
            .iter()
            .flat_map(ShiftChart::of)
            .collect(),
        has_vram: document.targets.iter().any(|target| !target.gpu.is_empty()),
        skeleton,
    };
    page.render().map_err(|error| failed(error.to_string()))
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    document: &'a ResultDocument,
    status: &'static str,
    headline: String,
    rows: Vec<Row>,
    comparisons: Vec<ComparisonRow>,
    shifts: Vec<ShiftChart>,
    has_vram: bool,
    skeleton: Skeleton,
}

/// What the script draws from.
#[derive(Serialize)]
struct Island<'a> {
    targets: Vec<&'a str>,
    timelines: Vec<&'a Vec<crate::measure::Window>>,
    charts: &'a Charts,
}

struct ComparisonRow {
    target: String,
    baseline: String,
    metric: String,
    before: String,
    now: String,
    change: String,
    verdict: &'static str,
}

fn headline(document: &ResultDocument) -> String {
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
    match document.verdict.status {
        Status::Invalid => {
            "The measurement cannot be believed, so there is no verdict on the targets.".to_owned()
        }
        Status::Fail => format!("{missed} of {} objectives were missed.", objectives.len()),
        Status::Pass if objectives.is_empty() => {
            "No objectives were set; every replay was faithful.".to_owned()
        }
        Status::Pass => format!("All {} objectives were met.", objectives.len()),
    }
}

fn comparisons(document: &ResultDocument) -> Vec<ComparisonRow> {
    let row =
        |target: &str, baseline: &str, metric: &str, figures: &MetricComparison| ComparisonRow {
            target: target.to_owned(),
            baseline: baseline.to_owned(),
            metric: metric_words(metric),
            before: bounded_ms(figures.baseline_ms),
            now: bounded_ms(figures.target_ms),
            change: change(figures.ratio, figures.ratio_ci95),
            verdict: verdict_words(figures.verdict),
        };
    let metrics = document.comparison.iter().flat_map(|comparison| {
        comparison
            .metrics
            .iter()
            .map(move |(metric, figures)| (comparison, metric, figures))
    });
    metrics
        .map(|(comparison, metric, figures)| {
            row(&comparison.target, &comparison.baseline, metric, figures)
        })
        .collect()
}

/// What the template calls.
impl Page<'_> {
    fn seconds(&self, value: &f64) -> String {
        seconds(*value)
    }

    fn count(&self, value: &u64) -> String {
        count(*value)
    }

    fn share(&self, value: &f64) -> String {
        percent(*value)
    }

    fn mark(&self, status: &ObjectiveStatus) -> &'static str {
        mark(*status)
    }

    fn word(&self, status: &ObjectiveStatus) -> &'static str {
        objective_word(*status)
    }

    /// A CSS class.
    fn class(&self, word: &str) -> String {
        word.replace(' ', "-")
    }

    fn notes(&self, target: &TargetSummary) -> Vec<String> {
        fidelity_notes(target)
    }
}

fn fidelity_notes(target: &TargetSummary) -> Vec<String> {
    let fidelity = &target.fidelity;
    let lateness = &fidelity.lateness_ms;
    let mut notes = vec![format!(
        "Sends were late by {} at the median, {} at P99, {} at most.",
        ms(lateness.p50),
        ms(lateness.p99),
        ms(lateness.max)
    )];
    if let Some(share) = fidelity.cpu_share {
        notes.push(format!(
            "The generator used {} of its cores.",
            percent(share)
        ));
    }
    if let Some(late) = fidelity.heartbeat_p99_ms {
        notes.push(format!(
            "A 1 ms heartbeat beside the sends was late by {} at P99.",
            ms(late)
        ));
    }
    notes.extend(fidelity.reasons.iter().map(|reason| format!("{reason}.")));
    notes.extend(
        fidelity
            .alterations
            .iter()
            .map(|alteration| format!("Altered: {alteration}.")),
    );
    notes
}

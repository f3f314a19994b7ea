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
use super::fidelity::{HeldRow, replayed, table};
use super::figures::{
    Row, count, mark, measured, number, objective_word, percent, saturations, seconds, status_word,
};
use crate::measure::{ChangePoint, MeasuredWindow, MetricComparison, TargetSummary};
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
        reference: document.targets.iter().position(|target| !replayed(target)),
        changes: document
            .targets
            .iter()
            .map(|target| &target.changes)
            .collect(),
        spans: document
            .targets
            .iter()
            .map(|target| &target.window)
            .collect(),
        charts,
    };
    let own = (
        include_str!("html/report.css"),
        include_str!("html/report.js"),
    );
    let skeleton =
        Skeleton::new(&island, own.0, own.1).map_err(|error| failed(error.to_string()))?;
    let replays: Vec<TargetSummary> = document
        .targets
        .iter()
        .filter(|target| replayed(target))
        .cloned()
        .collect();
    let page = Page {
        document,
        status: status_word(document.verdict.status),
        headline: headline(document),
        saturations: saturations(&document.targets).collect(),
        rows: measured(&document.targets),
        fidelity: table(&replays),
        replays: &replays,
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
    saturations: Vec<String>,
    rows: Vec<Row>,
    /// The targets without production itself.
    replays: &'a [TargetSummary],
    fidelity: Vec<HeldRow>,
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
    /// Which of them is production itself.
    reference: Option<usize>,
    changes: Vec<&'a Vec<ChangePoint>>,
    spans: Vec<&'a MeasuredWindow>,
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

    fn swatch(&self, target: &TargetSummary) -> String {
        let place = self
            .document
            .targets
            .iter()
            .position(|other| other.name == target.name);
        match place {
            Some(place) if replayed(target) => format!("s{}", place % COLOURS),
            _ => "reference".to_owned(),
        }
    }

    fn notes(&self, target: &TargetSummary) -> Vec<String> {
        let fidelity = &target.fidelity;
        let reasons = fidelity.reasons.iter().map(|reason| format!("{reason}."));
        let altered = fidelity.alterations.iter();
        reasons
            .chain(altered.map(|alteration| format!("Altered: {alteration}.")))
            .collect()
    }

    /// Where the measured window of a target lies.
    fn window(&self, target: &TargetSummary) -> String {
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
        text
    }
}

/// Colours of targets in `page.css`; from the next target on they begin anew.
const COLOURS: usize = 6;

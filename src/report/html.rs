//! `report.html`: one self-contained page; tables are in the HTML, charts are drawn by an embedded uPlot from a data island.

mod load_charts;
mod memory_marks;
mod plane;
mod run_charts;
mod shift;
pub(super) mod skeleton;

use askama::Template;
use serde::Serialize;

use self::load_charts::Picture;
use self::memory_marks::memory_marks;
use self::shift::ShiftChart;
use self::skeleton::Skeleton;
use super::comparison::{bounded_ms, change, heads, metric_words};
use super::directory::ReportError;
use super::document::{Charts, ResultDocument, ScheduleAccount};
use super::fidelity::{HeldRow, replayed, table};
use super::figures::{Row, count, mark, measured, objective_word, of_what, seconds, stamp};
use super::findings::{
    aside, beside_the_requests, changes, compared, headline, in_short, live, notes, order, reason,
    saturations, scope, validity, verdict_words, window,
};
use super::loads::{self, Judged, StepRow};
use super::quality::{ASSERTIONS, AssertionRow, Flipped, assertions, flipped};
use crate::measure::{
    ChangePoint, Comparison, MeasuredWindow, Memory, MemoryPoint, Scope, TargetSummary, Window,
};
use crate::verdict::{ObjectiveResult, ObjectiveStatus};

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
        memories: document
            .targets
            .iter()
            .map(|target| target.memory.as_ref())
            .collect(),
        memory_marks: document
            .targets
            .iter()
            .map(|target| memory_marks(&target.oom, &target.gpu))
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
    let judged = loads::judged(document);
    let page = Page {
        document,
        status: stamp(&document.verdict),
        headline: headline(document),
        validity: validity(document),
        changes: changes(&document.targets).collect(),
        memories: beside_the_requests(&document.targets).collect(),
        loads: load_charts::pictures(document),
        key: load_charts::key(document),
        steps: loads::rows(document, &judged),
        judged,
        runs: run_charts::pictures(document),
        saturations: saturations(&document.targets).collect(),
        rows: measured(&document.targets),
        fidelity: table(&replays),
        replays: &replays,
        comparisons: document.comparison.iter().map(Compared::of).collect(),
        flipped: flipped(&document.targets),
        assertions: assertions(&document.targets),
        shifts: document
            .comparison
            .iter()
            .flat_map(ShiftChart::of)
            .collect(),
        has_bands: charts
            .targets
            .iter()
            .flat_map(|target| target.curves.values().flatten())
            .any(|point| point.ci95.is_some()),
        has_vram: document.targets.iter().any(|target| !target.gpu.is_empty()),
        has_kv: told(document, |window| window.kv_cache),
        has_waiting: told(document, |window| window.waiting),
        has_latency: told(document, |window| window.e2e_p50_ms),
        kv_against: seen(document, |point| point.kv_cache),
        vram_against: seen(document, |point| point.vram),
        live: live(document),
        of_what: of_what(document),
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
    validity: String,
    changes: Vec<String>,
    memories: Vec<String>,
    /// Figures over the load, where there were steps; marks and what they stand for; and the steps in words.
    loads: Vec<Picture>,
    key: Vec<(&'static str, String)>,
    judged: Vec<Judged>,
    steps: Vec<StepRow<'a>>,
    /// Latencies run by run, where there were several.
    runs: Vec<Picture>,
    saturations: Vec<String>,
    rows: Vec<Row>,
    /// The targets without production itself.
    replays: &'a [TargetSummary],
    fidelity: Vec<HeldRow>,
    comparisons: Vec<Compared<'a>>,
    shifts: Vec<ShiftChart<'a>>,
    /// Tests that ended otherwise under load than idle, and what answers took by kind of assertion.
    flipped: Vec<Flipped<'a>>,
    assertions: Vec<AssertionRow<'a>>,
    /// Some percentile has an interval.
    has_bands: bool,
    has_vram: bool,
    has_kv: bool,
    has_waiting: bool,
    has_latency: bool,
    /// How full memories were against the tokens in flight is there to be drawn.
    kv_against: bool,
    vram_against: bool,
    /// What was mirrored, where no trace was replayed.
    live: Option<String>,
    /// What an interval of a single figure speaks of.
    of_what: Scope,
    skeleton: Skeleton,
}

/// Whether any window tells it.
fn told(document: &ResultDocument, value: fn(&Window) -> Option<f64>) -> bool {
    let mut windows = document.targets.iter().flat_map(|target| &target.timeline);
    windows.any(|window| value(window).is_some())
}

/// Whether any sample beside the tokens in flight tells it.
fn seen(document: &ResultDocument, value: fn(&MemoryPoint) -> Option<f64>) -> bool {
    let memories = document.targets.iter().filter_map(|t| t.memory.as_ref());
    let mut points = memories.flat_map(|memory| &memory.points);
    points.any(|point| value(point).is_some())
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
    memories: Vec<Option<&'a Memory>>,
    /// When memory ran out or a GPU failed, and what to call it.
    memory_marks: Vec<Vec<(f64, String)>>,
    charts: &'a Charts,
}

/// One target against one baseline.
struct Compared<'a> {
    heads: [&'a str; 5],
    baseline: &'a str,
    target: &'a str,
    /// `2 of 9 worse, 1 of 9 inconclusive`
    in_short: String,
    /// What was compared, or that it says nothing.
    told: Vec<String>,
    rows: Vec<ComparisonRow>,
}

struct ComparisonRow {
    metric: String,
    before: String,
    now: String,
    change: String,
    verdict: &'static str,
    /// The verdict with how many more runs would tell.
    told: String,
}

impl<'a> Compared<'a> {
    fn of(comparison: &'a Comparison) -> Self {
        let rows = comparison
            .metrics
            .iter()
            .map(|(metric, figures)| ComparisonRow {
                metric: metric_words(metric),
                before: bounded_ms(figures.baseline_ms),
                now: bounded_ms(figures.target_ms),
                change: change(figures.ratio, figures.ratio_ci95),
                verdict: verdict_words(figures.verdict),
                told: compared(comparison, figures),
            });
        let told = std::iter::once(scope(comparison)).chain(aside(comparison));
        Self {
            heads: heads(comparison),
            baseline: &comparison.baseline,
            target: &comparison.target,
            in_short: in_short(comparison),
            told: told.map(|sentence| format!("{sentence}.")).collect(),
            rows: rows.collect(),
        }
    }
}

/// What the template calls.
impl Page<'_> {
    fn seconds(&self, value: &f64) -> String {
        seconds(*value)
    }

    fn count(&self, value: &u64) -> String {
        count(*value)
    }

    fn mark(&self, status: &ObjectiveStatus) -> &'static str {
        mark(*status)
    }

    fn word(&self, status: &ObjectiveStatus) -> &'static str {
        objective_word(*status)
    }

    fn began<'b>(&self, started_at: &'b str, live: bool) -> &'b str {
        began(started_at, live)
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
        notes(target)
    }

    fn reason(&self, objective: &ObjectiveResult) -> String {
        reason(self.document, objective)
    }

    /// Where the measured window of a target lies.
    fn window(&self, target: &TargetSummary) -> String {
        window(target)
    }

    fn has_limit(&self) -> bool {
        let mut targets = self.document.targets.iter();
        targets.any(|target| target.limit.is_some())
    }

    fn has_knee(&self) -> bool {
        let mut knees = self
            .document
            .targets
            .iter()
            .filter_map(|it| it.knee.as_ref());
        knees.any(|knee| knee.requests_per_s.is_some())
    }

    fn order(&self, schedule: &ScheduleAccount) -> String {
        order(schedule)
    }

    fn swatch_of(&self, name: &str) -> String {
        let target = self
            .document
            .targets
            .iter()
            .find(|other| other.name == name);
        target.map_or_else(String::new, |target| self.swatch(target))
    }

    /// The CSS class that has a target's colour for its pictures.
    fn tone_of(&self, name: &str) -> String {
        let mut targets = self.document.targets.iter();
        let place = targets.position(|other| other.name == name);
        place.map_or_else(String::new, |place| format!("t{}", place % COLOURS))
    }

    fn one_by_one(&self, schedule: &ScheduleAccount) -> bool {
        schedule.rounds.iter().all(|round| round.len() == 1)
    }
}

/// Of a mirror's beginning a result tells the day alone, unless the recorder keeps the wall clock; a midnight would be made up.
fn began(started_at: &str, live: bool) -> &str {
    let day = started_at.strip_suffix("T00:00:00Z");
    day.filter(|_| live).unwrap_or(started_at)
}

/// Colours of targets in `page.css`; from the next target on they begin anew.
const COLOURS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mirror_the_day_is_shown_where_no_more_is_told() {
        assert_eq!(began("2026-11-30T00:00:00Z", true), "2026-11-30");
        let told = "2026-11-30T08:15:00Z";
        assert_eq!((began(told, true), began(told, false)), (told, told));
    }
}

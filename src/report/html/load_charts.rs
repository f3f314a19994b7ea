//! What the steps of a sweep or of a search for the limit show, as inline pictures over the load.

use super::plane::{Axis, BOTTOM, Plane, TOP, WIDTH, escaped};
use crate::measure::{Step, StepVerdict, TargetSummary};
use crate::report::document::ResultDocument;
use crate::report::figures::{ms, number, percent};
use crate::report::loads::{self, Judged, error_rate, load, offered_at, shown, verdict_words};

/// An inline picture, with the sentence that says what it shows.
pub(super) struct Picture {
    pub(super) title: String,
    pub(super) small: String,
    pub(super) reading: String,
    pub(super) svg: String,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A figure of a step.
type Value<'v> = &'v dyn Fn(&Step) -> Option<f64>;

/// The latencies that the objectives are about, goodput and (where there were any) failures, each over the load; none where there are no
/// steps.
pub(super) fn pictures(document: &ResultDocument) -> Vec<Picture> {
    if loads::steps(document).next().is_none() {
        return Vec::new();
    }
    let mut pictures: Vec<Picture> = loads::judged(document)
        .iter()
        .map(|judged| latency(document, judged))
        .collect();
    let goodput = |step: &Step| step.goodput.as_ref().map(|goodput| goodput.rate);
    if loads::steps(document).any(|(_, step)| goodput(step).is_some()) {
        pictures.push(share(document, "Goodput", &goodput));
    }
    if loads::steps(document).any(|(_, step)| step.requests.failed > 0) {
        pictures.push(share(document, "Failed requests", &|step| {
            Some(error_rate(step))
        }));
    }
    pictures
}

fn latency(document: &ResultDocument, judged: &Judged) -> Picture {
    let value = |step: &Step| judged.of(step);
    let values = loads::steps(document).filter_map(|(_, step)| value(step));
    let y = Axis::logarithmic(values.chain(judged.bound_ms));
    let mut plane = Plane::new(loads_axis(document), y, (number_short, |v| ms_short(v)));
    if let Some(bound) = judged.bound_ms {
        let at = plane.y(bound);
        let (left, right) = plane.span();
        plane.line("bound", (left, at), (right, at));
        plane.text(
            left + 3.0,
            at - 4.0,
            "start",
            "bound",
            &format!("allowed: {}", ms(bound)),
        );
    }
    picture(document, plane, judged.label.clone(), &value, |value| {
        shown(Some(value))
    })
}

fn share(document: &ResultDocument, title: &str, value: Value<'_>) -> Picture {
    let values = loads::steps(document).filter_map(|(_, step)| value(step));
    // A share of next to nothing is not blown up to look like much.
    let y = Axis::of_shares(values.chain([0.05]));
    let plane = Plane::new(
        loads_axis(document),
        y,
        (number_short, |share| {
            format!("{} %", (share * 1e4).round() / 1e2)
        }),
    );
    picture(document, plane, title.to_owned(), value, percent)
}

fn loads_axis(document: &ResultDocument) -> Axis {
    let above = document.targets.iter().filter_map(|target| {
        let above = target.limit.as_ref()?.above?;
        offered_at(target, above)
    });
    Axis::logarithmic(
        loads::steps(document)
            .map(|(_, step)| step.offered_per_s)
            .chain(above),
    )
}

fn picture(
    document: &ResultDocument,
    mut plane: Plane,
    title: String,
    value: Value<'_>,
    show: impl Fn(f64) -> String,
) -> Picture {
    let mut told = Vec::new();
    for (place, target) in document.targets.iter().enumerate() {
        if target.steps.is_empty() {
            continue;
        }
        let colour = place % super::COLOURS;
        limit(&mut plane, target, colour);
        knee(&mut plane, target, colour);
        let mut points: Vec<(&Step, f64)> = target
            .steps
            .iter()
            .filter_map(|step| Some((step, value(step)?)))
            .collect();
        points.sort_by(|(a, _), (b, _)| a.offered_per_s.total_cmp(&b.offered_per_s));
        let line: Vec<String> = points
            .iter()
            .map(|(step, value)| {
                let (x, y) = (plane.x(step.offered_per_s), plane.y(*value));
                format!("{x:.1},{y:.1}")
            })
            .collect();
        plane.put(&format!(
            r#"<polyline class="line t{colour}" points="{}"/>"#,
            line.join(" ")
        ));
        for (step, value) in &points {
            let at = (plane.x(step.offered_per_s), plane.y(*value));
            let hover = format!(
                "{}, {} ({} requests / s): {}; {}: {}",
                target.name,
                load(target, step),
                number(step.offered_per_s),
                show(*value),
                verdict_words(step),
                step.reason
            );
            plane.put(&format!(
                r#"<g class="{}"><title>{}</title>{}</g>"#,
                class(step.verdict),
                escaped(&hover),
                mark(step.verdict, at)
            ));
            if value.is_infinite() {
                plane.text(at.0, at.1 - 5.0, "middle", "", "∞");
            }
        }
        told.extend(reading(target, &points, &show));
    }
    Picture {
        title,
        small: "over requests offered a second".to_owned(),
        reading: told.join(" "),
        height: plane.height(),
        width: WIDTH,
        svg: plane.svg,
    }
}

/// The largest load that was shown to meet the objectives, and up to where that is open.
fn limit(plane: &mut Plane, target: &TargetSummary, colour: usize) {
    let Some(value) = target.limit.as_ref().and_then(|limit| limit.value) else {
        return;
    };
    let Some(at) = offered_at(target, value) else {
        return;
    };
    let above = target.limit.as_ref().and_then(|limit| limit.above);
    if let Some(above) = above.and_then(|above| offered_at(target, above)) {
        plane.shade(&format!("open t{colour}"), at, above);
    }
    let x = plane.x(at);
    let bottom = plane.height() - BOTTOM;
    plane.line(&format!("limit t{colour}"), (x, TOP), (x, bottom));
    plane.text(
        x - 4.0,
        bottom - 5.0,
        "end",
        "",
        &format!("limit {}", number_short(at)),
    );
}

/// Where the curve bends, each target's at a height of its own.
fn knee(plane: &mut Plane, target: &TargetSummary, colour: usize) {
    let knee = target.knee.as_ref().and_then(|knee| knee.requests_per_s);
    let Some(at) = knee else {
        return;
    };
    let (x, bottom) = (plane.x(at), plane.height() - BOTTOM);
    plane.line(&format!("knee t{colour}"), (x, TOP), (x, bottom));
    let rows = u32::try_from(colour).unwrap_or(0);
    plane.text(
        x + 4.0,
        bottom - 5.0 - 13.0 * f64::from(rows),
        "start",
        &format!("knee t{colour}"),
        &format!("knee {}", number_short(at)),
    );
}

fn reading(
    target: &TargetSummary,
    points: &[(&Step, f64)],
    show: impl Fn(f64) -> String,
) -> Option<String> {
    let ((first, from), (last, to)) = (points.first()?, points.last()?);
    Some(format!(
        "{}: {} at {} requests / s, {} at {}.",
        target.name,
        show(*from),
        number(first.offered_per_s),
        show(*to),
        number(last.offered_per_s)
    ))
}

/// Told by shape as well as by colour.
fn mark(verdict: StepVerdict, (x, y): (f64, f64)) -> String {
    match verdict {
        StepVerdict::Pass | StepVerdict::Measured => {
            format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#)
        }
        StepVerdict::Undecided => {
            format!(r#"<circle class="hollow" cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#)
        }
        StepVerdict::Fail => {
            let (a, b) = ((x - 4.5, x + 4.5), (y - 4.5, y + 4.5));
            format!(
                r#"<path class="cross" d="M{:.1} {:.1}L{:.1} {:.1}M{:.1} {:.1}L{:.1} {:.1}"/>"#,
                a.0, b.0, a.1, b.1, a.0, b.1, a.1, b.0
            )
        }
        StepVerdict::Saturated => format!(
            r#"<path d="M{x:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z"/>"#,
            y - 5.5,
            x + 5.5,
            y + 4.5,
            x - 5.5,
            y + 4.5
        ),
        StepVerdict::Invalid => format!(
            r#"<rect class="hollow" x="{:.1}" y="{:.1}" width="9" height="9"/>"#,
            x - 4.5,
            y - 4.5
        ),
    }
}

const fn class(verdict: StepVerdict) -> &'static str {
    match verdict {
        StepVerdict::Pass => "met",
        StepVerdict::Fail | StepVerdict::Saturated => "missed",
        StepVerdict::Undecided => "inconclusive",
        StepVerdict::Invalid => "invalid",
        StepVerdict::Measured => "measured",
    }
}

/// A mark and what it stands for, for each verdict that a step of the document has.
pub(super) fn key(document: &ResultDocument) -> Vec<(&'static str, String)> {
    let mut key: Vec<(&'static str, String)> = Vec::new();
    for (_, step) in loads::steps(document) {
        let words = verdict_words(step);
        if key.iter().all(|(known, _)| *known != words) {
            let svg = format!(
                r#"<g class="{}">{}</g>"#,
                class(step.verdict),
                mark(step.verdict, (7.0, 7.0))
            );
            key.push((words, svg));
        }
    }
    key
}

fn number_short(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.0}k", v / 1000.0),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{}", (v * 100.0).round() / 100.0),
    }
}

/// A tick of a latency.
pub(super) fn ms_short(value: f64) -> String {
    let short = |value: f64| (value * 1000.0).round() / 1000.0;
    match value {
        v if v >= 1000.0 => format!("{} s", short(v / 1000.0)),
        v if v >= 0.1 => format!("{} ms", short(v)),
        v => format!("{} µs", short(v * 1000.0)),
    }
}

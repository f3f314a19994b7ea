use std::fmt::Write;

use crate::measure::{Comparison, ShiftPoint};
use crate::report::comparison::metric_words;
use crate::report::figures::ms;

/// A shift function as an inline picture: how much later each quantile of the target is than the baseline's, with its band.
pub(super) struct ShiftChart<'a> {
    pub(super) target: &'a str,
    pub(super) title: String,
    pub(super) reading: String,
    /// In a box of [`WIDTH`] by [`HEIGHT`].
    pub(super) svg: String,
}

impl<'a> ShiftChart<'a> {
    /// One for each latency of a comparison.
    pub(super) fn of(comparison: &'a Comparison) -> Vec<Self> {
        let charts = comparison.shift.iter().filter_map(|(metric, points)| {
            let Comparison {
                target, baseline, ..
            } = comparison;
            Some(Self {
                target,
                title: format!("{}: {target} against {baseline}", metric_words(metric)),
                reading: reading(points, baseline)?,
                svg: svg(points)?,
            })
        });
        charts.collect()
    }
}

/// What the picture shows, for those who do not see it.
fn reading(points: &[ShiftPoint], baseline: &str) -> Option<String> {
    let at = |q: f64| {
        let point = points.iter().find(|point| point.q == q)?;
        Some(signed_ms(point.difference_ms))
    };
    let (median, tail) = (at(0.5)?, at(0.99));
    let tail = tail.unwrap_or_else(|| "not finite, among failed requests,".to_owned());
    Some(format!(
        "Against {baseline}: {median} at the median, {tail} at P99."
    ))
}

fn signed_ms(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    format!("{sign}{}", ms(value.abs()))
}

/// `None` where no point is finite.
fn svg(points: &[ShiftPoint]) -> Option<String> {
    let finite: Vec<(f64, f64, (f64, f64))> = points
        .iter()
        .zip(0_u32..)
        .map(|(point, place)| {
            let middle = point.difference_ms;
            // An end among the failures cannot be drawn.
            let (low, high) = point.ci95;
            let band = (low.unwrap_or(middle), high.unwrap_or(middle));
            (f64::from(place), middle, band)
        })
        .collect();
    let ends = finite.iter().flat_map(|(_, _, (low, high))| [*low, *high]);
    let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), end| {
        (low.min(end), high.max(end))
    });
    if finite.is_empty() {
        return None;
    }
    let scale = (HEIGHT - TOP - BOTTOM) / (high - low).max(1e-6);
    let step = (WIDTH - LEFT - 10.0) / f64::from(u32::try_from(points.len()).ok()?.max(2) - 1);
    let x = |place: f64| LEFT + place * step;
    let y = |value: f64| TOP + (high - value) * scale;
    let mut svg = String::new();
    let path = |points: &mut dyn Iterator<Item = (f64, f64)>| {
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        points.join(" ")
    };
    let upper = finite
        .iter()
        .map(|(place, _, (_, high))| (x(*place), y(*high)));
    let lower = finite
        .iter()
        .rev()
        .map(|(place, _, (low, _))| (x(*place), y(*low)));
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        r#"<polygon class="band" points="{}"/>"#,
        path(&mut upper.chain(lower))
    );
    let zero = y(0.0);
    let end = WIDTH - 10.0;
    let _ = write!(
        svg,
        r#"<line class="zero" x1="{LEFT}" x2="{end}" y1="{zero:.1}" y2="{zero:.1}"/>"#
    );
    let line = path(
        &mut finite
            .iter()
            .map(|(place, value, _)| (x(*place), y(*value))),
    );
    let _ = write!(svg, r#"<polyline class="line" points="{line}"/>"#);
    for (place, value, _) in &finite {
        let _ = write!(
            svg,
            r#"<circle cx="{:.1}" cy="{:.1}" r="2.5"/>"#,
            x(*place),
            y(*value)
        );
    }
    for value in [low, 0.0, high]
        .into_iter()
        .filter(|value| *value == 0.0 || (value * scale).abs() > 12.0)
    {
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 6.0,
            y(value) + 4.0,
            signed_ms(value)
        );
    }
    for (point, place) in points
        .iter()
        .zip(0_u32..)
        .filter(|(_, place)| place % 2 == 0)
    {
        let label = (point.q * 100.0).round();
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">P{label}</text>"#,
            x(f64::from(place)),
            HEIGHT - 6.0
        );
    }
    Some(svg)
}

pub(super) const WIDTH: f64 = 420.0;
pub(super) const HEIGHT: f64 = 200.0;
const LEFT: f64 = 74.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;

//! Several runs of each target, as inline pictures: a row for each run in the order in which they were run, so that a drift is seen, and
//! under them what the runs of each target say together.

use super::load_charts::{Picture, ms_short};
use super::plane::{Axis, Plane, WIDTH, escaped};
use crate::measure::{RunFigures, Spread, TargetSummary};
use crate::report::document::ResultDocument;
use crate::report::figures::ms;

/// TTFT, TPOT and E2E, where they were measured; none where every target was run once.
pub(super) fn pictures(document: &ResultDocument) -> Vec<Picture> {
    let latencies = [("ttft_ms", "TTFT"), ("tpot_ms", "TPOT"), ("e2e_ms", "E2E")];
    let picture = |(name, title)| picture(document, name, title);
    latencies.into_iter().filter_map(picture).collect()
}

/// A run in its place.
struct Row<'a> {
    /// Of the round that it was run in, from 1.
    round: usize,
    target: &'a TargetSummary,
    colour: usize,
    run: &'a RunFigures,
}

fn picture(document: &ResultDocument, name: &str, title: &str) -> Option<Picture> {
    let rows = rows(document);
    let values = rows.iter().flat_map(|row| {
        let latency = row.run.latency.get(name);
        latency
            .into_iter()
            .flat_map(|one| [one.p50, one.p99])
            .flatten()
    });
    let values: Vec<f64> = values.collect();
    if values.is_empty() {
        return None;
    }
    let spreads = spreads(document, name);
    let ends = spreads.iter().flat_map(|(_, _, spread)| {
        let (low, high) = spread.ci95.unwrap_or((spread.min, spread.max));
        [low, high]
    });
    let pooled: Vec<(usize, &TargetSummary)> = targets(document).collect();
    let all = u32::try_from(rows.len() + pooled.len()).ok()?;
    let axis = Axis::logarithmic(values.iter().copied().chain(ends));
    let mut plane = Plane::of_rows(axis, all, ms_short);
    for (row, place) in rows.iter().zip(0..) {
        run(&mut plane, place, row, name);
    }
    let first = u32::try_from(rows.len()).ok()?;
    for ((colour, target), place) in pooled.iter().zip(first..) {
        plane.label(place, "", &format!("{}, all runs", target.name));
        for (_, quantile, spread) in spreads.iter().filter(|(of, ..)| of == colour) {
            interval(&mut plane, place, *colour, quantile, spread);
        }
    }
    Some(Picture {
        title: title.to_owned(),
        small: "run by run: ● median, ◆ P99; below, 95 % over runs".to_owned(),
        reading: reading(document, name),
        height: plane.height(),
        width: WIDTH,
        svg: plane.svg,
    })
}

/// Targets that were run several times, each with its colour.
fn targets(document: &ResultDocument) -> impl Iterator<Item = (usize, &TargetSummary)> {
    let targets = document.targets.iter().enumerate();
    targets
        .filter(|(_, target)| !target.runs.is_empty())
        .map(|(place, target)| (place % super::COLOURS, target))
}

/// Every run, in the order of the schedule; without one (an older result), target by target.
fn rows(document: &ResultDocument) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (colour, target) in targets(document) {
        for run in &target.runs {
            let round = document.schedule.as_ref().and_then(|schedule| {
                let mut rounds = schedule.rounds.iter();
                rounds.position(|round| {
                    let mut runs = round.iter();
                    runs.any(|slot| slot.target == target.name && slot.run == run.run)
                })
            });
            rows.push(Row {
                round: round.map_or(0, |round| round + 1),
                target,
                colour,
                run,
            });
        }
    }
    rows.sort_by_key(|row| row.round);
    rows
}

fn run(plane: &mut Plane, place: u32, row: &Row<'_>, name: &str) {
    let y = Plane::row(place);
    let class = if row.run.valid { "" } else { "bad" };
    let validity = if row.run.valid { "" } else { ", not valid" };
    plane.label(
        place,
        class,
        &format!("{}  {}{validity}", row.round, row.target.name),
    );
    let Some(latency) = row.run.latency.get(name) else {
        return;
    };
    let (median, tail) = (latency.p50, latency.p99);
    let right = plane.span().1;
    let x = |plane: &Plane, value: Option<f64>| value.map_or(right, |value| plane.x(value));
    let (from, to) = (x(plane, median), x(plane, tail));
    let colour = row.colour;
    plane.line(&format!("span t{colour}"), (from, y), (to, y));
    let told = |value: Option<f64>| value.map_or_else(|| "∞".to_owned(), ms);
    let hover = format!(
        "{}, run {}: median {}, P99 {}",
        row.target.name,
        row.run.run,
        told(median),
        told(tail)
    );
    plane.put(&format!(
        r#"<g class="dot t{colour}"><title>{}</title><circle cx="{from:.1}" cy="{y:.1}" r="3.5"/><path d="M{to:.1} {:.1}l4.5 4.5l-4.5 4.5l-4.5 -4.5Z"/></g>"#,
        escaped(&hover),
        y - 4.5
    ));
    if tail.is_none() {
        plane.text(right, y - 5.0, "end", "", "∞");
    }
}

/// Spreads of a latency: of which target (its colour), of which quantile.
fn spreads<'a>(document: &'a ResultDocument, name: &str) -> Vec<(usize, &'static str, &'a Spread)> {
    let of = |(colour, target): (usize, &'a TargetSummary)| {
        let quantiles = [("p50", "median"), ("p99", "P99")];
        quantiles.map(|(key, words)| {
            let spread = target.spread.get(&format!("{name}.{key}"))?;
            Some((colour, words, spread))
        })
    };
    targets(document).flat_map(of).flatten().collect()
}

fn interval(plane: &mut Plane, place: u32, colour: usize, quantile: &str, spread: &Spread) {
    let y = Plane::row(place);
    let told = match spread.ci95 {
        Some((low, high)) => format!("95 % over runs: {} – {}", ms(low), ms(high)),
        None => format!(
            "{} – {}; no interval under three runs, or with a run whose value is not finite",
            ms(spread.min),
            ms(spread.max)
        ),
    };
    let (low, high) = spread.ci95.unwrap_or((spread.min, spread.max));
    let (left, right, mean) = (plane.x(low), plane.x(high), plane.x(spread.mean));
    let class = if spread.ci95.is_some() { "ci" } else { "range" };
    plane.put(&format!(
        r#"<g class="{class} t{colour}"><title>{}</title><rect x="{left:.1}" y="{:.1}" width="{:.1}" height="8"/><rect class="mean" x="{:.1}" y="{:.1}" width="2" height="12"/></g>"#,
        escaped(&format!("{quantile}: mean {}; {told}", ms(spread.mean))),
        y - 4.0,
        (right - left).max(1.0),
        mean - 1.0,
        y - 6.0
    ));
}

fn reading(document: &ResultDocument, name: &str) -> String {
    let told = targets(document).filter_map(|(_, target)| {
        let spread = target.spread.get(&format!("{name}.p99"))?;
        let interval = spread.ci95.map_or_else(
            || "too few runs for an interval".to_owned(),
            |(low, high)| format!("95 %: {} – {}", ms(low), ms(high)),
        );
        Some(format!(
            "{}: P99 {} – {} over {} runs, mean {} ({interval}).",
            target.name,
            ms(spread.min),
            ms(spread.max),
            spread.runs,
            ms(spread.mean)
        ))
    });
    told.collect::<Vec<_>>().join(" ")
}

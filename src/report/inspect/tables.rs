//! The figures of the page: what leads it, and its tables. They stand in the HTML, so they need no scripts.

use super::distributions::distributions;
use super::{Inspection, counted, reading, websockets};
use crate::measure::traffic::picture::Timeline;
use crate::measure::traffic::{Quantiles, Traffic};
use crate::report::figures::{count, ms, number, percent, seconds};
use crate::trace::Source;

/// A figure that leads the page.
pub(super) struct Tile {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) beside: String,
}

/// A name and what belongs to it.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) cells: Vec<String>,
}

pub(super) fn tiles(inspection: &Inspection) -> Vec<Tile> {
    let traffic = &inspection.traffic;
    let mut tiles = Vec::new();
    let mut tile = |name, value: Option<(String, String)>| {
        tiles.extend(value.map(|(value, beside)| Tile {
            name,
            value,
            beside,
        }));
    };
    let arrivals = &traffic.arrivals;
    let beside = |value: Option<f64>, words: &str| {
        value.map_or(String::new(), |value| format!("{words} {}", number(value)))
    };
    let busiest = beside(arrivals.peak_1s_per_s, "busiest second");
    tile(
        "Arrivals / s",
        arrivals.mean_per_s.map(|mean| (number(mean), busiest)),
    );
    let longest = inspection.picture.dispersion.last();
    tile(
        "Burstiness",
        longest.map(|scale| {
            let window = reading::window(scale.window_s);
            (
                number(scale.index),
                format!("in windows of {window}; Poisson is 1"),
            )
        }),
    );
    tile(
        "In flight, most",
        traffic.in_flight.map(|open| {
            (
                count(open.peak),
                format!("{} on average", number(open.mean)),
            )
        }),
    );
    let median = |quantiles: Option<Quantiles>, show: fn(f64) -> String| {
        let quantiles = quantiles?;
        Some((show(quantiles.p50), format!("P99 {}", show(quantiles.p99))))
    };
    tile(
        "Prompt tokens, P50",
        median(traffic.prompt_tokens, reading::whole),
    );
    tile(
        "Output tokens, P50",
        median(traffic.output_tokens, reading::whole),
    );
    tile("TTFT, P50", median(traffic.ttft_ms, ms));
    tile("E2E, P50", median(traffic.e2e_ms, ms));
    let repeated = traffic.prefix.map(|prefix| match prefix.prefix_share {
        Some(share) => (percent(share), "of prompt tokens".to_owned()),
        None => (percent(prefix.block_share), "of prompt blocks".to_owned()),
    });
    tile("Repeated beginnings", repeated);
    let turns = inspection.picture.session_turns.as_ref();
    tile(
        "Sessions",
        turns.map(|turns| {
            let mean = number(turns.turns.mean);
            (count(turns.turns.count), format!("{mean} turns on average"))
        }),
    );
    let errors = traffic.errors;
    // Most sources of imported traces do not tell how requests ended.
    let recorded = inspection.header.source == Source::Recorded;
    let told = traffic.exchanges > 0 && (recorded || errors.count > 0);
    tile(
        "Not completed",
        told.then(|| (percent(errors.share), count(errors.count))),
    );
    tiles
}

pub(super) fn distribution_rows(inspection: &Inspection) -> Vec<Row> {
    let row = |name, quantiles: &Quantiles, show: fn(f64) -> String| {
        let mut cells = vec![count(quantiles.count)];
        let values = [
            quantiles.mean,
            quantiles.p50,
            quantiles.p90,
            quantiles.p95,
            quantiles.p99,
            quantiles.max,
        ];
        cells.extend(values.map(show));
        Row { name, cells }
    };
    let mut rows: Vec<_> = distributions(&inspection.traffic)
        .into_iter()
        .filter_map(|distribution| {
            Some(row(
                distribution.name,
                &distribution.quantiles?,
                distribution.show,
            ))
        })
        .collect();
    if let Some(turns) = &inspection.picture.session_turns {
        rows.push(row("Turns of a session", &turns.turns, reading::whole));
        rows.extend(turns.think_ms.map(|think| row("Think time", &think, ms)));
        let between = turns.between_arrivals_ms;
        rows.extend(between.map(|between| row("Turn to turn", &between, ms)));
    }
    rows
}

pub(super) fn count_rows(traffic: &Traffic) -> Vec<Row> {
    let frames = traffic.websockets.as_ref().map_or_else(Vec::new, |it| {
        let sides = [
            ("from clients".to_owned(), it.frames_sent),
            ("from servers".to_owned(), it.frames_came),
        ];
        let sizes =
            websockets::sizes(it).map(|(size, frames)| (format!("of these {size}"), frames));
        sides.into_iter().chain(sizes).collect()
    });
    let rows = [
        ("Endpoints", counted(&traffic.by_endpoint)),
        ("Outcomes", counted(&traffic.by_outcome)),
        ("Statuses", counted(&traffic.by_status)),
        ("Finishes", counted(&traffic.by_finish)),
        ("Shapes", counted(&traffic.by_shape)),
        ("Tensors", counted(&traffic.tensor_datatypes)),
        (
            "Media types of requests",
            counted(&traffic.request_media_types),
        ),
        (
            "Media types of answers",
            counted(&traffic.response_media_types),
        ),
        ("Frames of WebSockets", frames),
    ];
    let shares = [
        ("streamed", Some(traffic.streaming)),
        ("with tools", Some(traffic.with_tools)),
        ("with media", Some(traffic.with_media)),
        ("with tensors", traffic.with_tensors),
    ];
    let shares = shares
        .iter()
        .filter_map(|(name, share)| Some((name, (*share)?)))
        .filter(|(_, share)| share.count > 0)
        .map(|(name, share)| format!("{} {name} ({})", count(share.count), percent(share.share)));
    rows.into_iter()
        .map(|(name, pairs)| Row {
            name,
            cells: pairs
                .into_iter()
                .map(|(of, n)| format!("{} {}", count(n), of.replace('_', " ")))
                .collect(),
        })
        .chain([Row {
            name: "Requests",
            cells: shares.collect(),
        }])
        .filter(|row| !row.cells.is_empty())
        .collect()
}

/// The heads of the columns, and a row for each window.
pub(super) fn over_time(timeline: &Timeline) -> (Vec<String>, Vec<Vec<String>>) {
    let mut heads = vec!["From".to_owned()];
    let mut columns: Vec<Vec<String>> = Vec::new();
    let mut column = |head: String, values: Vec<String>| {
        heads.push(head);
        columns.push(values);
    };
    let counts = |values: &[u64]| values.iter().map(|&value| count(value)).collect();
    for (endpoint, values) in &timeline.arrivals {
        column(endpoint.path().to_owned(), counts(values));
    }
    let failed = timeline.outcomes.iter();
    for (outcome, values) in failed.filter(|(outcome, _)| **outcome != "completed") {
        column(outcome.replace('_', " "), counts(values));
    }
    for (head, values) in [
        ("prompt tokens", &timeline.prompt_tokens),
        ("output tokens", &timeline.output_tokens),
    ] {
        if let Some(values) = values {
            column(head.to_owned(), counts(values));
        }
    }
    if let Some(in_flight) = &timeline.in_flight {
        let means = in_flight.mean.iter().map(|&mean| number(mean));
        column("in flight, mean".to_owned(), means.collect());
        column("peak".to_owned(), counts(&in_flight.peak));
    }
    let windows = timeline.arrivals.values().next().map_or(0, Vec::len);
    let rows = (0..windows).map(|index| {
        #[allow(clippy::cast_precision_loss, reason = "600 windows at most")]
        let from = seconds(index as f64 * timeline.window_s);
        let cells = columns.iter().filter_map(|column| column.get(index));
        std::iter::once(from).chain(cells.cloned()).collect()
    });
    let rows = rows.collect();
    (heads, rows)
}

pub(super) fn facts(inspection: &Inspection) -> Vec<Row> {
    let mut facts = Vec::new();
    let mut fact = |name, cells: Vec<String>| facts.push(Row { name, cells });
    let header = &inspection.header;
    let files = inspection.files.iter().take(FILES_NAMED);
    let mut files: Vec<_> = files.map(|file| file.display().to_string()).collect();
    if inspection.files.len() > FILES_NAMED {
        files.push(format!("and {} more", inspection.files.len() - FILES_NAMED));
    }
    fact("Files", files);
    fact("Size", vec![format!("{} bytes", count(inspection.bytes))]);
    let source = counted([(&header.source, &1)]);
    let source = source.first().map_or("?", |(name, _)| name.as_str());
    let source = match header.source {
        Source::Recorded => "recorded".to_owned(),
        _ => format!("imported ({source})"),
    };
    fact(
        "Source",
        vec![format!("{source}, by reenact {}", header.tool)],
    );
    if header.sample_rate < 1.0 {
        let sampled = format!("{} of conversations", percent(header.sample_rate));
        fact("Sampled", vec![sampled]);
    }
    if let Some(spec) = header.block {
        fact("Prompt block", vec![reading::blocks(1.0, spec)]);
    }
    let models = inspection.models.iter().take(MODELS_NAMED);
    let mut models: Vec<_> = models
        .map(|model| format!("{} {}", count(model.exchanges), model.model))
        .collect();
    if inspection.models.len() > MODELS_NAMED {
        models.push(format!(
            "and {} more",
            inspection.models.len() - MODELS_NAMED
        ));
    }
    if !models.is_empty() {
        fact("Models", models);
    }
    let accounts = &inspection.accounts;
    fact(
        "Accounts",
        vec![format!(
            "{} seen, {} recorded, {} sampled out",
            count(accounts.seen),
            count(accounts.recorded),
            count(accounts.sampled_out)
        )],
    );
    facts
}

const FILES_NAMED: usize = 10;
const MODELS_NAMED: usize = 20;

//! The charts of the page, each with the sentence that says what it shows. The script draws into them by their ids.

use super::distributions::distributions;
use super::{Inspection, reading};
use crate::measure::traffic::picture::{SessionTurns, Timeline};
use crate::report::figures::ms;

/// A chart, with the sentence that says what it shows.
pub(super) struct Figure {
    /// Over the whole width of the page.
    pub(super) wide: bool,
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) small: String,
    pub(super) reading: String,
}

/// The histograms of these distributions, where they were measured.
pub(super) fn histograms(inspection: &Inspection, of: &[&str]) -> Vec<Figure> {
    distributions(&inspection.traffic)
        .into_iter()
        .filter(|distribution| of.contains(&distribution.key))
        .filter_map(|distribution| {
            Some(Figure {
                wide: false,
                id: distribution.chart?,
                title: distribution.name,
                small: distribution.small.to_owned(),
                reading: reading::quantiles(&distribution.quantiles?, distribution.show),
            })
        })
        .collect()
}

pub(super) fn arrivals(inspection: &Inspection) -> Vec<Figure> {
    let (traffic, picture) = (&inspection.traffic, &inspection.picture);
    let windows = windows(&picture.timeline);
    let mut figures = Vec::new();
    if has_course(&picture.timeline) {
        figures.push(Figure {
            wide: true,
            id: "arrivals-time",
            title: "Arrivals by endpoint",
            small: windows.clone(),
            reading: reading::arrivals(&traffic.arrivals).unwrap_or_default(),
        });
    }
    let tokens =
        picture.timeline.prompt_tokens.is_some() || picture.timeline.output_tokens.is_some();
    if tokens && has_course(&picture.timeline) {
        figures.push(Figure {
            wide: false,
            id: "tokens-time",
            title: "Tokens asked for",
            small: windows,
            reading: "At the arrival of their exchange, whenever they were answered.".to_owned(),
        });
    }
    if let Some(reading) = reading::burstiness(&picture.dispersion) {
        figures.push(Figure {
            wide: false,
            id: "dispersion",
            title: "Burstiness by length of window",
            small: "index of dispersion; shaded: Poisson, 95 %".to_owned(),
            reading,
        });
    }
    figures
}

pub(super) fn load(inspection: &Inspection) -> Vec<Figure> {
    let (traffic, picture) = (&inspection.traffic, &inspection.picture);
    let mut figures = Vec::new();
    let course = has_course(&picture.timeline);
    if let Some(reading) = reading::in_flight(traffic, picture).filter(|_| course) {
        figures.push(Figure {
            wide: false,
            id: "in-flight-time",
            title: "Exchanges in flight",
            small: windows(&picture.timeline),
            reading,
        });
    }
    if traffic.errors.count > 0 && course {
        figures.push(Figure {
            wide: false,
            id: "failed-time",
            title: "Exchanges that did not complete",
            small: "by arrival".to_owned(),
            reading: reading::failures(traffic),
        });
    }
    figures
}

/// Whether there is more than one window: one alone is a rate, and one of whatever length was the shortest.
pub(super) fn has_course(timeline: &Timeline) -> bool {
    let mut columns = timeline.arrivals.values();
    columns.any(|column| column.len() > 1)
}

fn windows(timeline: &Timeline) -> String {
    format!("windows of {}", reading::window(timeline.window_s))
}

pub(super) fn session_figures(turns: Option<&SessionTurns>) -> Vec<Figure> {
    let Some(turns) = turns else {
        return Vec::new();
    };
    let mut figures = vec![Figure {
        wide: false,
        id: "turns",
        title: "Turns of a session",
        small: "share of sessions".to_owned(),
        reading: reading::quantiles(&turns.turns, reading::whole),
    }];
    figures.extend(turns.think_ms.as_ref().map(|think| Figure {
        wide: false,
        id: "think",
        title: "Think time",
        small: "end of a turn to the arrival of the next".to_owned(),
        reading: reading::quantiles(think, ms),
    }));
    figures
}

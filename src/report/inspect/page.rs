//! `inspect --html`: what the traffic of a trace looks like, as one self-contained page. The figures are in the HTML; the
//! charts are drawn from a data island.

use std::collections::BTreeMap;
use std::path::Path;

use askama::Template;
use serde::Serialize;

use super::charts::{Figure, arrivals, has_course, histograms, load, session_figures};
use super::distributions::distributions;
use super::icicle::Icicle;
use super::tables::{Row, Tile, count_rows, distribution_rows, facts, over_time, tiles};
use super::{Inspection, reading};
use crate::measure::traffic::Quantiles;
use crate::measure::traffic::picture::{
    Dispersion, PassBand, SessionTurns, SharedPrefix, Timeline,
};
use crate::report::directory::{ReportError, write_whole};
use crate::report::figures::{count, number, percent};
use crate::report::html::skeleton::Skeleton;
use crate::shape::BlockSpec;
use crate::trace::Source;

impl Inspection {
    /// The page.
    ///
    /// # Errors
    /// When it cannot be rendered.
    pub fn html(&self) -> Result<String, ReportError> {
        let failed = |why: String| ReportError::Render {
            what: "the page",
            why,
        };
        let (css, script) = (
            include_str!("../html/inspect.css"),
            include_str!("../html/inspect.js"),
        );
        let skeleton = Skeleton::new(&Island::of(self), css, script)
            .map_err(|error| failed(error.to_string()))?;
        let page = Page::of(self, skeleton);
        page.render().map_err(|error| failed(error.to_string()))
    }

    /// Writes the page to a file, which appears whole or not at all.
    ///
    /// # Errors
    /// When it cannot be rendered or written.
    pub fn write_html(&self, path: &Path) -> Result<(), ReportError> {
        write_whole(path, self.html()?.as_bytes())
    }
}

/// What the script draws from.
#[derive(Serialize)]
struct Island<'a> {
    timeline: &'a Timeline,
    dispersion: &'a [Dispersion],
    histograms: BTreeMap<&'static str, &'a [(f64, u64)]>,
    quantiles: BTreeMap<&'static str, Quantiles>,
}

impl<'a> Island<'a> {
    fn of(inspection: &'a Inspection) -> Self {
        let (traffic, picture) = (&inspection.traffic, &inspection.picture);
        let mut histograms: BTreeMap<_, _> = picture
            .histograms
            .iter()
            .map(|(&name, buckets)| (name, buckets.as_slice()))
            .collect();
        let mut quantiles: BTreeMap<_, _> = distributions(traffic)
            .into_iter()
            .filter_map(|distribution| Some((distribution.key, distribution.quantiles?)))
            .collect();
        if let Some(turns) = &picture.session_turns {
            histograms.insert("turns", &turns.turns_histogram);
            quantiles.insert("turns", turns.turns);
            if let Some(think) = turns.think_ms {
                histograms.insert("think_ms", &turns.think_histogram);
                quantiles.insert("think_ms", think);
            }
        }
        Self {
            timeline: &picture.timeline,
            dispersion: &picture.dispersion,
            histograms,
            quantiles,
        }
    }
}

#[derive(Template)]
#[template(path = "inspect.html")]
struct Page<'a> {
    inspection: &'a Inspection,
    skeleton: Skeleton,
    recorded: bool,
    name: String,
    headline: String,
    tiles: Vec<Tile>,
    distributions: Vec<Row>,
    /// Whether there is anything to draw over time.
    course: bool,
    arrivals: Vec<Figure>,
    load: Vec<Figure>,
    counts: Vec<Row>,
    over_time_heads: Vec<String>,
    over_time: Vec<Vec<String>>,
    tokens: Vec<Figure>,
    latencies: Vec<Figure>,
    shared: Option<Shared<'a>>,
    session_figures: Vec<Figure>,
    facts: Vec<Row>,
}

/// What prompts share.
struct Shared<'a> {
    icicle: Option<Icicle>,
    reading: String,
    bands: &'a [PassBand],
    heaviest: &'a [SharedPrefix],
}

impl<'a> Page<'a> {
    fn of(inspection: &'a Inspection, skeleton: Skeleton) -> Self {
        let (over_time_heads, over_time) = over_time(&inspection.picture.timeline);
        let traffic = &inspection.traffic;
        Self {
            inspection,
            skeleton,
            recorded: inspection.header.source == Source::Recorded,
            name: inspection.name(),
            headline: reading::headline(traffic),
            tiles: tiles(inspection),
            distributions: distribution_rows(inspection),
            course: has_course(&inspection.picture.timeline),
            arrivals: arrivals(inspection),
            load: load(inspection),
            counts: count_rows(traffic),
            over_time_heads,
            over_time,
            tokens: histograms(inspection, &["prompt_tokens", "output_tokens"]),
            latencies: histograms(
                inspection,
                &["ttft_ms", "gap_ms", "e2e_ms", "longest_stall_ms"],
            ),
            shared: shared(inspection),
            session_figures: session_figures(inspection.picture.session_turns.as_ref()),
            facts: facts(inspection),
        }
    }
}

fn shared(inspection: &Inspection) -> Option<Shared<'_>> {
    let tree = inspection.picture.prefix_tree.as_ref()?;
    let (sharing, spec) = (inspection.traffic.prefix?, inspection.header.block?);
    Some(Shared {
        icicle: Icicle::of(tree, spec),
        reading: reading::sharing(&sharing, tree, spec),
        bands: &tree.bands,
        heaviest: &tree.heaviest,
    })
}

/// What the template calls.
impl Page<'_> {
    fn count(&self, value: &u64) -> String {
        count(*value)
    }

    fn number(&self, value: &f64) -> String {
        number(*value)
    }

    fn percent(&self, share: &f64) -> String {
        percent(*share)
    }

    fn window(&self, window_s: &f64) -> String {
        reading::window(*window_s)
    }

    /// A place or size in CSS: more decimals cannot be seen.
    fn place(&self, percent: &f64) -> String {
        format!("{percent:.3}")
    }

    /// The length of a bar that a share fills.
    fn bar(&self, share: &f64) -> String {
        self.place(&(share * 100.0))
    }

    fn blocks(&self, blocks: &u64) -> String {
        let spec = self.inspection.header.block.unwrap_or(BlockSpec::LIVE);
        reading::blocks(reading::float(*blocks), spec)
    }

    fn sessions(&self, turns: &SessionTurns) -> String {
        reading::sessions(turns)
    }
}

//! Runs of one trace against one or more targets as one experiment: what is run and in which order, what is measured of it, and the
//! result document that it ends in. It prints nothing: an [`Audience`] hears how it goes.

mod asked;
mod audience;
mod axis;
mod climb;
mod connections;
mod error;
mod evaluate;
mod evidence;
mod find_max;
mod full_load;
mod live;
mod load;
mod looks;
mod merge;
mod mirror;
mod once;
mod plan;
mod readers;
mod run;
mod rung;
mod runs;
mod schedule;
mod search;
mod stage;
mod survey;
mod sweep;
mod tally;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

pub use audience::{Audience, Place, Ticket};
pub use axis::Axis;
pub use error::CampaignError;
pub use evaluate::Evaluator;
pub use find_max::FindMax;
pub use live::{Live, Served};
pub use merge::{Merge, MergeError};
pub use mirror::{MirrorReport, MirrorReported};
pub use run::Ran;
pub use schedule::Schedule;
pub use survey::Survey;

use crate::measure::MeasureOptions;
use crate::replay::{PlanOptions, RunOptions, Target};
use crate::report::EarlierResult;
use crate::telemetry::PageUrl;
use crate::verdict::Objective;

/// What is replayed against what, and how it is judged.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The trace: files, or directories of them.
    pub traces: Vec<PathBuf>,
    /// Whom it is replayed against; the first is the baseline of relative objectives.
    pub targets: Vec<Target>,
    /// What of the trace is sent, and when.
    pub plan: PlanOptions,
    /// How a run is driven.
    pub run: RunOptions,
    /// Which runs there are.
    pub mode: Mode,
    /// Each round (run or step) after the first begins this long after the one before began, on the wall clock, so that processes that share
    /// the load share every round of it; as soon as the one before is over where absent. Counts from the run's `start_at`.
    pub start_every: Option<Duration>,
    /// What the targets are held to.
    pub objectives: Vec<Objective>,
    /// What of a run is measured, and when it is believed.
    pub measure: MeasureOptions,
    /// What relative objectives are relative to.
    pub baseline: Baseline,
    /// A ratio of latencies within 1 ± this is no difference.
    pub margin: f64,
    /// Where the results go.
    pub out: Option<PathBuf>,
    /// Where GPU memory is read.
    pub gpu: Gpu,
    /// Where engines and exporters tell of themselves.
    pub engine_metrics: EngineMetrics,
    /// Who judges the answers, idle and under load.
    pub evaluator: Option<Evaluator>,
    /// The command line, for the report.
    pub command: Option<String>,
    /// The targets run in this process, so its processor time says nothing of the generator's.
    pub shares_process: bool,
}

/// What relative objectives are relative to.
#[derive(Debug, Clone, Default)]
pub enum Baseline {
    /// The first target.
    #[default]
    First,
    /// What production's clients felt when the trace was recorded.
    Recorded,
    /// A target of an earlier replay of the same plan, run by run.
    Earlier(Box<EarlierResult>),
}

/// Which runs a campaign has.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// The plan as it is.
    Runs {
        /// In which order targets and repeats follow one another.
        schedule: Schedule,
        /// Runs of each target, at least one.
        repeats: u32,
    },
    /// The plan at each of several loads.
    Sweep {
        /// What is raised.
        by: Axis,
        /// To what.
        loads: Vec<f64>,
        /// A step lasts at least so long: where the plan is shorter, it is replayed again and again.
        step: Duration,
    },
    /// A search for the largest load that meets the objectives.
    FindMax(FindMax),
}

impl Mode {
    /// Each target once.
    pub const ONCE: Self = Self::Runs {
        schedule: Schedule::Serial,
        repeats: 1,
    };
}

/// Where engines and exporters tell of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineMetrics {
    /// On each target's own `/metrics`, where it has one.
    Auto,
    /// Nowhere.
    Off,
    /// On these pages, each of the target of that name, or of every target.
    Pages(Vec<(Option<String>, PageUrl)>),
}

/// Where GPU memory is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpu {
    /// NVML, where there is one.
    Auto,
    /// Nowhere.
    Off,
    /// These GPUs (by index or UUID; all where none is named) by this library (wherever it lies where absent); that it cannot be used is
    /// told.
    Asked {
        /// Where the library lies.
        library: Option<PathBuf>,
        /// Which GPUs.
        chosen: Vec<String>,
    },
}

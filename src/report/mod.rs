//! The result of a run and how it is shown: JSON for machines, a terminal summary, a self-contained HTML page, Markdown,
//! JUnit, one line for each request. No statistic is computed here.

/// What in a trace could identify someone.
pub mod audit;
mod columns;
mod comparison;
mod csv;
mod directory;
mod document;
mod driver_errors;
mod earlier;
mod fidelity;
mod figures;
mod findings;
mod gaps;
mod hgrm;
mod histograms;
mod html;
pub mod inspect;
mod junit;
mod loads;
mod markdown;
mod packed;
pub mod policy;
mod quality;
mod requests;
mod samples;
mod terminal;
mod textfile;

pub use comparison::ComparisonDocument;
pub use directory::{ReportError, ResultDirectory};
pub use document::{
    Charts, ConnectionsAccount, ConnectionsMode, MirrorAccount, PlanAccount, ReadRateAccount,
    ReadersMode, ResultDocument, ScheduleAccount, ScheduledRun, ShardAccount, SliceAccount,
    TargetCharts, Tool, TraceAccount,
};
pub use earlier::{Difference, EarlierError, EarlierResult};
pub use gaps::{RunGaps, read_gaps};
pub use histograms::{RunHistograms, read_histograms};
pub use requests::{LoggedRequest, RequestLog, read_requests};
pub use samples::{RunSamples, read_samples};
pub use terminal::summary;

//! The replay engine: plan, synthesise, pace, send, outcome. It neither aggregates nor prints.

mod agenda;
mod ask;
mod calibrate;
mod client;
mod connections;
mod conversation;
mod dial;
mod evidence;
mod gate;
mod headers;
mod idle;
mod in_flight;
mod outcome;
mod pace;
mod plan;
mod preparer;
mod progress;
mod prompt;
mod read_rate;
mod readers;
mod room;
mod run;
mod source;
mod survey;
mod synthesise;
mod target;
mod worker;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use ask::{AskOptions, Asked, ask_greedily};
pub use calibrate::{
    CalibrateOptions, Calibration, EndpointCalibration, Forced, Problem, TargetError, Vocabulary,
    VocabularySource, calibrate,
};
pub use connections::Connections;
pub use conversation::{SessionMode, TurnAccount};
pub(crate) use dial::Dialer;
pub use evidence::{Alike, Evidence};
pub use gate::Gate;
pub use headers::{BadHeader, ExtraHeaders};
pub use outcome::{FailureKind, RecordedTimes, RequestOutcome, SendResult};
pub use plan::{
    Plan, PlanError, PlanOptions, PlannedRequest, Planner, Shape, Shard, SkipReason, Skipped, Turn,
    is_exported,
};
pub use progress::{Progress, Stop};
pub use prompt::{
    Cache, CorpusError, MediaShape, PromptAs, PromptOptions, Salt, TokenCosts, Words,
};
pub use read_rate::ReadRate;
pub use readers::Readers;
pub use run::{Ended, RunError, RunOptions, RunSummary, run};
pub use source::{Passes, Source};
pub use survey::{EndpointNeeds, PlanSummary};
pub use synthesise::{Alteration, Alterations, LengthPolicy};
pub(crate) use target::without_user_info;
pub use target::{BadKey, BaseUrl, Credentials, HttpVersion, Target, UrlError};

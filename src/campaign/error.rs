use crate::replay::{PlanError, RunError, TargetError};
use crate::report::ReportError;
use crate::trace::TraceError;

/// Why a campaign could not be run.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The plan.
    #[error(transparent)]
    Plan(PlanError),
    /// The trace holds nothing that could be sent.
    #[error("there is nothing in the trace to replay{}", .why.as_ref().map_or_else(String::new, |why| format!(": {why}")))]
    Nothing {
        /// Why, where it is known.
        why: Option<String>,
        /// What mends it.
        hint: &'static str,
    },
    /// The trace is shorter than a step of a search.
    #[error("the trace holds {holds} requests to send, and a step of this search needs {needs}")]
    Short {
        /// Requests in the plan.
        holds: u64,
        /// Requests that the objectives need.
        needs: u64,
    },
    /// A model of a map is not in the trace.
    #[error("--model-map {name}=…: no request of the plan asked for `{name}`")]
    UnknownModel {
        /// What was written.
        name: String,
        /// The models that were asked for.
        there: Vec<String>,
    },
    /// A target, before its run.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A run.
    #[error(transparent)]
    Run(RunError),
    /// A run would begin at the end of time.
    #[error("--start-every puts run {} at a moment that no clock tells", .round.saturating_add(1))]
    NoSuchMoment {
        /// Which of the rounds, from 0.
        round: u64,
    },
    /// Connections were to be as recorded.
    #[error("--connections recorded: the trace does not tell which requests began a connection")]
    UntoldConnections,
    /// This machine.
    #[error("a run cannot be started: {0}")]
    Thread(std::io::Error),
    /// A bug in the measuring.
    #[error("a run's thread panicked: this is a bug")]
    Panicked,
    /// The earlier result that this one is to be compared with.
    #[error("the baseline was not sent the same: {0}")]
    OtherPlan(String),
    /// The results.
    #[error(transparent)]
    Results(#[from] ReportError),
}

impl CampaignError {
    /// What mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Trace(error) => error.hint().map(Into::into),
            Self::Plan(error) => error.hint().map(Into::into),
            Self::Nothing { hint, .. } => Some((*hint).to_owned()),
            Self::Short { .. } => Some(
                "leave --limit out, and the trace is replayed again and again; or take objectives that fewer requests decide (ttft.p90 instead of ttft.p99)".to_owned(),
            ),
            Self::UnknownModel { there, .. } => {
                Some(format!("the plan's models are {}", there.join(", ")))
            }
            Self::Target(error) => Some(error.hint().into()),
            Self::Run(RunError::StartMissed) => Some(
                "give --start-at a later moment: the trace is read and the target probed before it; of several runs, give --start-every longer than one takes"
                    .to_owned(),
            ),
            Self::NoSuchMoment { .. } => {
                Some("give --start-every a time that a run takes, such as 15m".to_owned())
            }
            Self::UntoldConnections => Some(
                "leave --connections out, or share them: --connections shared. Imports do not tell, nor do traces of earlier recorders"
                    .to_owned(),
            ),
            Self::Run(_) | Self::Thread(_) | Self::Panicked => None,
            Self::OtherPlan(_) => Some(
                "replay the same trace with the baseline's options: its result.json has the command"
                    .to_owned(),
            ),
            Self::Results(_) => {
                Some("give --out a directory that can be made and written to".to_owned())
            }
        }
    }
}

impl From<PlanError> for CampaignError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Trace(error) => Self::Trace(error),
            other => Self::Plan(other),
        }
    }
}

impl From<RunError> for CampaignError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Target(error) => Self::Target(error),
            other => Self::Run(other),
        }
    }
}

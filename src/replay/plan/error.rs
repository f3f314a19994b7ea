use crate::trace::TraceError;

/// Why a plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Later turns or moved copies would have to wait in memory, too many of them.
    #[error(
        "more than {} MiB of requests would have to be held until their turn comes, since the plan's order is not the trace's",
        most_bytes >> 20
    )]
    TooManyHeld {
        /// What may be held.
        most_bytes: usize,
    },
    /// A loop over nothing.
    #[error(
        "the slice's requests all come at one instant, so going round it again and again would take no time"
    )]
    NoSpan,
}

impl PlanError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Trace(error) => error.hint(),
            Self::TooManyHeld { .. } => Some(
                "a shorter --copy-shift, a --speed nearer to 1, --sessions independent, or a shorter slice (--from, --to) takes less",
            ),
            Self::NoSpan => {
                Some("--loop-for needs a slice in which time passes: see `reenact inspect`")
            }
        }
    }
}

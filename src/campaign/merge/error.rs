use std::path::PathBuf;

use crate::report::ReportError;

/// Why results could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A file of a shard, or of the merged result.
    #[error(transparent)]
    File(#[from] ReportError),
    /// It is a whole replay.
    #[error("{path} is no shard: it was replayed without --shard")]
    Whole {
        /// The result.
        path: PathBuf,
    },
    /// It has steps.
    #[error("{path} is of a sweep or a search, of which each shard took its own way")]
    Steps {
        /// The result.
        path: PathBuf,
    },
    /// Two results are the same shard.
    #[error("{one} and {other} are both shard {shard}")]
    Twice {
        /// One.
        one: PathBuf,
        /// The other.
        other: PathBuf,
        /// Which, as I/N.
        shard: String,
    },
    /// Some are not there.
    #[error("of {count} shards, {missing} {} missing", if .missing.contains(',') { "are" } else { "is" })]
    Missing {
        /// Which, as numbers from 0.
        missing: String,
        /// Of how many.
        count: u32,
    },
    /// They are not of one replay.
    #[error("{one} and {other} are not of one replay: {what} differs ({in_one} and {in_other})")]
    Unlike {
        /// One.
        one: PathBuf,
        /// The other.
        other: PathBuf,
        /// In what.
        what: String,
        /// What the one has.
        in_one: String,
        /// What the other has.
        in_other: String,
    },
    /// Its gaps between tokens cannot be read.
    #[error(transparent)]
    UnreadGaps(ReportError),
    /// Its gaps between tokens are not those of its requests.
    #[error("{path}: gaps.json.zst is of another run than requests.jsonl.zst")]
    Gaps {
        /// The result.
        path: PathBuf,
    },
    /// Its files are not of one run.
    #[error("{path}: requests.jsonl.zst and histograms.json.zst are not of the same run")]
    Mixed {
        /// The result.
        path: PathBuf,
    },
    /// What was sampled beside its requests is not whole.
    #[error("{path} tells of memory, and samples.json.zst, which has it whole, is not there")]
    Unsampled {
        /// The result.
        path: PathBuf,
    },
}

impl MergeError {
    /// What mends it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File(ReportError::Io { .. }) | Self::Unsampled { .. } => {
                "name the directories that `reenact replay --out` wrote, whole"
            }
            Self::File(_) | Self::Mixed { .. } => {
                "name directories that were written by one run of this version of reenact"
            }
            Self::Gaps { .. } | Self::UnreadGaps(_) => {
                "without gaps.json.zst all but itl is compared: move it away"
            }
            Self::Whole { .. } => "`reenact compare` sets whole replays side by side",
            Self::Steps { .. } => {
                "merge shards of plain replays; run sweeps and searches on one machine"
            }
            Self::Twice { .. } => "name each shard once",
            Self::Missing { .. } => "name the results of every shard, 0/N to N-1/N",
            Self::Unlike { .. } => {
                "shards of one replay have the same trace, options, seed and targets, and their --shard in nothing else"
            }
        }
    }
}

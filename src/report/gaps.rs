use std::path::Path;

use serde::{Deserialize, Serialize};

use super::directory::ReportError;
use super::packed::{pack, unpack_if_there};
use crate::measure::{GapSample, OfAnotherRun, RunSample};

/// The gaps between tokens of one run of one target, as many as its comparisons look at. The requests' log has only the longest of each answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunGaps {
    /// The target.
    pub target: String,
    /// Which of its runs, from 0.
    pub run: u64,
    /// Its gaps.
    pub gaps: GapSample,
}

impl RunGaps {
    /// Those of a run's sample, where they are known.
    pub fn of(target: &str, run: u64, sample: &RunSample) -> Option<Self> {
        Some(Self {
            target: target.to_owned(),
            run,
            gaps: sample.gaps()?.clone(),
        })
    }
}

/// The bytes of `gaps.json.zst`.
pub(super) fn render(runs: &[RunGaps]) -> Result<Vec<u8>, ReportError> {
    pack(NAME, SCHEMA, &runs)
}

/// Reads the `gaps.json.zst` of a result; `None` where it has no such file, as those of earlier versions.
///
/// # Errors
/// When the file cannot be read, or is not what its name says.
pub fn read_gaps(directory: &Path) -> Result<Option<Vec<RunGaps>>, ReportError> {
    unpack_if_there(&directory.join(NAME), SCHEMA)
}

/// That the gaps of a result are not of its requests.
pub(super) fn foreign(directory: &Path, why: &OfAnotherRun) -> ReportError {
    ReportError::Foreign {
        path: directory.join(NAME),
        why: format!("{why} than requests.jsonl.zst"),
    }
}

pub(super) const NAME: &str = "gaps.json.zst";
const SCHEMA: &str = "reenact.gaps/1";

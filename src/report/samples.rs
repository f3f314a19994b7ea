use std::path::Path;

use serde::{Deserialize, Serialize};

use super::directory::ReportError;
use super::packed::{pack, unpack_if_there};
use crate::telemetry::Timelines;

/// What was sampled beside the requests of one run of one target, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSamples {
    /// The target.
    pub target: String,
    /// Which of its runs, from 0.
    pub run: u64,
    /// What was sampled. (Not flattened: serde then reads no map whose keys are numbers, and processes have such.)
    pub sampled: Timelines,
}

/// The bytes of `samples.json.zst`.
pub(super) fn render(runs: &[RunSamples]) -> Result<Vec<u8>, ReportError> {
    pack(NAME, SCHEMA, &runs)
}

/// Reads the `samples.json.zst` of a shard; `None` where it has none, as those of earlier versions.
///
/// # Errors
/// When the file cannot be read, or is not what its name says.
pub fn read_samples(directory: &Path) -> Result<Option<Vec<RunSamples>>, ReportError> {
    unpack_if_there(&directory.join(NAME), SCHEMA)
}

pub(super) const NAME: &str = "samples.json.zst";
const SCHEMA: &str = "reenact.samples/1";

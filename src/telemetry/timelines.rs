use serde::{Deserialize, Serialize};

use super::engine::EngineTimeline;
use super::series::GpuTimeline;

/// What was sampled beside the requests: of one page, or of all that there was to sample of a target during a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timelines {
    /// Of the engine.
    pub engine: EngineTimeline,
    /// Of GPUs, where something tells of some.
    pub gpus: GpuTimeline,
}

use super::engine::EngineSummary;
use super::memory::MemorySamples;
use super::summary::GpuSummary;

/// What was sampled beside the requests of a run, summed up, and where its windows find it.
#[derive(Default)]
pub struct Observed<'a> {
    /// GPUs, by source and index.
    pub gpu: Vec<GpuSummary>,
    /// What the engine told of itself.
    pub engine: Option<EngineSummary>,
    /// How full memories were.
    pub memory: MemorySamples,
    /// What was sampled in a window of the run, given its start and end in microseconds; nothing where absent.
    pub window: Option<Box<dyn Fn(u64, u64) -> Sampled + 'a>>,
}

/// What was sampled in one window of a run; absent where nothing was.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sampled {
    /// The most tokens of open requests.
    pub in_flight_tokens: Option<f64>,
    /// The most GPU memory in use, over all GPUs.
    pub vram_used_bytes: Option<u64>,
    /// The fullest that the KV cache was, 0 to 1.
    pub kv_cache: Option<f64>,
    /// The most requests that waited in the engine.
    pub waiting: Option<f64>,
    /// Requests thrown out of the batch from the run's start on, at the window's end.
    pub preemptions: Option<f64>,
}

impl Observed<'_> {
    pub(super) fn sampled(&self, start_us: u64, end_us: u64) -> Sampled {
        let window = self.window.as_ref();
        window.map_or_else(Sampled::default, |window| window(start_us, end_us))
    }
}

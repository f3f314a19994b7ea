use super::engine::{EngineSummary, summarise_engine};
use super::gpu::summarise_gpus;
use super::memory::MemorySamples;
use super::summary::GpuSummary;
use crate::telemetry::{GpuSeries, Signal, Timelines};

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

impl<'a> Observed<'a> {
    /// All that these samples say.
    pub fn of(sampled: &'a Timelines) -> Self {
        Self {
            gpu: summarise_gpus(&sampled.gpus),
            engine: summarise_engine(&sampled.engine),
            memory: memory(sampled),
            window: Some(Box::new(|start_us, end_us| {
                within(sampled, start_us, end_us)
            })),
        }
    }

    pub(super) fn sampled(&self, start_us: u64, end_us: u64) -> Sampled {
        let window = self.window.as_ref();
        window.map_or_else(Sampled::default, |window| window(start_us, end_us))
    }
}

fn memory(sampled: &Timelines) -> MemorySamples {
    let signal = |signal: Signal| -> Vec<(u64, f64)> {
        let samples = sampled.engine.samples.iter();
        let told = samples.filter_map(|sample| Some((sample.at_us, sample.get(signal)?)));
        told.collect()
    };
    let gpus = &sampled.gpus.gpus;
    let fullest = gpus
        .iter()
        .filter_map(|gpu| Some((gpu, gpu.fullest()?)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b));
    let of_gpu = |gpu: &GpuSeries| -> Vec<(u64, f64)> {
        let samples = gpu.samples.iter();
        samples
            .map(|sample| (sample.at_us, float(sample.used_bytes)))
            .collect()
    };
    let told = gpus.iter().filter(|gpu| !gpu.samples.is_empty());
    let last = sampled.engine.samples.last();
    MemorySamples {
        gpu_bytes: told.map(of_gpu).collect(),
        host_bytes: signal(Signal::HostBytes),
        preemptions: signal(Signal::Preemptions),
        ooms: last.and_then(|last| last.get(Signal::Ooms)),
        kv_cache: signal(Signal::KvUsage),
        vram: fullest.map_or_else(Vec::new, |(gpu, _)| gpu.shares().collect()),
    }
}

fn within(sampled: &Timelines, start_us: u64, end_us: u64) -> Sampled {
    let peak = |signal| sampled.engine.peak_between(signal, start_us, end_us);
    Sampled {
        in_flight_tokens: None,
        vram_used_bytes: sampled.gpus.used_between(start_us, end_us),
        kv_cache: peak(Signal::KvUsage),
        waiting: peak(Signal::Waiting),
        preemptions: peak(Signal::Preemptions),
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes stay below 2^53")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

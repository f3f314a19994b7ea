//! How full memory is against the tokens in flight, and where it runs out.

mod boundary;
mod cliffs;
mod growth;
mod in_flight;
mod ooms;

use serde::{Deserialize, Serialize};

pub use boundary::Boundary;
pub use cliffs::Cliff;
pub(super) use cliffs::{TpotLog, cliffs};
pub use growth::MemoryGrowth;
use growth::{Loaded, apart_from_load};
pub(super) use in_flight::TokensInFlight;
pub(super) use ooms::OomLog;
pub use ooms::{OomEvent, Ooms};

/// Samples of how full memories were during a run, in order of time: microseconds since its start, and the share in use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemorySamples {
    /// The engine's KV cache.
    pub kv_cache: Vec<(u64, f64)>,
    /// The GPU that is fullest at its peak.
    pub vram: Vec<(u64, f64)>,
    /// Bytes in use of each GPU, in the order of [`Observed::gpu`](super::Observed::gpu).
    pub gpu_bytes: Vec<Vec<(u64, f64)>>,
    /// Requests thrown out of the batch since the run's start.
    pub preemptions: Vec<(u64, f64)>,
    /// Allocations that failed during the run, where the engine counts them.
    pub ooms: Option<f64>,
    /// Bytes that the engine's process has in the host's memory.
    pub host_bytes: Vec<(u64, f64)>,
}

impl MemorySamples {
    /// How a memory grew, apart from what the KV cache in use (where the engine tells it), else the tokens in flight took of it.
    pub(super) fn growth(
        &self,
        tokens: &TokensInFlight,
        bytes: &[(u64, f64)],
    ) -> Option<MemoryGrowth> {
        let load = |us: u64| match nearest(&self.kv_cache, us) {
            Some(share) => share,
            None => tokens.at(us),
        };
        let step = bytes.len().div_ceil(MOST_SAMPLES).max(1);
        let samples: Vec<Loaded> = bytes
            .iter()
            .step_by(step)
            .map(|&(us, bytes)| Loaded {
                t_s: seconds(us),
                bytes,
                load: load(us),
            })
            .collect();
        apart_from_load(&samples)
    }
}

/// The sample nearest to an instant.
fn nearest(samples: &[(u64, f64)], us: u64) -> Option<f64> {
    let after = samples.partition_point(|(at, _)| *at < us);
    let before = after.checked_sub(1).and_then(|place| samples.get(place));
    let near = [before, samples.get(after)].into_iter().flatten();
    near.min_by_key(|(at, _)| at.abs_diff(us))
        .map(|(_, value)| *value)
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Samples of one memory that are looked at: half an hour at ten a second.
const MOST_SAMPLES: usize = 18_000;

/// Memory against load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Where the engine's KV cache runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<Boundary>,
    /// Where the memory of the fullest GPU runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram: Option<Boundary>,
    /// What was seen, thinned to a chart's worth.
    pub points: Vec<MemoryPoint>,
}

/// How full memories were at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryPoint {
    /// Tokens in flight.
    pub in_flight_tokens: f64,
    /// Share of the KV cache in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<f64>,
    /// Share of the GPU's memory in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram: Option<f64>,
}

/// Puts samples beside the tokens that were in flight; `None` where nothing was sampled.
pub(super) fn memory(tokens: &TokensInFlight, samples: &MemorySamples) -> Option<Memory> {
    let beside = |samples: &[(u64, f64)]| -> Vec<(f64, f64)> {
        let pairs = samples.iter().map(|&(us, share)| (tokens.at(us), share));
        pairs.collect()
    };
    let (kv_cache, vram) = (beside(&samples.kv_cache), beside(&samples.vram));
    if kv_cache.is_empty() && vram.is_empty() {
        return None;
    }
    let point = |in_flight_tokens| MemoryPoint {
        in_flight_tokens,
        ..MemoryPoint::default()
    };
    let of_cache = thin(&kv_cache).map(|(tokens, share)| MemoryPoint {
        kv_cache: Some(share),
        ..point(tokens)
    });
    let of_gpu = thin(&vram).map(|(tokens, share)| MemoryPoint {
        vram: Some(share),
        ..point(tokens)
    });
    Some(Memory {
        kv_cache: boundary::boundary(&kv_cache),
        vram: boundary::boundary(&vram),
        points: of_cache.chain(of_gpu).collect(),
    })
}

fn thin(pairs: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let step = pairs.len().div_ceil(POINTS).max(1);
    pairs.iter().copied().step_by(step)
}

/// Points of one memory that a chart shows.
const POINTS: usize = 400;

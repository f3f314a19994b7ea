//! How full memory is against the tokens in flight, and where it runs out.

mod boundary;
mod in_flight;

use serde::{Deserialize, Serialize};

pub use boundary::Boundary;
pub(super) use in_flight::TokensInFlight;

/// Samples of how full memories were during a run, in order of time: microseconds since its start, and the share in use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemorySamples {
    /// The engine's KV cache.
    pub kv_cache: Vec<(u64, f64)>,
    /// The GPU that is fullest at its peak.
    pub vram: Vec<(u64, f64)>,
}

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

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bars that a run must meet to be valid; printed with every result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FidelityBar {
    /// Lateness at P99 may be this (in milliseconds in results), or [`Self::lateness_of_ttft`] of the median TTFT, whichever is more.
    #[serde(
        rename = "lateness_ms",
        serialize_with = "milliseconds",
        deserialize_with = "of_milliseconds"
    )]
    pub lateness: Duration,
    /// See [`Self::lateness`].
    pub lateness_of_ttft: f64,
    /// Processor share above which the generator may have been the bottleneck.
    pub cpu_share: f64,
    /// Prompt tokens that are off, as a share of all those wanted.
    pub prompt_tokens_error: f64,
    /// Absolute difference of the prefix shares recorded and sent.
    pub prefix_share_error: f64,
    /// Kolmogorov–Smirnov distance of the gaps between sends, intended against actual.
    pub ks_distance: f64,
}

impl Default for FidelityBar {
    fn default() -> Self {
        Self {
            lateness: Duration::from_millis(2),
            lateness_of_ttft: 0.05,
            cpu_share: 0.6,
            prompt_tokens_error: 0.02,
            prefix_share_error: 0.02,
            ks_distance: 0.1,
        }
    }
}

fn milliseconds<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64() * 1000.0)
}

fn of_milliseconds<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Duration, D::Error> {
    let ms = f64::deserialize(from)?;
    Duration::try_from_secs_f64(ms / 1000.0).map_err(serde::de::Error::custom)
}

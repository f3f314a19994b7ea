//! The steps of a sweep or of a search for the limit, as the result document tells them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::distribution::LatencySummary;
use super::misses::Misses;
use super::summary::{Goodput, Requests, Throughput};

/// One step: the trace replayed at one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Arrivals came this many times as fast.
    pub speed: f64,
    /// This many times as many sessions.
    pub rate_scale: f64,
    /// Requests a second that were planned.
    pub offered_per_s: f64,
    /// What it says of the objectives.
    pub verdict: StepVerdict,
    /// Why.
    pub reason: String,
    /// What else a reader should know of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The trace was too short for the step, and was replayed again and again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub looped: bool,
    /// A second run at the load that the search ended at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub confirmation: bool,
    /// How long it took, with its warm-up, in seconds.
    pub elapsed_s: f64,
    /// Requests of the warm-up, which are in no figure.
    pub warm_up: u64,
    /// What became of the measured requests.
    pub requests: Requests,
    /// Its latencies, named as the target's.
    pub latency: BTreeMap<&'static str, LatencySummary>,
    /// Rates over the step.
    pub throughput: Throughput,
    /// Requests that met every per-request objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput: Option<Goodput>,
    /// Requests that missed, for each objective that is about single requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<Misses>,
}

/// What a step says of the objectives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepVerdict {
    /// All were met.
    Pass,
    /// One was missed.
    Fail,
    /// The step's requests do not tell: as many missed as about may.
    Undecided,
    /// The queue only grew: the load is above the target's capacity, and its latencies depend on the step's length.
    Saturated,
    /// The generator was the bottleneck, or the replay was not faithful.
    Invalid,
    /// There was nothing to judge it by.
    Measured,
}

/// Where a search for the limit ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// What was raised: `speed` or `rate`.
    pub by: &'static str,
    /// The largest load that was shown to meet every objective, as a factor; absent where even the first did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Requests a second at that load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<f64>,
    /// The smallest load that was not shown to meet them; absent where the search ended before one was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// How close the two were to be, as a share.
    pub precision: f64,
    /// A second run at the limit met the objectives, too.
    pub confirmed: bool,
    /// How it ended, in a sentence.
    pub reason: String,
}

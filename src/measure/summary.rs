//! What the result document says of a target, under the document's own names. Absent means not measured; zero is measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ChangePoint, Cliff, EngineSummary, Fidelity, Knee, LatencySummary, Limit, MeasuredWindow,
    Memory, MemoryGrowth, Misses, Ooms, QualitySummary, RetryAfter, RunFigures, Spread, Step,
};
use crate::replay::TurnAccount;

/// One target's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetSummary {
    /// Its name on the command line.
    pub name: String,
    /// Its base URL, without credentials.
    pub url: String,
    /// The model asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What its connections spoke: `http/1.1`, `h2` or `h2c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// A simulated server answered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// What became of the requests.
    pub requests: Requests,
    /// Latencies by name: `ttft_ms`, `itl_ms`, `tpot_ms`, `e2e_ms`; and beside them `ttft_answer_ms`,
    /// `ttft_from_send_ms`, `e2e_from_send_ms`.
    pub latency: BTreeMap<&'static str, LatencySummary>,
    /// Rates over the run.
    pub throughput: Throughput,
    /// Where the measured window lies; of several runs, lengths and rates are means, and requests are added up.
    pub window: MeasuredWindow,
    /// Why its latencies say how long the run was and no more: the queue only grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturated: Option<String>,
    /// Tokens that an event of a stream carried, in the mean: above 1, ITL counts events of several tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_event: Option<f64>,
    /// Requests that met every per-request objective, where there are such objectives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput: Option<Goodput>,
    /// Requests that missed, for each objective that is about single requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<Misses>,
    /// How true the replay was.
    pub fidelity: Fidelity,
    /// How the later turns of conversations came beside their instants in the trace, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<TurnAccount>,
    /// GPUs, by source and index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpu: Vec<GpuSummary>,
    /// What its engine told of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineSummary>,
    /// How full memory was against the tokens in flight, and where it runs out; of several runs, the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Where memory ran out; of several runs, all.
    #[serde(skip_serializing_if = "Ooms::is_none")]
    pub oom: Ooms,
    /// What an evaluator said of its answers, idle and under load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualitySummary>,
    /// Moments at which the run changed its course; of several runs, the first (each has its own in `runs`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangePoint>,
    /// Loads from which on it was worse at once; of several runs, the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cliffs: Vec<Cliff>,
    /// The run over time; of several runs, the first.
    pub timeline: Vec<Window>,
    /// Each run, where there were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunFigures>,
    /// How figures vary over those runs, by name: `ttft_ms.p99`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub spread: BTreeMap<String, Spread>,
    /// Each step of a sweep, or of a search for the limit; the other figures are then those of the highest step that met every
    /// objective, else of the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Where a search for the limit ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Where the curve of a sweep bends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knee: Option<Knee>,
}

/// What became of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// In the plan.
    pub planned: u64,
    /// Of which the first byte was sent.
    pub sent: u64,
    /// Answered whole.
    pub ok: u64,
    /// Failed: misses of every latency objective.
    pub failed: u64,
    /// Cancelled where the recorded client had.
    pub cancelled: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// What refused ones were asked to wait, where any was.
    #[serde(skip_serializing_if = "RetryAfter::is_none")]
    pub retry_after: RetryAfter,
}

/// Rates over the run, from the first intended send to the last answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Throughput {
    /// Answers a second.
    pub requests_per_s: f64,
    /// Prompt tokens of answered requests a second, as the target counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens_per_s: Option<f64>,
    /// Generated tokens a second, as the target counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_s: Option<f64>,
}

/// Requests that met every per-request objective (DistServe, OSDI 2024).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Goodput {
    /// Their share of the planned requests that were not cancelled.
    pub rate: f64,
    /// How many a second.
    pub requests_per_s: f64,
}

/// One GPU over the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuSummary {
    /// Who told: `nvml`.
    pub source: String,
    /// The source's index of it.
    pub index: u32,
    /// Its UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Memory it has.
    pub total_bytes: u64,
    /// Memory in use at the first sample.
    pub used_start_bytes: u64,
    /// The most seen in use; a lower bound, since samples are points in time.
    pub used_peak_bytes: u64,
    /// Memory in use at the last sample.
    pub used_end_bytes: u64,
    /// Trend of memory in use (Theil–Sen): apart from the load where [`Self::growth`] is there, else as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes_per_s: Option<f64>,
    /// Its 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_ci95: Option<(f64, f64)>,
    /// What is left of that apart from the load, from half a minute on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<MemoryGrowth>,
    /// Which MIG instance of that GPU it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
    /// What processes had of it, where the driver tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<GpuProcess>,
    /// Errors (Xid) that the driver reported of it during the run; of several runs, all, each with its own clock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xids: Vec<GpuXid>,
    /// Why NVML does not report them, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xids_unwatched: Option<String>,
    /// Samples taken.
    pub samples: u64,
    /// Why sampling stopped or had gaps, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// An error that the driver reported of a GPU.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuXid {
    /// Seconds since the run began.
    pub t_s: f64,
    /// NVIDIA's number of it.
    pub xid: u64,
    /// What it stands for, where that says something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
}

/// A process that has memory of a GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Its id, as the driver counts: the host's.
    pub pid: u32,
    /// The most that it was seen to have, at one look in ten seconds.
    pub used_peak_bytes: u64,
    /// What this machine called it at the run's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is the target's: it listens on the target's port, or was begun by what does. Absent where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_target: Option<bool>,
}

/// One window of the run. Requests belong to the window of their intended send.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Window {
    /// Start, in seconds since the run's.
    pub t_s: f64,
    /// Requests open, in the mean over the window's time; of the last window up to when the last request was over.
    pub in_flight: f64,
    /// Most tokens of open requests at once (mean over a quarter of a second, or a 1,200th of a longer run): prompts, and answers as
    /// they grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_tokens: Option<f64>,
    /// Requests of the window that were sent.
    pub sent: u64,
    /// Requests that were over in it, whichever window they were of.
    #[serde(skip)]
    pub ended: u64,
    /// Of those sent, answered whole.
    pub ok: u64,
    /// Of them, failed.
    pub failed: u64,
    /// Median TTFT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p50_ms: Option<f64>,
    /// 99th percentile of TTFT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p99_ms: Option<f64>,
    /// Median E2E.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2e_p50_ms: Option<f64>,
    /// 99th percentile of E2E.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2e_p99_ms: Option<f64>,
    /// Latest send against its intended instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lateness_max_ms: Option<f64>,
    /// Tokens of answers that ended in the window, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_s: Option<f64>,
    /// GPU memory in use, over all GPUs; the most in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vram_used_bytes: Option<u64>,
    /// Share of the engine's KV cache in use; the most in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<f64>,
    /// Requests that waited in the engine; the most in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<f64>,
    /// Requests thrown out of the engine's batch from the run's start to the window's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preemptions: Option<f64>,
}

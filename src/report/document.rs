use std::collections::BTreeMap;

use serde::Serialize;

use crate::measure::{Comparison, Distribution, Latencies, TargetSummary};
use crate::verdict::Verdict;

/// `result.json`, schema `reenact.result/1` (docs/result.schema.json). Absent means not measured; a zero is a measured zero.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResultDocument {
    /// `reenact.result/1`
    pub schema: &'static str,
    /// What made it.
    pub tool: Tool,
    /// Wall-clock start, RFC 3339.
    pub started_at: String,
    /// How long it all took.
    pub elapsed_s: f64,
    /// A simulated server answered: nothing here is true of a real one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// The command line, as typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What was replayed.
    pub trace: TraceAccount,
    /// How.
    pub plan: PlanAccount,
    /// Against what, with what came of it.
    pub targets: Vec<TargetSummary>,
    /// Each target after the first, beside the first.
    pub comparison: Vec<Comparison>,
    /// The end of it.
    pub verdict: Verdict,
}

/// What made a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Version of reenact.
    pub version: &'static str,
}

/// The trace that was replayed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TraceAccount {
    /// Its files.
    pub files: Vec<String>,
    /// Exchanges in it.
    pub exchanges: u64,
    /// From its first arrival to its last.
    pub span_s: f64,
}

/// How the trace was replayed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PlanAccount {
    /// Arrivals came this many times as fast.
    pub speed: f64,
    /// This many times as many sessions.
    pub rate_scale: f64,
    /// When the later turns of conversations were sent: `linked`, `catch-up` or `independent`; the last, too, where the trace has no
    /// later turns.
    pub sessions: String,
    /// What the words of the prompts were drawn with.
    pub seed: u64,
    /// Requests planned for each target.
    pub planned: u64,
    /// Planned span in seconds, after scaling.
    pub span_s: f64,
    /// Exchanges of the trace that were not replayed, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
}

impl ResultDocument {
    /// The schema's name.
    pub const SCHEMA: &'static str = "reenact.result/1";
}

/// What the HTML page draws beyond the document: whole distributions.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Charts {
    /// In the order of the document's targets.
    pub targets: Vec<TargetCharts>,
}

/// One target's distributions, by latency (`ttft`, `itl`, `tpot`, `e2e`, `lateness`).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TargetCharts {
    /// (share of requests, milliseconds)
    pub curves: BTreeMap<&'static str, Vec<(f64, f64)>>,
    /// (upper edge in milliseconds, values)
    pub buckets: BTreeMap<&'static str, Vec<(f64, u64)>>,
}

impl TargetCharts {
    /// The charts of one target's latencies and of its sends' lateness.
    pub fn of(latencies: &Latencies, lateness: &Distribution) -> Self {
        let named = [
            ("ttft", &latencies.ttft),
            ("itl", &latencies.itl),
            ("tpot", &latencies.tpot),
            ("e2e", &latencies.e2e),
            ("lateness", lateness),
        ];
        let present = named.into_iter().filter(|(_, latency)| latency.count() > 0);
        Self {
            curves: present
                .clone()
                .map(|(name, latency)| (name, latency.percentile_curve()))
                .collect(),
            buckets: present
                .map(|(name, latency)| (name, latency.buckets()))
                .collect(),
        }
    }
}

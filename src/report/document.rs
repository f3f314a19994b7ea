use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::traffic::Arrivals;
use crate::measure::{Comparison, CurvePoint, Distribution, MeasuredRun, TargetSummary};
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
    /// In which order the runs were, where there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleAccount>,
    /// What was sent was live traffic, as it came, and not a trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorAccount>,
    /// Against what, with what came of it.
    pub targets: Vec<TargetSummary>,
    /// Each target after the first, beside the first.
    pub comparison: Vec<Comparison>,
    /// The end of it.
    pub verdict: Verdict,
}

/// How live traffic was mirrored. `recorded` is what production made of the same requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MirrorAccount {
    /// Share of conversations that were to be mirrored.
    pub share: f64,
    /// Requests that were not sent, by reason: `queue_full`, `memory`, `busy`. They count as failed, and make the result invalid.
    pub dropped: BTreeMap<String, u64>,
    /// Requests that were still open when the recorder had ended: they count as timeouts.
    pub open_at_the_end: u64,
    /// Requests of which production's end was not seen, or was while recording was paused: they are in no figure.
    pub without_production: u64,
    /// Requests that came faster than they could be measured, or after the most that one result has, or that to measure failed: they are
    /// in no figure.
    pub unmeasured: u64,
    /// Requests whose client took production's answer slowly, which is in production's times.
    pub slow_readers: u64,
    /// How late the thread that takes the candidate's times was while it had something to do, at P99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_p99_ms: Option<f64>,
    /// How long after it was whole at the recorder a request was handed to the mirror, in the mean.
    pub behind_mean_ms: f64,
    /// The longest of these times.
    pub behind_max_ms: f64,
}

/// What made a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Version of reenact.
    pub version: &'static str,
}

/// The trace that was replayed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceAccount {
    /// Its files.
    pub files: Vec<String>,
    /// Exchanges in it.
    pub exchanges: u64,
    /// From its first arrival to its last.
    pub span_s: f64,
}

/// How the trace was replayed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanAccount {
    /// Arrivals came this many times as fast.
    pub speed: f64,
    /// Think times were divided by the speed, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub speed_think: bool,
    /// This many times as many sessions.
    pub rate_scale: f64,
    /// When the later turns of conversations were sent: `linked`, `catch-up` or `independent`; the last, too, where the trace has no
    /// later turns.
    pub sessions: String,
    /// How they became as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How the rate of arrivals went over the run, as typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// The trace was repeated for this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loop_for_s: Option<f64>,
    /// The part of the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<SliceAccount>,
    /// The part of the plan that this result is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardAccount>,
    /// The moment that the first run was to start at, where one was given (RFC 3339): shards that have the same loaded their target together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
    /// Which connections requests went over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<ConnectionsAccount>,
    /// How fast clients took their answers, where the trace tells how fast they did; absent where a rate was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<ReadersMode>,
    /// Requests whose clients took their answers slowly in the trace, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_readers: Option<u64>,
    /// How slowly clients took their answers, where a rate was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_rate: Option<ReadRateAccount>,
    /// What was drawn with: conversations that were kept or copied, and the words of the prompts.
    pub seed: u64,
    /// What the words of the prompts were drawn with, where not with the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words_seed: Option<u64>,
    /// Requests planned for each target.
    pub planned: u64,
    /// Conversations among them.
    pub conversations: u64,
    /// Requests that belong to no conversation.
    pub lone: u64,
    /// Requests that would be open at once, at most, if each took as long as it did when it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_in_flight: Option<u64>,
    /// How they arrive by the plan.
    pub arrivals: Arrivals,
    /// Planned span in seconds, after scaling.
    pub span_s: f64,
    /// Exchanges of the trace that were not replayed, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
}

/// A part of a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceAccount {
    /// Its parts are conversations by their beginnings, else requests by their arrivals.
    pub by_session: bool,
    /// From this moment of the trace on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_s: Option<f64>,
    /// Until this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_s: Option<f64>,
    /// Nothing begins after so many requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Which connections requests went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsAccount {
    /// Which.
    pub mode: ConnectionsMode,
    /// The most that could be open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Which connections requests go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionsMode {
    /// New ones where the recorded requests had new ones, idle ones where they had such.
    Recorded,
    /// Any that is idle, and another where none is; in HTTP/2 any that takes another stream.
    Shared,
    /// The same, within a limit.
    AtMost,
    /// Each request its own.
    OneEach,
}

/// How fast clients take their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadersMode {
    /// Those of slow readers at the recorded pace, all others as they come.
    Recorded,
    /// All as they come.
    Fast,
}

/// Clients that took their answers slowly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadRateAccount {
    /// Bytes that each took from its connection in a second, at most.
    pub bytes_per_s: u64,
    /// Of so large a share of the sessions.
    pub share: f64,
}

/// One of the parts that a plan was dealt out in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardAccount {
    /// Which, from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}

/// The order of several runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleAccount {
    /// `serial`, `abba` or `interleaved`.
    pub order: String,
    /// One after another; what stands in one of them ran at the same time.
    pub rounds: Vec<Vec<ScheduledRun>>,
}

/// One run of one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledRun {
    /// The target's name.
    pub target: String,
    /// Which of its runs, from 1.
    pub run: u64,
}

impl Tool {
    /// This version.
    pub const THIS: Self = Self {
        version: env!("CARGO_PKG_VERSION"),
    };
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

/// One target's distributions, by latency (`ttft`, `itl`, `tpot`, `e2e`, `stall`, `lateness`).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TargetCharts {
    /// Percentile by percentile.
    pub curves: BTreeMap<&'static str, Vec<CurvePoint>>,
    /// (upper edge in milliseconds, values)
    pub buckets: BTreeMap<&'static str, Vec<(f64, u64)>>,
}

impl TargetCharts {
    /// The charts of one target's latencies and of its sends' lateness. Only the latencies of a single run have intervals.
    pub fn of(run: &MeasuredRun) -> Self {
        let latencies = &run.latencies;
        let several = !run.summary.runs.is_empty();
        let curve = |name, latency: &Distribution| match several || name == LATENESS {
            true => latency.percentile_curve(),
            false => latency.percentile_curve_with_intervals(),
        };
        let named = [
            ("ttft", &latencies.ttft),
            ("itl", &latencies.itl),
            ("tpot", &latencies.tpot),
            ("e2e", &latencies.e2e),
            ("stall", &latencies.stall),
            (LATENESS, &run.lateness),
        ];
        let present = named.into_iter().filter(|(_, latency)| latency.count() > 0);
        Self {
            curves: present
                .clone()
                .map(|(name, latency)| (name, curve(name, latency)))
                .collect(),
            buckets: present
                .map(|(name, latency)| (name, latency.buckets()))
                .collect(),
        }
    }
}

const LATENESS: &str = "lateness";

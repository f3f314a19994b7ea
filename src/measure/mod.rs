//! What the outcomes of a replay add up to: latencies, intervals, windows, fidelity, comparisons. No I/O.
//!
//! Outcomes come in one by one ([`TargetMeasure::record`]) and are let go; memory is bounded whatever the trace's length.
//! Every latency counts from the instant at which a request *should* have been sent, and a request that failed is a miss of
//! every latency objective: it stays in the sample as an infinite value (docs/metrics.md).

mod allowed;
mod arrival_process;
/// What in a trace could identify someone.
pub mod audit;
mod canary;
mod change_points;
mod comparison;
mod distribution;
mod engine;
mod extent;
mod fidelity;
mod fidelity_bar;
mod gpu;
mod growth;
mod interval;
mod knee;
mod latency;
mod median;
mod memory;
mod misses;
mod observed;
mod percentile_curve;
mod percentile_log;
mod quality;
mod recorded;
mod retry_after;
mod saturation;
mod several;
mod span;
mod steps;
mod stored;
mod summary;
mod target;
mod token_errors;
pub mod traffic;
mod windows;

pub use allowed::{Allowed, allowed, fewest_requests};
pub use arrival_process::ArrivalProcess;
pub use canary::{AnswerPairs, CanarySummary, canary};
pub use change_points::ChangePoint;
pub use comparison::{
    CompareOptions, Comparison, ComparisonVerdict, GapSample, LoadRatio, MetricComparison,
    OfAnotherRun, RECORDED, RunSample, Scaling, Scope, ShiftPoint, Side, Stratum, compare,
    compare_with_recorded,
};
pub use distribution::{Distribution, LatencySummary};
pub use engine::{EngineSummary, HostMemory, summarise_engine};
pub use fidelity::{Fidelity, GeneratorEvidence, Lateness};
pub use fidelity_bar::FidelityBar;
pub use gpu::summarise_gpus;
pub use growth::{Growth, growth};
pub use interval::{Ranks, quantile_ranks};
pub use knee::{Knee, knee};
pub use latency::Latencies;
pub(crate) use latency::tpot_us;
pub use memory::{
    Boundary, Cliff, Memory, MemoryGrowth, MemoryPoint, MemorySamples, OomEvent, Ooms,
};
pub use misses::Misses;
pub use observed::{Observed, Sampled};
pub use percentile_curve::CurvePoint;
pub use percentile_log::{PercentileLine, PercentileLog};
pub use quality::{
    EvaluatedTest, Evaluation, PairedFigure, PhaseQuality, QualitySummary, TestLatency,
    TestOutcome, quality,
};
pub use recorded::{gaps_of_sketch, twin};
pub use retry_after::RetryAfter;
pub use several::{MeasuredRun, RunFigures, Spread, pool, spread};
pub(crate) use several::{altered_in_all, said_by_each};
pub use span::MeasuredWindow;
pub use steps::{Limit, Step, StepVerdict};
pub use stored::StoredDistribution;
pub use summary::{
    Goodput, GpuProcess, GpuSummary, GpuXid, Requests, TargetSummary, Throughput, Window,
};
pub use target::{MeasureOptions, PerRequestBounds, TargetIdentity, TargetMeasure};
pub use token_errors::ErrorQuantiles;

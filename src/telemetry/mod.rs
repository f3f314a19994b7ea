//! GPU memory beside a replay: sampled on a thread of its own, on the replay's clock.
//!
//! Whatever fails here is a state to report: no driver, a GPU lost in mid-run, a library that does not fit. It never ends a
//! replay and never shows as a zero.

mod nvml;
mod series;

pub use nvml::{GpuAbsent, GpuSampler};
pub use series::{GpuSample, GpuSeries, GpuTimeline};

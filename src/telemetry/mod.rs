//! GPU memory and the engine's own figures beside a replay, on the replay's clock: NVML on a thread of its own, and any number of
//! `/metrics` pages (engines, exporters), each on one.
//!
//! Whatever fails here is a state to report: no driver, a GPU lost in mid-run, an exporter that stalls. It never ends a replay and
//! never shows as a zero.

mod engine;
mod exporter;
mod exposition;
mod fault;
mod nvml;
mod pace;
mod page;
mod process;
#[cfg(test)]
mod recorded;
mod scraper;
mod series;
mod several;
mod signals;
mod timelines;
mod xid;

pub use engine::{EngineSample, EngineTimeline};
pub use nvml::{GpuAbsent, GpuSampler};
pub use page::{PageError, PageUrl};
pub use scraper::{Known, Scraper};
pub use series::{GpuProcessMemory, GpuSample, GpuSeries, GpuTimeline, Xid};
pub use signals::{EngineKind, Signal};
pub use timelines::Timelines;
pub use xid::xid_meaning;

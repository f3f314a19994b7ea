//! Other people's traces in and out, row by row, so that a file of any size needs little memory. docs/interop.md says what each
//! format keeps.
//!
//! ```text
//! file ─▶ lines, or row groups ─▶ the format's rows ─▶ window ─▶ gate ─▶ trace        (import)
//! trace ─▶ the format's writer ─▶ file                                                (export)
//! ```
//!
//! Going in, what a row does not say (sizes in bytes, latencies, statuses) is absent or 0, and the header names the source so
//! that a reader knows. Text that a row holds is measured and let go. Going out, exchanges that a format cannot express are
//! left out and counted.

mod aiperf;
#[cfg(test)]
mod any_bytes;
mod azure;
mod bailian;
mod blocks;
mod bodies;
mod burstgpt;
#[cfg(feature = "parquet")]
mod columnar;
mod dynamo;
mod error;
mod evalscope;
mod export;
mod import;
mod input;
mod jsonl;
mod mooncake;
mod options;
mod output;
mod vllm;
mod weka;

pub use error::InteropError;
pub use export::{Exported, export};
pub use import::{Imported, import};
pub use input::Progress;
pub use options::{ExportFormat, ExportOptions, ImportFormat, ImportOptions, TimeUnit};

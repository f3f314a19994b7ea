//! Other people's traces in and out, row by row, so that a file of any size needs little memory.
//!
//! Going in, every row becomes an exchange that completed: what the row does not say (sizes in bytes, latencies, statuses of
//! failures) is absent or 0, and the header names the source so that a reader knows. Going out, exchanges that a format
//! cannot express are left out and counted.

mod azure;
mod error;
mod export;
mod import;
mod mooncake;
mod text;

pub use error::InteropError;
pub use export::{ExportFormat, Exported, export};
pub use import::{ImportFormat, ImportOptions, Imported, import};

//! The trace file (`*.rt`): header, columnar blocks, index; writer, reader, recovery. docs/trace-format.md has every byte.
//!
//! A [`TraceWriter`] gathers exchanges and appends them as blocks, each of which can be read without any other; a
//! [`RotatingWriter`] does so over a directory of files. A [`Trace`] reads one file or many, whole, still growing or damaged,
//! and streams the exchanges in order of arrival.
//!
//! Promises: every block that was flushed reads back, whatever becomes of the bytes after it; what cannot be read is
//! skipped and counted ([`Damage`]); no input makes a reader panic or take memory out of proportion; a file is readable by
//! its owner only.

mod block;
mod damage;
mod error;
mod exchanges;
mod file;
mod footer;
mod frame;
mod header;
mod joint;
mod lock;
mod names;
mod openings;
mod partial;
mod placement;
mod reader;
mod retention;
mod rotate;
mod scan;
mod seal;
mod spool;
mod store;
mod tools;
mod totals;
mod varint;
mod writer;

pub use damage::Damage;
pub use error::TraceError;
pub use exchanges::Exchanges;
pub use header::{FORMAT_MAJOR, FORMAT_MINOR, Header, Source};
pub use lock::{is_being_written, remove_unless_written};
pub use partial::PartialName;
pub use reader::Trace;
pub use retention::retire;
pub use rotate::{RotatingWriter, Rotation, trace_files};
pub use seal::{Recipient, unlock_with};
pub use store::{ObjectFacts, Store, StoreUrl, StoreUrlError};
pub use tools::{
    Copied, Fault, FileCheck, Filter, Range, StatusRange, filter, head, merge, repair, slice,
    verify,
};
pub use totals::{Missing, Totals};
pub use writer::{TraceWriter, WriterOptions};

#[cfg(fuzzing)]
pub(crate) use seal::fuzzing;
#[cfg(test)]
pub(crate) mod tests;

//! What can be done to trace files without a recorder or a replay: put together, cut, chosen from, checked, mended.
//!
//! All of them stream: memory is the reader's bound, the index of the files (72 bytes a block) and one block being written,
//! however long the trace. A new file appears only when it is whole, and never over another. Ids keep their numbers, moved
//! up where several files are read, since giving them new ones would take memory in proportion to the trace.

mod copy;
mod filter;
mod head;
mod merge;
mod repair;
mod slice;
mod verify;

pub use copy::Copied;
pub use filter::{Filter, Range, StatusRange, filter};
pub use head::head;
pub use merge::merge;
pub use repair::repair;
pub use slice::slice;
pub use verify::{Fault, FileCheck, verify};

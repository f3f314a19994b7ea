use std::path::Path;

use super::copy::Copied;
use super::merge::merge;
use crate::trace::{Trace, TraceError};

/// Writes what can be read of a trace as a new file, with an index. What was lost stands in [`Copied::damage`], and in the new
/// file's accounts under the reason `damaged`.
///
/// # Errors
/// When nothing of the trace can be read, or the file cannot be written.
pub fn repair(trace: &mut Trace, output: &Path) -> Result<Copied, TraceError> {
    // Reading goes round damage by itself: what makes it a repair is that the caller expects some.
    merge(trace, output)
}

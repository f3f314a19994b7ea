use std::path::Path;

use super::copy::Copied;
use super::slice::slice;
use crate::trace::{Trace, TraceError};

/// Writes the first exchanges of a trace as a trace.
///
/// # Errors
/// When the trace cannot be read, or the file cannot be written.
pub fn head(trace: &mut Trace, exchanges: u64, output: &Path) -> Result<Copied, TraceError> {
    slice(trace, None, None, Some(exchanges), output)
}

use std::path::Path;

use super::copy::{Accounts, Choice, Copied, copy};
use crate::shape::TraceTime;
use crate::trace::{Trace, TraceError};

/// Writes all files of a trace as one, in order of arrival and in full blocks.
///
/// How files of several recorders stand to each other is how `trace` was opened: [`Trace::open_by_clock`] puts them side by
/// side. Of one file it makes a compact one.
///
/// # Errors
/// When the trace cannot be read, its headers cannot be one, or the file cannot be written.
pub fn merge(trace: &mut Trace, output: &Path) -> Result<Copied, TraceError> {
    let start = TraceTime::from_us(0);
    copy(trace, start, output, Accounts::Whole, |_, _| Choice::Take)
}

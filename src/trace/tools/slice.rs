use std::path::Path;

use super::copy::{Accounts, Choice, Copied, copy};
use crate::shape::TraceTime;
use crate::trace::{Trace, TraceError};

/// Writes what arrived from a moment of the trace on, before another, and at most so many exchanges. Times keep counting from
/// the trace's epoch.
///
/// # Errors
/// When the trace cannot be read, or the file cannot be written.
pub fn slice(
    trace: &mut Trace,
    from: Option<TraceTime>,
    to: Option<TraceTime>,
    limit: Option<u64>,
    output: &Path,
) -> Result<Copied, TraceError> {
    let mut left = limit.unwrap_or(u64::MAX);
    let from = from.unwrap_or_default();
    copy(trace, from, output, Accounts::Part, |exchange, _| {
        if left == 0 || to.is_some_and(|to| exchange.at >= to) {
            return Choice::Stop;
        }
        left -= 1;
        Choice::Take
    })
}

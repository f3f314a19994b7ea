//! Where a plan's exchanges come from: a trace that is read, and read again, rather than held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::shape::Exchange;
use crate::trace::{Exchanges, TraceError};

/// Exchanges in order of arrival, as often as they are needed.
pub trait Source {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// When the trace cannot be read.
    fn next_exchange(&mut self) -> Option<Result<Exchange, TraceError>>;

    /// Goes back to the first exchange; `false` where that is not possible.
    fn again(&mut self) -> bool;
}

/// Any iterator is a source that can be read once.
impl<I> Source for I
where
    I: Iterator<Item = Result<Exchange, TraceError>>,
{
    fn next_exchange(&mut self) -> Option<Result<Exchange, TraceError>> {
        self.next()
    }

    fn again(&mut self) -> bool {
        false
    }
}

/// A trace, pass after pass.
pub struct Passes<'a> {
    exchanges: Exchanges<'a>,
    read: Option<Arc<AtomicU64>>,
}

impl<'a> Passes<'a> {
    /// A source that begins each pass where `exchanges` begin.
    pub fn new(exchanges: Exchanges<'a>) -> Self {
        Self {
            exchanges,
            read: None,
        }
    }

    /// The same, with each exchange that is read added to `read`, for a display of progress.
    pub fn counted(self, read: &Arc<AtomicU64>) -> Self {
        Self {
            read: Some(Arc::clone(read)),
            ..self
        }
    }
}

impl Source for Passes<'_> {
    fn next_exchange(&mut self) -> Option<Result<Exchange, TraceError>> {
        if let Some(read) = &self.read {
            read.fetch_add(1, Ordering::Relaxed);
        }
        self.exchanges.next()
    }

    fn again(&mut self) -> bool {
        self.exchanges.restart();
        true
    }
}

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the operator has paused recording. Traffic and metrics go on; exchanges that end meanwhile are counted as dropped
/// for this reason.
#[derive(Debug, Default)]
pub(in crate::record) struct Pause(AtomicBool);

impl Pause {
    pub(in crate::record) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Pauses or resumes; says whether that changed anything.
    pub(in crate::record) fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed) != on
    }
}

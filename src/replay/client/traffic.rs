use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the connections of a run came to; shared by its workers.
#[derive(Default, Clone)]
pub(in crate::replay) struct Traffic(Arc<Counts>);

#[derive(Default)]
pub(in crate::replay) struct Counts {
    /// Connections opened.
    pub(in crate::replay) opened: AtomicU64,
    /// Requests that went over a connection which had served another.
    pub(in crate::replay) reused: AtomicU64,
    /// Connections open now, and the most at once.
    open: AtomicU64,
    pub(in crate::replay) open_peak: AtomicU64,
    /// Requests whose clients take their answers slowly, and those of them whose answers came faster than that.
    pub(in crate::replay) read_slowly: AtomicU64,
    pub(in crate::replay) held_up: AtomicU64,
    /// Failures of this machine: no port, descriptor or memory left.
    pub(in crate::replay) local_errors: AtomicU64,
}

/// One open connection, as long as it lives.
pub(super) struct Open(Traffic);

impl Traffic {
    pub(super) fn open_one(&self) -> Open {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let open = self.0.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.open_peak.fetch_max(open, Ordering::Relaxed);
        Open(self.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::ops::Deref for Traffic {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

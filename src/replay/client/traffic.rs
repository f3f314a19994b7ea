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
    /// Requests that began a connection in the trace, and those of them that did so here.
    pub(in crate::replay) began: AlikeCounts,
    /// Requests that went over one that was there before, and those of them that did so here.
    pub(in crate::replay) used_again: AlikeCounts,
    /// Connections open now, and the most at once.
    open: AtomicU64,
    pub(in crate::replay) open_peak: AtomicU64,
    /// Requests whose clients take their answers slowly, and those of them whose answers came faster than that.
    pub(in crate::replay) read_slowly: AtomicU64,
    pub(in crate::replay) held_up: AtomicU64,
    /// Failures of this machine: no port, descriptor or memory left.
    pub(in crate::replay) local_errors: AtomicU64,
}

/// How many requests the trace tells something of, and how many of them did the same.
#[derive(Default)]
pub(in crate::replay) struct AlikeCounts {
    pub(in crate::replay) told: AtomicU64,
    pub(in crate::replay) done: AtomicU64,
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

    /// A request, which `begins` a connection in the trace or does not, takes one that was `used` before or was not.
    pub(super) fn takes(&self, begins: Option<bool>, used: bool) {
        self.count(begins, used, AtomicU64::fetch_add);
    }

    /// The one that it took is of no use, and it takes another.
    pub(super) fn takes_back(&self, begins: Option<bool>, used: bool) {
        self.count(begins, used, AtomicU64::fetch_sub);
    }

    /// A request gets none at all.
    pub(super) fn takes_none(&self, begins: Option<bool>) {
        if let Some(alike) = self.alike(begins) {
            alike.told.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn alike(&self, begins: Option<bool>) -> Option<&AlikeCounts> {
        begins.map(|begins| match begins {
            true => &self.began,
            false => &self.used_again,
        })
    }

    fn count(&self, begins: Option<bool>, used: bool, by: fn(&AtomicU64, u64, Ordering) -> u64) {
        by(&self.reused, used.into(), Ordering::Relaxed);
        let Some(alike) = self.alike(begins) else {
            return;
        };
        by(&alike.told, 1, Ordering::Relaxed);
        let done = begins == Some(!used);
        by(&alike.done, done.into(), Ordering::Relaxed);
    }

    /// An answer was taken slowly, and did or did not come faster than that.
    pub(super) fn reads_slowly(&self, held_up: bool) {
        self.read_slowly.fetch_add(1, Ordering::Relaxed);
        self.held_up.fetch_add(held_up.into(), Ordering::Relaxed);
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

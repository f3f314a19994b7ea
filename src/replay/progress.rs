use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// How far a run is: shared with whoever shows it. Every reading is of one counter at one moment.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) prepared: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) ok: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) outcomes_lost: AtomicU64,
}

impl Progress {
    pub(super) fn counters(&self) -> &Counters {
        &self.0
    }

    /// Requests whose bytes are ready.
    pub fn prepared(&self) -> u64 {
        self.0.prepared.load(Ordering::Relaxed)
    }

    /// Requests sent.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Requests sent and not over.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Requests answered whole.
    pub fn ok(&self) -> u64 {
        self.0.ok.load(Ordering::Relaxed)
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Requests cancelled where the recorded client had cancelled.
    pub fn cancelled(&self) -> u64 {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// Requests that are over.
    pub fn done(&self) -> u64 {
        self.ok() + self.failed() + self.cancelled()
    }
}

/// Asks a run to end: nothing more is sent, what is in flight is cancelled, what was measured is reported.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asks. Safe to call from any thread, more than once.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is asked.
    pub(super) async fn requested(&self) {
        let mut asked = self.0.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

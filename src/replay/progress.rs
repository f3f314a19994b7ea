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
    /// Answers to earlier turns that had to be made up in a prompt that should have repeated them.
    pub(super) answers_made_up: AtomicU64,
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
pub struct Stop {
    own: Arc<watch::Sender<bool>>,
    /// Of the whole that this is a part of.
    whole: Option<Arc<watch::Sender<bool>>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            own: Arc::new(watch::Sender::new(false)),
            whole: None,
        }
    }
}

impl Stop {
    /// For a part of what this stops: asked of the part, the whole goes on; asked of the whole, the part ends, too.
    #[must_use]
    pub fn part(&self) -> Self {
        Self {
            whole: Some(Arc::clone(&self.own)),
            ..Self::default()
        }
    }

    /// Asks. Safe to call from any thread, more than once.
    pub fn request(&self) {
        self.own.send_replace(true);
    }

    /// Whether it was asked.
    pub fn is_requested(&self) -> bool {
        *self.own.borrow() || self.whole.as_ref().is_some_and(|whole| *whole.borrow())
    }

    /// Returns when it is asked.
    pub(super) async fn requested(&self) {
        match &self.whole {
            None => asked(&self.own).await,
            Some(whole) => tokio::select! {
                () = asked(&self.own) => {}
                () = asked(whole) => {}
            },
        }
    }
}

async fn asked(stop: &watch::Sender<bool>) {
    // The sender lives as long as the caller's borrow, so this cannot fail.
    let _ = stop.subscribe().wait_for(|asked| *asked).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_with_the_whole_and_not_the_other_way_round() {
        let whole = Stop::default();
        let (one, other) = (whole.part(), whole.part());
        one.request();
        assert!(one.is_requested() && !whole.is_requested() && !other.is_requested());
        whole.request();
        assert!(other.is_requested());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(other.requested());
    }
}

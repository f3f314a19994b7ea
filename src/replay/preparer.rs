use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::plan::PlannedRequest;
use super::progress::{Progress, Stop};
use super::synthesise::{Prepared, Synthesiser};
use crate::trace::TraceError;

/// Requests whose bytes may wait for their instant, at each worker.
pub(super) const LOOK_AHEAD: usize = 256;

/// Bytes of bodies that may wait for their instant: a shared account that the preparer draws on and the workers refill. One body
/// is always let through, however large.
#[derive(Clone)]
pub(super) struct Budget(Arc<(Mutex<usize>, Condvar)>);

impl Budget {
    /// Bodies wait in at most this many bytes (plus one body).
    pub(super) const BYTES: usize = 64 << 20;

    pub(super) fn new() -> Self {
        Self(Arc::new((Mutex::new(0), Condvar::new())))
    }

    /// Whether `bytes` more would have to wait.
    fn is_spent(&self, bytes: usize) -> bool {
        let held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *held > 0 && *held + bytes > Self::BYTES
    }

    /// Waits until there is room for `bytes`, and takes it; false when the run is stopped meanwhile.
    fn take(&self, bytes: usize, stop: &Stop) -> bool {
        let (held, freed) = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        while *held > 0 && *held + bytes > Self::BYTES {
            if stop.is_requested() {
                return false;
            }
            // In slices, so that a stop is seen.
            held = freed
                .wait_timeout(held, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *held += bytes;
        true
    }

    pub(super) fn give_back(&self, bytes: usize) {
        let (held, freed) = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = held.saturating_sub(bytes);
        freed.notify_one();
    }
}

/// How the plan's end was reached.
pub(super) enum PlanEnd {
    /// Every request was handed out.
    Whole,
    /// The run was stopped.
    Stopped,
    /// The trace could not be read further.
    Broken(TraceError),
}

/// Makes the bytes of every request ahead of its instant and deals them out to the workers in turn.
///
/// `primed` is told once: when the look-ahead is full for the first time, or everything is prepared.
pub(super) fn prepare<P>(
    plan: &mut P,
    synthesiser: &mut Synthesiser<'_>,
    workers: &[mpsc::Sender<Prepared>],
    budget: &Budget,
    progress: &Progress,
    stop: &Stop,
    primed: crossbeam_channel::Sender<()>,
) -> PlanEnd
where
    P: Iterator<Item = Result<PlannedRequest, TraceError>>,
{
    let mut primed = Some(primed);
    for (planned, worker) in plan.zip(workers.iter().cycle()) {
        if stop.is_requested() {
            return PlanEnd::Stopped;
        }
        let request = match planned {
            Ok(planned) => {
                let settled = synthesiser.settle(planned);
                synthesiser.write(&settled)
            }
            Err(error) => return PlanEnd::Broken(error),
        };
        let bytes = request.request.body().len();
        if budget.is_spent(bytes) {
            primed = None;
        }
        if !budget.take(bytes, stop) {
            return PlanEnd::Stopped;
        }
        progress.counters().prepared.fetch_add(1, Ordering::Relaxed);
        let sent = match worker.try_send(request) {
            Err(TrySendError::Full(request)) => {
                primed = None;
                worker.blocking_send(request).is_ok()
            }
            sent => sent.is_ok(),
        };
        if !sent {
            return PlanEnd::Stopped;
        }
    }
    drop(primed);
    PlanEnd::Whole
}

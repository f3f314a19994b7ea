//! The observer's thread: takes parcels off the capture queue, puts exchanges together again, has their bodies read by their
//! dialect, updates the metrics, lets each through the gate and hands it to the trace writer.
//!
//! It wakes by itself, every 1 to 50 ms, so that the traffic path never has to wake it. It runs a little below the traffic
//! threads' priority.

mod assembly;
mod frames;
#[cfg(fuzzing)]
pub(in crate::record) mod fuzzing;
mod observer;
mod pace;
mod reading;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
#[cfg(test)]
mod twin_budget;
#[cfg(test)]
mod twin_tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::anonymise::{Anonymiser, ConversationKey, Gates};
use crate::record::daemon::pause::Pause;
use crate::record::options::TraceOptions;
use crate::record::tape::accounts::{Accounts, DropReason};
use crate::record::tape::capture::Capture;
use crate::record::tape::metrics::Metrics;
use crate::record::tape::write::{Order, WriterState};
pub(in crate::record) use assembly::Finished;

use observer::Observer;

/// What the observer is made of.
pub(in crate::record) struct ObserverParts {
    pub(in crate::record) capture: Arc<Capture>,
    pub(in crate::record) metrics: Metrics,
    pub(in crate::record) options: TraceOptions,
    pub(in crate::record) pause: Arc<Pause>,
    pub(in crate::record) orders: Sender<Order>,
    pub(in crate::record) writer: Arc<WriterState>,
    /// Makes the gates of later files.
    pub(in crate::record) gates: Gates,
    /// The gate of the file that the writer has already begun.
    pub(in crate::record) gate: Anonymiser,
    /// Names the conversations of exchanges that have none.
    pub(in crate::record) sampling: ConversationKey,
    /// The trace's time zero.
    pub(in crate::record) epoch: Instant,
}

/// The running observer, and the writer behind it.
pub(in crate::record) struct ObserverHandle {
    thread: JoinHandle<()>,
    writing: JoinHandle<()>,
    accounts: Arc<Accounts>,
    finish: Arc<AtomicBool>,
}

impl ObserverHandle {
    /// Lets it take what is queued, then waits until the trace is closed, though not for ever: a disk that hangs must not keep
    /// the process from ending. Nothing may be handed over any more.
    pub(in crate::record) fn finish(self) {
        self.finish.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the observer ended in a panic");
        }
        let deadline = Instant::now() + CLOSING_PATIENCE;
        while !self.writing.is_finished() {
            if Instant::now() >= deadline {
                let lost = self.accounts.summary().unaccounted();
                self.accounts.drop_many(DropReason::WriterBehind, lost);
                tracing::warn!(
                    exchanges = lost,
                    "the disk does not take the end of the trace; leaving without it"
                );
                return;
            }
            std::thread::sleep(SHORTEST_NAP);
        }
        if self.writing.join().is_err() {
            tracing::error!("the writer ended in a panic");
        }
    }
}

/// Starts the observer. `writing` is the writer's thread, which ends when the observer has.
pub(in crate::record) fn start(
    parts: ObserverParts,
    writing: JoinHandle<()>,
) -> std::io::Result<ObserverHandle> {
    let finish = Arc::new(AtomicBool::new(false));
    let finishing = Arc::clone(&finish);
    let accounts = Arc::clone(&parts.capture.accounts);
    let thread = std::thread::Builder::new()
        .name(reading::OBSERVER_THREAD.to_owned())
        .spawn(move || {
            reading::hide_panic_messages();
            // Not fatal where it is not allowed.
            let _ = rustix::process::nice(NICE);
            Observer::new(parts).run(&finishing);
        })?;
    Ok(ObserverHandle {
        thread,
        writing,
        accounts,
        finish,
    })
}

/// Traffic comes first where cores are short.
const NICE: i32 = 5;
const SHORTEST_NAP: Duration = Duration::from_millis(1);
/// How long the end of the trace may take to be written, once all exchanges are over.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);

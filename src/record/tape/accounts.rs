use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::trace::{Totals, TraceError};

/// Why an exchange is not in the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The queue to the observer was full.
    QueueFull,
    /// The memory bound was reached, even for an exchange without its bodies.
    Memory,
    /// The queue to the trace writer was full: the disk is slow.
    WriterBehind,
    /// The disk, or a quota on it, was full.
    DiskFull,
    /// The trace could not be written for another reason.
    WriteError,
    /// Recording it panicked: a bug of the recorder's.
    Panic,
    /// A replay's own probe, marked by its header.
    Probe,
    /// Its client wanted no record of it, by a header.
    OptOut,
    /// Recording is off.
    Off,
    /// The operator has paused recording.
    Paused,
}

impl DropReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::QueueFull,
        Self::Memory,
        Self::WriterBehind,
        Self::DiskFull,
        Self::WriteError,
        Self::Panic,
        Self::Probe,
        Self::OptOut,
        Self::Off,
        Self::Paused,
    ];

    /// The value of the `reason` label, and the key in a trace's totals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Memory => "memory",
            Self::WriterBehind => "writer_behind",
            Self::DiskFull => "disk_full",
            Self::WriteError => "write_error",
            Self::Panic => "panic",
            Self::Probe => "probe",
            Self::OptOut => "opt_out",
            Self::Off => "off",
            Self::Paused => "paused",
        }
    }

    /// Why what an attempt to write has lost is lost.
    pub(in crate::record) fn of(error: &TraceError) -> Self {
        let (TraceError::Io { source, .. }
        | TraceError::Write { source, .. }
        | TraceError::Unsynced { source, .. }) = error
        else {
            return Self::WriteError;
        };
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::DiskFull
            }
            _ => Self::WriteError,
        }
    }
}

/// What became of every exchange: seen = recorded + sampled out + dropped, once nothing is on its way.
#[derive(Debug, Default)]
pub(in crate::record) struct Accounts {
    seen: AtomicU64,
    recorded: AtomicU64,
    unsynced: AtomicU64,
    sampled_out: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    simulated: AtomicU64,
    in_flight: AtomicI64,
    trace_bytes: AtomicU64,
    malformed: AtomicU64,
    retries: AtomicU64,
}

impl Accounts {
    /// An exchange arrives: how many others are open.
    pub(in crate::record) fn arrive(&self) -> u32 {
        u32::try_from(self.in_flight.fetch_add(1, Ordering::Relaxed)).unwrap_or(0)
    }

    /// An exchange is over.
    pub(in crate::record) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::record) fn drop_one(&self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    pub(in crate::record) fn drop_many(&self, reason: DropReason, count: u64) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(in crate::record) fn sample_out(&self) {
        self.sampled_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::record) fn record(&self, count: u64) {
        self.recorded.fetch_add(count, Ordering::Relaxed);
    }

    /// Of what is recorded, the disk does not say that it keeps this.
    pub(in crate::record) fn unsynced(&self, count: u64) {
        self.unsynced.fetch_add(count, Ordering::Relaxed);
    }

    pub(in crate::record) fn simulate(&self) {
        self.simulated.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::record) fn wrote(&self, bytes: u64) {
        self.trace_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A request was refused because it can be read in more than one way.
    pub(in crate::record) fn refuse(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was sent again, since the idle connection it had been sent on was closed.
    pub(in crate::record) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::record) fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    pub(in crate::record) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(in crate::record) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(in crate::record) fn trace_bytes(&self) -> u64 {
        self.trace_bytes.load(Ordering::Relaxed)
    }

    /// The accounts as a trace keeps them. `pending` exchanges are about to be written. Exchanges still on their way are left
    /// out of `seen`: they belong to a later block.
    pub(in crate::record) fn totals(&self, pending: u64) -> Totals {
        let summary = self.summary();
        let recorded = summary.recorded + pending;
        let dropped = summary.dropped_in_all();
        Totals {
            seen: recorded + summary.sampled_out + dropped,
            recorded,
            sampled_out: summary.sampled_out,
            dropped: summary
                .dropped
                .into_iter()
                .filter(|&(_, count)| count > 0)
                .map(|(reason, count)| (reason.name().to_owned(), count))
                .collect(),
            simulated: summary.simulated,
        }
    }

    pub(in crate::record) fn summary(&self) -> Summary {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            seen: load(&self.seen),
            recorded: load(&self.recorded),
            unsynced: load(&self.unsynced),
            sampled_out: load(&self.sampled_out),
            dropped: DropReason::ALL
                .iter()
                .zip(&self.dropped)
                .map(|(&reason, counter)| (reason, load(counter)))
                .collect(),
            simulated: load(&self.simulated),
        }
    }
}

/// The accounts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Exchanges that are over.
    pub seen: u64,
    /// Exchanges in the trace.
    pub recorded: u64,
    /// Those of them that the disk, when asked, did not say it keeps.
    pub unsynced: u64,
    /// Exchanges that sampling left out.
    pub sampled_out: u64,
    /// Exchanges not in the trace, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Exchanges that a simulated server answered.
    pub simulated: u64,
}

impl Summary {
    /// Exchanges lost for any reason.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Exchanges that are over and of which nobody knows what became: 0 after a drain, or there is a bug.
    pub fn unaccounted(&self) -> u64 {
        self.seen
            .saturating_sub(self.recorded + self.sampled_out + self.dropped_in_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_by_a_trace_adds_up() {
        let accounts = Accounts::default();
        for _ in 0..4 {
            accounts.arrive();
            accounts.leave();
        }
        accounts.drop_one(DropReason::WriteError);
        accounts.sample_out();
        let totals = accounts.totals(1);
        assert_eq!(
            (totals.seen, totals.recorded, totals.sampled_out),
            (3, 1, 1)
        );
        assert_eq!(totals.dropped, [("write_error".to_owned(), 1)].into());
        assert_eq!(
            accounts.summary().unaccounted(),
            2,
            "the pending one, and one on its way"
        );
    }

    #[test]
    fn arrivals_count_those_already_open() {
        let accounts = Accounts::default();
        assert_eq!((accounts.arrive(), accounts.arrive()), (0, 1));
        accounts.leave();
        assert_eq!((accounts.arrive(), accounts.in_flight()), (1, 2));
    }
}

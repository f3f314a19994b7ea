use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::record::tape::accounts::DropReason;
use crate::record::tape::current_file::CurrentFile;

/// What the writer lets the observer know. Files are numbered by generation, from [`WriterState::FIRST`].
#[derive(Debug, Default)]
pub(in crate::record) struct WriterState {
    broken: AtomicU64,
    /// It was a full disk that broke it.
    by_full_disk: AtomicBool,
    full: AtomicU64,
    pub(in crate::record) file: CurrentFile,
}

impl WriterState {
    /// The generation of the file that is begun before the threads start.
    pub(in crate::record) const FIRST: u64 = 1;

    /// The last generation whose file is lost or could not be begun; 0 where there was none.
    pub(in crate::record) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// Why exchanges are lost while there is no file.
    pub(in crate::record) fn broken_by(&self) -> DropReason {
        if self.by_full_disk.load(Ordering::Relaxed) {
            DropReason::DiskFull
        } else {
            DropReason::WriteError
        }
    }

    pub(super) fn break_by(&self, generation: u64, reason: DropReason) {
        let full = reason == DropReason::DiskFull;
        self.by_full_disk.store(full, Ordering::Relaxed);
        self.broken.store(generation, Ordering::Relaxed);
    }

    /// The last generation whose file is as large or as old as a file may be; 0 where there was none.
    pub(in crate::record) fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// A file is as large or as old as a file may be.
    pub(super) fn fill(&self, generation: u64) {
        self.full.store(generation, Ordering::Relaxed);
    }
}

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Which trace file is written now: set by the writer, read by the admin endpoint and by whoever carries closed files to a
/// store. None of them is the traffic path.
#[derive(Debug, Clone)]
pub(in crate::record) struct CurrentFile {
    path: Arc<Mutex<Option<PathBuf>>>,
    changed: (Sender<()>, Receiver<()>),
}

impl Default for CurrentFile {
    fn default() -> Self {
        Self {
            path: Arc::default(),
            changed: bounded(1),
        }
    }
}

impl CurrentFile {
    pub(in crate::record) fn get(&self) -> Option<PathBuf> {
        self.path
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(in crate::record) fn set(&self, path: Option<&Path>) {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_owned);
        self.nudge();
    }

    /// Something is received when it may have changed.
    pub(in crate::record) fn changes(&self) -> &Receiver<()> {
        &self.changed.1
    }

    /// Lets whoever waits for a change look again.
    pub(in crate::record) fn nudge(&self) {
        // Full means that a change waits to be seen already.
        let _ = self.changed.0.try_send(());
    }
}

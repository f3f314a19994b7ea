use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Which trace file is written now: set by the writer, read by the admin endpoint. Neither is the traffic path.
#[derive(Debug, Clone, Default)]
pub(in crate::record) struct CurrentFile(Arc<Mutex<Option<PathBuf>>>);

impl CurrentFile {
    pub(in crate::record) fn get(&self) -> Option<PathBuf> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(in crate::record) fn set(&self, path: Option<&Path>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_owned);
    }
}

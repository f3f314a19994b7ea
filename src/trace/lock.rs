//! How a file says that it is being written: its writer holds an advisory lock on it for as long as it has it open. Others,
//! other processes too, leave it alone until then; a killed writer's lock goes with it.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Marks a file as being written. Where the file system has no locks, its age must do.
pub(super) fn mark(file: &File) {
    let _ = flock(file, FlockOperation::NonBlockingLockExclusive);
}

/// Whether somebody writes this file. What cannot be told is taken for yes: it is about what may be removed.
pub fn is_being_written(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return true;
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => false,
        Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS) => is_young(&file),
        Err(_) => true,
    }
}

fn is_young(file: &File) -> bool {
    let modified = file.metadata().and_then(|meta| meta.modified()).ok();
    let age = modified.and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_none_or(|age| age < QUIET)
}

/// A recorder with traffic writes every second; one without for so long has nothing that could be missed.
const QUIET: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_being_written_as_long_as_its_writer_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.rt");
        let file = super::super::partial::create_private(&path).unwrap();
        assert!(is_being_written(&path));
        drop(file);
        assert!(!is_being_written(&path));
        assert!(is_being_written(&directory.path().join("missing")));
    }
}

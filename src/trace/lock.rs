//! How a file says that it is being written: its writer holds an advisory lock on it for as long as it has it open. Others,
//! other processes too, leave it alone until then; a killed writer's lock goes with it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Marks a file that was just created as being written. Where the file system has no locks, its age must do.
///
/// Somebody who looks whether it is being written holds a lock of his own for that moment, and may have found that it was not:
/// so it is waited for, and whether the file is still where it was is the answer.
pub(super) fn mark(file: &File, path: &Path) -> bool {
    for _ in 0..TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            _ => break,
        }
    }
    match (file.metadata(), path.metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        (_, Err(error)) => error.kind() != std::io::ErrorKind::NotFound,
        // Nothing shows that it has gone.
        _ => true,
    }
}

/// Looking takes microseconds. Whoever holds a lock for longer than these together is no reader of ours.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(1);

/// Removes a file that nobody writes; says whether it did. Nobody can begin to write it meanwhile: the lock that showed it is
/// held until the file is gone.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_unless_written(path: &Path) -> std::io::Result<bool> {
    let looked = look(path);
    if looked.is_none() {
        return Ok(false);
    }
    std::fs::remove_file(path).map(|()| true)
}

/// Whether somebody writes this file. What cannot be told is taken for yes: it is about what may be removed.
pub fn is_being_written(path: &Path) -> bool {
    look(path).is_none()
}

/// The file, with a lock that keeps others from marking it, where nobody writes it.
fn look(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    let written = match flock(&file, FlockOperation::NonBlockingLockShared) {
        // Whoever has just made it marks it before anything is in it.
        Ok(()) => is_empty(&file) && is_young(&file),
        Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS) => is_young(&file),
        Err(_) => true,
    };
    (!written).then_some(file)
}

fn is_empty(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.len() == 0)
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
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_being_written_as_long_as_its_writer_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.rt");
        let mut file = super::super::partial::create_private(&path).unwrap();
        assert!(is_being_written(&path));
        file.write_all(b"x").unwrap();
        drop(file);
        assert!(!is_being_written(&path));
        assert!(is_being_written(&directory.path().join("missing")));
    }

    #[test]
    fn who_looks_does_not_keep_a_file_from_being_marked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.rt");
        let mut file = File::create(&path).unwrap();
        assert!(is_being_written(&path), "empty: it is not marked yet");
        file.write_all(b"x").unwrap();
        let looker = look(&path).unwrap();
        std::thread::scope(|scope| {
            let marked = scope.spawn(|| mark(&file, &path));
            drop(looker);
            assert!(marked.join().unwrap());
        });
        assert!(is_being_written(&path));
        assert!(!remove_unless_written(&path).unwrap());
        drop(file);
        assert!(remove_unless_written(&path).unwrap());
        // One that was removed before it was marked is not the file of that name.
        let file = File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!mark(&file, &path));
    }
}

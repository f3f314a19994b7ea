//! Which old files of a recorder go.

use std::path::Path;
use std::time::SystemTime;

use super::lock::remove_unless_written;
use super::rotate::{Rotation, numbered};

/// Removes old files of a name, oldest first, that `keep` does not keep and that `may_go`. One that is being written, by whomever,
/// stays; so does every file of another name. Failing to is told, and no reason to stop recording.
pub fn retire(directory: &Path, name: &str, keep: &Rotation, may_go: impl Fn(&Path) -> bool) {
    if keep.keep_bytes.is_none() && keep.keep_age.is_none() {
        return;
    }
    let Ok(numbered) = numbered(directory, name) else {
        return;
    };
    let with_facts: Vec<_> = numbered
        .into_iter()
        .filter_map(|(_, path)| path.metadata().ok().map(|meta| (path, meta)))
        .filter(|(_, meta)| meta.is_file())
        .collect();
    let mut bytes: u64 = with_facts.iter().map(|(_, meta)| meta.len()).sum();
    for (path, meta) in with_facts {
        let too_many = keep.keep_bytes.is_some_and(|most| bytes > most);
        let written = meta.modified().ok();
        let age = written.and_then(|at| SystemTime::now().duration_since(at).ok());
        let too_old = keep
            .keep_age
            .is_some_and(|most| age.is_some_and(|age| age > most));
        if !too_many && !too_old {
            break;
        }
        if !may_go(&path) {
            continue;
        }
        match remove_unless_written(&path) {
            Ok(false) => {}
            Ok(true) => {
                bytes = bytes.saturating_sub(meta.len());
                tracing::info!(path = %path.display(), "removed an old trace file");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "could not remove an old trace file");
            }
        }
    }
}

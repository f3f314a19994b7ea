//! Where a mirror's result goes.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::replay::RequestOutcome;
use crate::report::{ReportError, RequestLog, ResultDirectory};

/// A directory of its own for each result: `mirror-000001`, or the next one that is free, so that a recorder that is started again leaves what
/// is there as it is. It is made with the first request, or else at the end: one that is started and killed, again and again, leaves nothing.
pub(super) struct Place {
    dir: PathBuf,
    opened: Option<Result<(ResultDirectory, RequestLog), ReportError>>,
    /// That the log cannot be written has been said.
    told: bool,
}

impl Place {
    /// Makes sure that results can be written below `dir`.
    pub(super) fn below(dir: &Path) -> Result<Self, ReportError> {
        ResultDirectory::create(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            opened: None,
            told: false,
        })
    }

    /// Adds a request to the log. False where that cannot be written, which is said at once: a result that lacks some of its requests is
    /// none, so it is not tried again.
    pub(super) fn log(&mut self, target: &str, outcome: &RequestOutcome) -> bool {
        let opened = self.opened.get_or_insert_with(|| open(&self.dir));
        let trouble = match opened {
            Ok((_, log)) => {
                log.add(target, 0, outcome);
                log.trouble()
            }
            Err(error) => Some(&*error),
        };
        let Some(error) = trouble else {
            return true;
        };
        if !self.told {
            self.told = true;
            tracing::error!(%error, "the mirror's result is lost; the mirror goes on, and so does recording");
        }
        false
    }

    /// Completes the log, and says where the rest goes.
    pub(super) fn close(self) -> Result<(ResultDirectory, Result<(), ReportError>), ReportError> {
        let (out, log) = self.opened.unwrap_or_else(|| open(&self.dir))?;
        Ok((out, log.finish()))
    }
}

fn open(dir: &Path) -> Result<(ResultDirectory, RequestLog), ReportError> {
    let out = ResultDirectory::create(&next(dir)?)?;
    let log = out.request_log()?;
    Ok((out, log))
}

/// Makes the next directory after the last there is.
fn next(dir: &Path) -> Result<PathBuf, ReportError> {
    let io = |path: &Path, source| ReportError::Io {
        path: path.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(dir).map_err(|error| io(dir, error))?;
    let numbers = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix(PREFIX)?.parse::<u64>().ok()
    });
    let mut number = numbers.max().map_or(1, |last| last.saturating_add(1));
    loop {
        let path = dir.join(format!("{PREFIX}{number:06}"));
        // As traces are: for nobody else's eyes, whatever the umask.
        match DirBuilder::new().mode(0o700).create(&path) {
            // Another recorder's, that began at the same time.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(io(&path, error)),
            Ok(()) => return Ok(path),
        }
    }
}

const PREFIX: &str = "mirror-";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn closed(place: Place) -> String {
        let (out, logged) = place.close().unwrap();
        logged.unwrap();
        let name = out.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    #[test]
    fn each_result_has_a_directory_of_its_own_once_there_is_anything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("not/there/yet");
        let mut first = Place::below(&below).unwrap();
        let unused = Place::below(&below).unwrap();
        assert_eq!(std::fs::read_dir(&below).unwrap().count(), 0);
        assert!(first.log("next", &RequestOutcome::default()));
        let made = std::fs::metadata(below.join("mirror-000001")).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
        assert_eq!(closed(unused), "mirror-000002");
        assert_eq!(closed(first), "mirror-000001");
        std::fs::create_dir(below.join("mirror-000041")).unwrap();
        std::fs::write(below.join("mirror-x"), "").unwrap();
        assert_eq!(closed(Place::below(&below).unwrap()), "mirror-000042");
    }

    #[test]
    fn where_nothing_can_be_written_is_told_at_once_and_a_place_that_is_lost_later_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Place::below(&file).is_err());
        let below = dir.path().join("out");
        let mut place = Place::below(&below).unwrap();
        std::fs::remove_dir(&below).unwrap();
        assert!(!place.log("next", &RequestOutcome::default()));
        assert!(place.close().is_err());
    }
}

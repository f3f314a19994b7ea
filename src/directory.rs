//! Directories that are made where they are missing, and why one cannot be, in words.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory and those above it, where they are missing.
///
/// # Errors
/// Where it cannot be made. Of something else that stands there the system says "File exists", which would leave open what is wrong with that.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    made(path, DirBuilder::new().recursive(true))
}

/// Makes one that only its owner may look into.
///
/// # Errors
/// As [`make`].
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    made(path, DirBuilder::new().recursive(true).mode(0o700))
}

fn made(path: &Path, how: &DirBuilder) -> io::Result<()> {
    how.create(path).map_err(|error| match error.kind() {
        // Of the path itself the former is said, the latter of one above it.
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => is_none(),
        _ => error,
    })
}

/// What is wrong with a path at which, or above which, something else stands.
pub(crate) fn is_none() -> io::Error {
    io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_missing_is_made_and_what_stands_in_the_way_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        make_private(&below).unwrap();
        make(&below).unwrap();
        let mode = std::fs::metadata(&below).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = make(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
            assert_eq!(error.to_string(), "it is not a directory");
        }
    }
}

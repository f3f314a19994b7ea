use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::TraceError;
use super::lock;

/// A file that stands under `NAME.partial` until it is whole, so that nobody ever finds half of it under `NAME`. Removed
/// again when dropped before [`PartialName::keep`].
#[derive(Debug)]
pub struct PartialName {
    target: PathBuf,
    partial: PathBuf,
    kept: bool,
}

impl PartialName {
    /// Creates `TARGET.partial` with mode 0600.
    ///
    /// # Errors
    /// When either file is there already, or the file cannot be created.
    pub fn create(target: &Path) -> Result<(File, Self), TraceError> {
        if target.symlink_metadata().is_ok() {
            return Err(TraceError::Exists {
                path: target.to_owned(),
            });
        }
        let mut partial = OsString::from(target);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = create_private(&partial)?;
        let name = Self {
            target: target.to_owned(),
            partial,
            kept: false,
        };
        Ok((file, name))
    }

    /// Puts the file on the disk for good and gives it its name.
    ///
    /// # Errors
    /// When the disk cannot keep it, or it cannot be renamed.
    pub fn keep(mut self, file: &File) -> Result<(), TraceError> {
        file.sync_all().map_err(TraceError::io(&self.partial))?;
        rename_new(&self.partial, &self.target).map_err(TraceError::creating(&self.target))?;
        self.kept = true;
        sync_directory_of(&self.target)
    }

    /// The name it will have.
    pub fn target(&self) -> &Path {
        &self.target
    }
}

/// Renames a file, but not over one that has come to be there in the meantime; where the file system cannot promise that, over it.
fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => std::fs::rename(from, to),
        other => Ok(other?),
    }
}

impl Drop for PartialName {
    fn drop(&mut self) {
        if !self.kept {
            // It may be gone already; there is nobody left to tell.
            drop(std::fs::remove_file(&self.partial));
        }
    }
}

/// Creates a file that only its owner can read, and marks it as being written. Refuses one that is there.
pub(super) fn create_private(path: &Path) -> Result<File, TraceError> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(TraceError::creating(path))?;
        // Another process may have taken it for an old file and removed it before it was marked.
        if lock::mark(&file, path) {
            return Ok(file);
        }
    }
}

/// Makes a new name in a directory survive a power loss.
pub(super) fn sync_directory_of(path: &Path) -> Result<(), TraceError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(TraceError::io(directory))
}

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::TraceError;
use super::lock;
use super::spool::Spool;
use super::store::StoreUrl;

/// A file that stands under `NAME.partial` until it is whole, so that nobody ever finds half of it under `NAME`. Removed
/// again when dropped before [`PartialName::keep`]. Where `NAME` is a URL in a store it has no name at all until then.
#[derive(Debug)]
pub struct PartialName {
    target: PathBuf,
    standing: Standing,
}

/// Where the file stands until it is whole.
#[derive(Debug)]
enum Standing {
    Beside(PathBuf),
    Spooled(Spool),
    Kept,
}

impl PartialName {
    /// Creates `TARGET.partial`, or what will go to a store, with mode 0600.
    ///
    /// # Errors
    /// When either file is there already, or the file cannot be created; when the store cannot be reached.
    pub fn create(target: &Path) -> Result<(File, Self), TraceError> {
        let standing = |standing| Self {
            target: target.to_owned(),
            standing,
        };
        if StoreUrl::is_one(target) {
            let (file, spool) = Spool::create(target)?;
            return Ok((file, standing(Standing::Spooled(spool))));
        }
        if target.symlink_metadata().is_ok() {
            return Err(TraceError::Exists {
                path: target.to_owned(),
            });
        }
        let mut partial = OsString::from(target);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = create_private(&partial)?;
        Ok((file, standing(Standing::Beside(partial))))
    }

    /// Puts the file on the disk, or in the store, for good and gives it its name.
    ///
    /// # Errors
    /// When the disk or the store cannot keep it, or it cannot be renamed.
    pub fn keep(mut self, file: &File) -> Result<(), TraceError> {
        if let Standing::Beside(partial) = &self.standing {
            file.sync_all().map_err(TraceError::io(partial))?;
            rename_new(partial, &self.target).map_err(TraceError::creating(&self.target))?;
            self.standing = Standing::Kept;
            return sync_directory_of(&self.target);
        }
        match std::mem::replace(&mut self.standing, Standing::Kept) {
            Standing::Spooled(spool) => spool.keep(file),
            Standing::Beside(_) | Standing::Kept => Ok(()),
        }
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
        if let Standing::Beside(partial) = &self.standing {
            // It may be gone already; there is nobody left to tell.
            drop(std::fs::remove_file(partial));
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

use std::fs::File;
use std::io::{self, ErrorKind, Seek};
use std::path::Path;

use super::error::TraceError;
use super::partial::create_private;
use super::store::{Store, StoreUrl};

/// A file on its way to a store: gathered in the directory for temporary files, where it has no name, so that nothing of it is left
/// whatever becomes of this process, and stored when it is whole.
#[derive(Debug)]
pub(super) struct Spool {
    store: Store,
    url: StoreUrl,
}

impl Spool {
    /// Begins one where the store has no object yet.
    ///
    /// # Errors
    /// When the URL names no object, there is one already, the store does not answer, or no temporary file can be made.
    pub(super) fn create(target: &Path) -> Result<(File, Self), TraceError> {
        let refused = |error| TraceError::store(target, error);
        let invalid = |why: String| refused(io::Error::new(ErrorKind::InvalidInput, why));
        let url: StoreUrl = target
            .to_string_lossy()
            .parse()
            .map_err(|error| invalid(format!("{error}")))?;
        if url.key().is_empty() || target.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(invalid("it names no object".to_owned()));
        }
        let store = Store::connect(&url.root()).map_err(refused)?;
        match store.facts(url.key()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
            Ok(_) => {
                return Err(TraceError::Exists {
                    path: target.to_owned(),
                });
            }
        }
        Ok((nameless()?, Self { store, url }))
    }

    /// Stores what was gathered, whole or not at all.
    ///
    /// # Errors
    /// When the store does not take it, or has come to have an object of that name.
    pub(super) fn keep(self, file: &File) -> Result<(), TraceError> {
        let path = self.url.to_path();
        let mut whole = file.try_clone().map_err(TraceError::io(&path))?;
        whole.rewind().map_err(TraceError::io(&path))?;
        match self.store.upload(whole, self.url.key()) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(TraceError::Exists { path })
            }
            Err(error) => Err(TraceError::store(&path, error)),
        }
    }
}

/// A file of mode 0600 that is gone when it is closed.
fn nameless() -> Result<File, TraceError> {
    let directory = std::env::temp_dir();
    let io = |source| TraceError::Spool {
        path: directory.clone(),
        source,
    };
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io(io::Error::other(error)))?;
    let path = directory.join(format!("reenact-{:016x}", u64::from_le_bytes(random)));
    let file = create_private(&path).map_err(|error| match error {
        TraceError::Io { source, .. } => io(source),
        other => other,
    })?;
    std::fs::remove_file(&path).map_err(io)?;
    Ok(file)
}

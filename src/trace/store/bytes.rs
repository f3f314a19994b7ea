//! Reading at an offset, wherever the bytes are.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Store, StoreUrl};
use crate::trace::TraceError;

/// Where one trace file lies.
#[derive(Debug, Clone)]
pub(in crate::trace) enum Place {
    Local(PathBuf),
    Remote { store: Arc<Store>, url: StoreUrl },
}

/// A trace file that can be read at any offset.
pub(in crate::trace) enum Bytes {
    Local(File),
    Remote(Remote),
}

/// An object, of which a window is held.
pub(in crate::trace) struct Remote {
    store: Arc<Store>,
    url: StoreUrl,
    len: u64,
    version: Option<String>,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

/// What is asked of a store at once: some hundred blocks, read in one go by whoever reads on.
const WINDOW: u64 = 4 << 20;

/// Finds the files behind what was typed, with one connection for each bucket.
#[derive(Default)]
pub(in crate::trace) struct Places {
    stores: HashMap<StoreUrl, Arc<Store>>,
}

impl Places {
    /// The trace files of a path: itself, or those of a directory or prefix, by name. The second part says that it is one.
    pub(in crate::trace) fn of(&mut self, path: &Path) -> Result<(Vec<Place>, bool), TraceError> {
        if !StoreUrl::is_one(path) {
            if !path.is_dir() {
                return Ok((vec![Place::Local(path.to_owned())], false));
            }
            let places = traces_in(path)?.into_iter().map(Place::Local).collect();
            return Ok((places, true));
        }
        let url: StoreUrl = path
            .to_string_lossy()
            .parse()
            .map_err(|error| TraceError::store(path, io::Error::other(error)))?;
        let store = self.store(&url)?;
        let place = |url| Place::Remote {
            store: Arc::clone(&store),
            url,
        };
        if has_traces_name(url.key()) {
            return Ok((vec![place(url)], false));
        }
        let mut keys = store
            .list(url.key())
            .map_err(|error| TraceError::store(path, error))?;
        keys.retain(|key| has_traces_name(key));
        keys.sort();
        let places = keys.into_iter().map(|key| place(url.with_key(key)));
        Ok((places.collect(), true))
    }

    fn store(&mut self, url: &StoreUrl) -> Result<Arc<Store>, TraceError> {
        let root = url.root();
        if let Some(store) = self.stores.get(&root) {
            return Ok(Arc::clone(store));
        }
        let store = Store::connect(&root)
            .map_err(|error| TraceError::store(&url.to_path(), error))
            .map(Arc::new)?;
        self.stores.insert(root, Arc::clone(&store));
        Ok(store)
    }
}

impl Place {
    /// Its path, or its URL as one.
    pub(in crate::trace) fn path(&self) -> PathBuf {
        match self {
            Self::Local(path) => path.clone(),
            Self::Remote { url, .. } => url.to_path(),
        }
    }

    /// Opens it. An object is asked for its length and read later.
    pub(in crate::trace) fn open(&self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Local(path) => Bytes::Local(File::open(path)?),
            Self::Remote { store, url } => {
                let facts = store.facts(url.key())?;
                Bytes::Remote(Remote {
                    store: Arc::clone(store),
                    url: url.clone(),
                    len: facts.bytes,
                    version: facts.version,
                    window: Mutex::default(),
                })
            }
        })
    }
}

impl Bytes {
    /// How many there are now.
    pub(in crate::trace) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Local(file) => Ok(file.metadata()?.len()),
            Self::Remote(remote) => Ok(remote.len),
        }
    }

    /// Fills `into` from an offset on, as [`FileExt::read_exact_at`].
    pub(in crate::trace) fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Local(file) => file.read_exact_at(into, offset),
            Self::Remote(remote) => remote.read_exact_at(into, offset),
        }
    }

    /// At most `len` bytes from the start.
    pub(in crate::trace) fn start(&self, len: usize) -> io::Result<Vec<u8>> {
        let there = usize::try_from(self.len()?).unwrap_or(usize::MAX);
        let mut start = vec![0; len.min(there)];
        self.read_exact_at(&mut start, 0)?;
        Ok(start)
    }
}

impl Remote {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(into.len() as u64);
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = window.get(offset, into.len()) {
            into.copy_from_slice(held);
            return Ok(());
        }
        let upto = end.max(offset.saturating_add(WINDOW)).min(self.len);
        let version = self.version.as_deref();
        window.bytes = self.store.read(self.url.key(), version, offset..upto)?;
        window.start = offset;
        let held = window.get(offset, into.len());
        into.copy_from_slice(held.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Window {
    fn get(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}

/// The `*.rt` and `*.rt.age` files of a directory, by name.
fn traces_in(directory: &Path) -> Result<Vec<PathBuf>, TraceError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(TraceError::io(directory))? {
        let path = entry.map_err(TraceError::io(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(has_traces_name) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// `NAME.rt`, or `NAME.rt.age` where its blocks are sealed.
pub(in crate::trace) fn has_traces_name(key: &str) -> bool {
    let name = key.strip_suffix(".age").unwrap_or(key);
    Path::new(name).extension().is_some_and(|end| end == "rt")
}

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::error::TraceError;
use super::identities::identities;
use super::payload::Sealer;
use super::recipients::Recipient;

/// A file's key, wrapped to its recipients, as the header holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Random; every sealed payload of the file begins with it.
    pub(super) id: u64,
    /// An age file (version 1, binary) of the 32 bytes of the key.
    #[serde(with = "serde_bytes")]
    age: Vec<u8>,
}

/// The key of one trace file.
pub(super) type FileKey = Zeroizing<[u8; 32]>;

/// The keys that this process has unwrapped, by their envelopes' ids.
static RING: LazyLock<Mutex<HashMap<u64, FileKey>>> = LazyLock::new(Mutex::default);

pub(super) fn ring() -> MutexGuard<'static, HashMap<u64, FileKey>> {
    RING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Envelope {
    /// What every payload begins with that is sealed under this key.
    pub(in crate::trace) fn id(&self) -> u64 {
        self.id
    }

    /// A fresh key for one file: wrapped, and ready to seal with.
    pub(in crate::trace) fn new(recipients: &[Recipient]) -> io::Result<(Self, Sealer)> {
        let mut id = [0; 8];
        let mut key = FileKey::default();
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        getrandom::fill(&mut *key).map_err(io::Error::other)?;
        let id = u64::from_le_bytes(id);
        let wrapping = age::Encryptor::with_recipients(recipients.iter().map(Recipient::of_age))
            .map_err(io::Error::other)?;
        let mut age = Vec::new();
        let mut writer = wrapping.wrap_output(&mut age)?;
        writer.write_all(&*key)?;
        writer.finish()?;
        Ok((Self { id, age }, Sealer::new(id, &key)))
    }
}

/// Unwraps a file's key for all that will read its blocks. Nothing to do for a file that is not sealed.
pub(in crate::trace) fn unlock(envelope: Option<&Envelope>, path: &Path) -> Result<(), TraceError> {
    let Some(envelope) = envelope else {
        return Ok(());
    };
    if ring().contains_key(&envelope.id) {
        return Ok(());
    }
    let identities = identities();
    if identities.is_empty() {
        return Err(TraceError::Sealed {
            path: path.to_owned(),
        });
    }
    let not_ours = || TraceError::NotOurs {
        path: path.to_owned(),
    };
    let decryptor =
        age::Decryptor::new_buffered(envelope.age.as_slice()).map_err(|_| not_ours())?;
    let ours = identities
        .iter()
        .map(|identity| identity as &dyn age::Identity);
    let mut key = FileKey::default();
    decryptor
        .decrypt(ours)
        .map_err(|_| not_ours())?
        .read_exact(&mut *key)
        .map_err(|_| not_ours())?;
    ring().insert(envelope.id, key);
    Ok(())
}

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::super::error::TraceError;

/// The identities that this process may open sealed traces with.
static IDENTITIES: Mutex<Vec<age::x25519::Identity>> = Mutex::new(Vec::new());

/// Reads an age identity file (`AGE-SECRET-KEY-1…` lines and `#` comments, as `age-keygen` writes them). Every trace that this
/// process opens from now on may be sealed to one of them.
///
/// # Errors
/// When it cannot be read, has a line that is no identity, or none at all.
pub fn unlock_with(path: &Path) -> Result<(), TraceError> {
    let text = Zeroizing::new(std::fs::read(path).map_err(TraceError::io(path))?);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = std::str::from_utf8(line).unwrap_or("?").trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        found.push(line.parse().map_err(|_| TraceError::NotAKey {
            path: path.to_owned(),
            line: number,
            what: "identity (AGE-SECRET-KEY-1…)",
        })?);
    }
    if found.is_empty() {
        return Err(TraceError::NoKeys {
            path: path.to_owned(),
            what: "identity (AGE-SECRET-KEY-1…)",
        });
    }
    identities().extend(found);
    Ok(())
}

pub(super) fn identities() -> MutexGuard<'static, Vec<age::x25519::Identity>> {
    IDENTITIES.lock().unwrap_or_else(PoisonError::into_inner)
}

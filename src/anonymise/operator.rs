use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use super::chain::{ChainKey, derived};
use super::conversation::ConversationKey;

/// A key that the operator keeps in place of a random one for each file. The files of a run then share their numbers, and all
/// recorders that have it take the same conversations into their samples. Nothing that is hashed under it is written either.
/// Wiped when dropped.
#[derive(Clone)]
pub struct OperatorKey(Zeroizing<[u8; 16]>);

/// Why a key file is of no use. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum OperatorKeyError {
    /// It cannot be read.
    #[error("cannot read the key file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error("the key file {path} may be read by others than its owner (mode {mode:o})")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else than a key.
    #[error("the key file {path} does not hold 64 hexadecimal digits")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

impl OperatorKeyError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::NotAKey { .. } => {
                "make one with: (umask 077; openssl rand -hex 32 > reenact.key)"
            }
            Self::Open { .. } => "chmod 600 it; if others may have read it, make a new one",
        }
    }
}

impl OperatorKey {
    /// Hexadecimal digits of a key.
    const DIGITS: usize = 64;

    /// Reads a file of 64 hexadecimal digits that nobody but its owner may read.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it holds something else.
    pub fn read(path: &Path) -> Result<Self, OperatorKeyError> {
        let unreadable = |source| OperatorKeyError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(OperatorKeyError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        // Its whole room at once: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new([0; Self::DIGITS + 8]);
        let mut filled = 0;
        while let Some(free) = text.get_mut(filled..).filter(|free| !free.is_empty()) {
            match file.read(free).map_err(unreadable)? {
                0 => break,
                read => filled += read,
            }
        }
        let text = text.get(..filled).unwrap_or_default().trim_ascii();
        Self::from_hex(text).ok_or_else(|| OperatorKeyError::NotAKey {
            path: path.to_owned(),
        })
    }

    pub(super) fn from_hex(text: &[u8]) -> Option<Self> {
        if text.len() != Self::DIGITS {
            return None;
        }
        let mut bytes = Zeroizing::new([0_u8; Self::DIGITS / 2]);
        for (byte, digits) in bytes.iter_mut().zip(text.chunks(2)) {
            for digit in digits {
                let value = char::from(*digit).to_digit(16)?;
                *byte = *byte << 4 | u8::try_from(value).ok()?;
            }
        }
        // Both halves count: the second is hashed under the first.
        let (key, rest) = bytes.split_first_chunk::<16>()?;
        let mut master = derived(key, rest);
        let operator = Self(Zeroizing::new(master));
        master.zeroize();
        Some(operator)
    }

    pub(super) fn chain_key(&self, conversations: bool) -> ChainKey {
        let key = |purpose: &[u8]| derived(&self.0, purpose);
        ChainKey::of_operator(
            key(b"prompt blocks"),
            conversations.then(|| key(b"how conversations begin")),
        )
    }

    pub(super) fn conversation_key(&self) -> ConversationKey {
        ConversationKey::of_operator(derived(&self.0, b"names of conversations"))
    }
}

impl std::fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperatorKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_key_is_the_same_each_time_it_is_read_and_every_digit_counts() {
        let digits = "0123456789abcdef".repeat(4);
        let key = |text: &str| *OperatorKey::read(file(text, 0o600).path()).unwrap().0;
        assert_eq!(key(&format!("{digits}\n")), key(&digits));
        for at in [0, 20, 40, 63] {
            let mut other = digits.clone();
            other.replace_range(at..=at, "e");
            assert_ne!(key(&other), key(&digits), "digit {at}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_that_holds_no_key_is_refused() {
        let digits = "0".repeat(64);
        let refused = |text: &str, mode| OperatorKey::read(file(text, mode).path()).unwrap_err();
        let open = refused(&digits, 0o640);
        assert!(matches!(open, OperatorKeyError::Open { mode: 0o640, .. }));
        for wrong in ["", "secret", &digits[1..], &format!("{digits}0")] {
            let error = refused(wrong, 0o600);
            assert!(matches!(error, OperatorKeyError::NotAKey { .. }), "{wrong}");
            assert!(wrong.is_empty() || !error.to_string().contains(wrong));
        }
        let missing = OperatorKey::read(Path::new("/nonexistent/key")).unwrap_err();
        assert!(missing.hint().contains("openssl"));
    }
}

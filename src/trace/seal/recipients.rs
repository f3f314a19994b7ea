use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::super::error::TraceError;

/// A public key that traces are sealed to: `age1…`, as `age-keygen` prints it.
#[derive(Clone)]
pub struct Recipient(age::x25519::Recipient);

impl Recipient {
    /// Reads a recipients file: a recipient on each line, lines that begin with `#` are comments.
    ///
    /// # Errors
    /// When it cannot be read, has a line that is no recipient, or none at all.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, TraceError> {
        let text = std::fs::read_to_string(path).map_err(TraceError::io(path))?;
        let mut recipients = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            recipients.push(line.parse().map_err(|_| TraceError::NotAKey {
                path: path.to_owned(),
                line: number,
                what: "recipient (age1…)",
            })?);
        }
        if recipients.is_empty() {
            return Err(TraceError::NoKeys {
                path: path.to_owned(),
                what: "recipient (age1…)",
            });
        }
        Ok(recipients)
    }

    pub(super) fn of_age(&self) -> &dyn age::Recipient {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| "not an age recipient; age-keygen prints it as age1…".to_owned())
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

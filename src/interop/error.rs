use std::io;
use std::path::PathBuf;

use crate::trace::TraceError;

/// Why a foreign trace could not be read or written. Never quotes a row: rows of some formats hold prompts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InteropError {
    /// The input or output failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is of another format.
    #[error("{path}: line 1: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What shows it.
        reason: String,
    },
    /// A row is not of the format.
    #[error("{path}: line {line}: {reason}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// There was nothing to import.
    #[error("{path}: there is no row to import ({skipped} malformed rows skipped)")]
    NoRows {
        /// The file.
        path: PathBuf,
        /// Rows that were left out.
        skipped: u64,
    },
    /// There was nothing to export.
    #[error("no exchange of the trace can be written as {format}: {reasons}")]
    NothingToExport {
        /// The format asked for.
        format: &'static str,
        /// Why they were left out.
        reasons: String,
    },
    /// The trace could not be read or written.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl InteropError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Some("check the path; `-` reads standard input"),
                io::ErrorKind::UnexpectedEof => {
                    Some("the compressed file is cut short: fetch it again")
                }
                _ => Some("can the file be read?"),
            },
            Self::Format { .. } | Self::Row { line: 1, .. } => Some("is it the right format?"),
            Self::Row { .. } => Some("mend the row, or leave such rows out with --skip-bad"),
            Self::NoRows { .. } => Some("is it the right file, and the right format?"),
            Self::NothingToExport { .. } => Some("`reenact inspect` shows what the trace holds"),
            Self::Trace(error) => error.hint(),
        }
    }
}

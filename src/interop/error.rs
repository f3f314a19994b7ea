use std::borrow::Cow;
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
    /// The file is no text.
    #[error("{path}: it is {what}")]
    Binary {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// An option says something that the format does not leave open.
    #[error("{option} is not for this format; it is for {formats}")]
    Option {
        /// The option.
        option: &'static str,
        /// Those that it is for.
        formats: String,
    },
    /// A field was renamed that the format does not have.
    #[error("--column: there is no field `{field}`")]
    Column {
        /// The field.
        field: String,
        /// Those that there are.
        known: String,
    },
    /// Parquet was asked for.
    #[error("this build of reenact has no Parquet")]
    NoParquet,
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
        format: String,
        /// Why they were left out.
        reasons: String,
    },
    /// The trace could not be read or written.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl InteropError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Column { known, .. } => {
                return Some(format!("write --column FIELD=LABEL; the fields are {known}").into());
            }
            Self::Trace(error) => error.hint(),
            other => other.fixed_hint(),
        };
        hint.map(Cow::Borrowed)
    }

    /// Whether it was the command line that asked for what cannot be.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Option { .. } | Self::Column { .. })
    }

    fn fixed_hint(&self) -> Option<&'static str> {
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
            Self::Binary { what, .. } => match *what {
                "a Parquet file" => Some("of Parquet, `import baseten` reads what Baseten exports"),
                "a trace of reenact already" => Some("it needs no import"),
                _ => Some("unpack or convert it first; gzip and zstd are undone by themselves"),
            },
            Self::Option { .. } => Some("leave it out, or name another format"),
            Self::NoParquet => Some("build it with `--features parquet`, which is on by default"),
            Self::Column { .. } | Self::Trace(_) => None,
        }
    }
}

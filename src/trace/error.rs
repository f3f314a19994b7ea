use std::io;
use std::path::{Path, PathBuf};

use super::header::FORMAT_MAJOR;
use super::store::StoreUrl;

/// What is wrong with a trace. Every message names the file, and the offset where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The object store said no, or nothing.
    #[error("{url}: {source}")]
    Store {
        /// What was asked for.
        url: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// What goes to a store cannot be gathered first.
    #[error("{path}: {source}; what is written to a store is gathered here first")]
    Spool {
        /// The directory for temporary files.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A block could not be written; the file was cut back to the block before it.
    #[error("{path}: {source}; {lost} exchanges could not be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Exchanges that are not in the file because of it.
        lost: u64,
        /// What the file system said.
        source: io::Error,
    },
    /// What was written may not survive a loss of power: the disk did not say that it keeps it.
    #[error(
        "{path}: {source}; the disk does not confirm that it keeps the last {exchanges} exchanges"
    )]
    Unsynced {
        /// The file.
        path: PathBuf,
        /// Exchanges in the file of which that holds.
        exchanges: u64,
        /// What the file system said.
        source: io::Error,
    },
    /// There is a file of that name already.
    #[error("{path}: there is a file of that name already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("{path}: the file is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path}: not a reenact trace: it {looks_like}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What its first bytes say it is.
        looks_like: &'static str,
    },
    /// A program that meant well changed its line ends.
    #[error(
        "{path}: offset 4: its line ends were changed, so it was copied as text and is damaged all through"
    )]
    LineEnds {
        /// The file.
        path: PathBuf,
    },
    /// A later version of reenact wrote it.
    #[error(
        "{path}: offset 8: written in trace format {major}; this reenact reads format {FORMAT_MAJOR}"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The major version found.
        major: u16,
    },
    /// The file ends inside its header.
    #[error("{path}: offset {offset}: the file ends inside its header")]
    TornHeader {
        /// The file.
        path: PathBuf,
        /// Where it ends.
        offset: u64,
    },
    /// The header does not match its checksum, or does not parse.
    #[error("{path}: offset {offset}: the header is damaged: {reason}")]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// Where it shows.
        offset: u64,
        /// How it shows.
        reason: &'static str,
    },
    /// Its blocks are sealed, and there is no identity to open them.
    #[error("{path}: the trace is sealed to age recipients")]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// Its blocks are sealed to others.
    #[error("{path}: the trace is sealed, and not to any of the identities given")]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A line of a key file is something else.
    #[error("{path}: line {line}: not an age {what}")]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What should stand there.
        what: &'static str,
    },
    /// A key file has no key.
    #[error("{path}: there is no age {what} in it")]
    NoKeys {
        /// The file.
        path: PathBuf,
        /// What should stand there.
        what: &'static str,
    },
    /// A directory without traces.
    #[error("{path}: the directory has no *.rt or *.rt.age file")]
    NoTraces {
        /// The directory.
        path: PathBuf,
    },
    /// Recorders can be put side by side only by their wall clocks.
    #[error(
        "{path}: its recorder's wall clock was not kept, so nobody knows when it was beside the others"
    )]
    NoClock {
        /// The first file without one.
        path: PathBuf,
    },
    /// Two files cannot be one, because their headers would have to say different things.
    #[error("{path}: {what} than in the files before it")]
    Unlike {
        /// The first file that is different.
        path: PathBuf,
        /// How.
        what: &'static str,
    },
    /// Ids of that many files do not fit side by side.
    #[error("{path}: with this file the trace has more than 2^32 {what}")]
    TooManyIds {
        /// The file with which it became too many.
        path: PathBuf,
        /// Which ids.
        what: &'static str,
    },
}

impl TraceError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Io { path, .. } if is_partial(path) => WRITABLE,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => {
                    "check the path; a trace is a *.rt file or a directory of them"
                }
                io::ErrorKind::PermissionDenied => {
                    "traces are readable by their owner only (mode 0600); run as the user that recorded it"
                }
                io::ErrorKind::NotADirectory | io::ErrorKind::ReadOnlyFilesystem => WRITABLE,
                _ => return None,
            },
            Self::Store { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => {
                    "check the URL; a trace is a *.rt object or a prefix that holds some"
                }
                io::ErrorKind::InvalidInput => {
                    "name an object, as s3://BUCKET/PREFIX/NAME.rt for a trace"
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "it is gathered in the directory for temporary files first; TMPDIR names another"
                }
                io::ErrorKind::Unsupported => "build it with --features stores, or copy the files",
                _ => {
                    "credentials, region and endpoint come from the environment (AWS_…, GOOGLE_…, AZURE_…; see docs/traces.md)"
                }
            },
            Self::Spool { .. } => "TMPDIR names another directory for temporary files",
            Self::NoClock { .. } => {
                "record with --keep-wall-clock; or merge --in-sequence, where one run followed the other"
            }
            Self::Unlike { .. } => {
                "put together only what was recorded alike; or take the files one by one"
            }
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space on that disk"
                }
                _ => "what was written before is whole and readable",
            },
            Self::Unsynced { .. } => "look into the kernel's log for what is wrong with that disk",
            Self::Exists { path } if is_partial(path) => {
                "another run is writing it, or was killed; if it was killed, remove the file"
            }
            Self::Exists { .. } => "remove it or choose another name; traces are never overwritten",
            Self::Empty { .. } => {
                "it was never written to; the recorder may have been killed as it started"
            }
            Self::Foreign { .. } => "is this a reenact trace? `reenact import` reads other formats",
            Self::LineEnds { .. } => "copy it again as binary",
            Self::Newer { .. } => "update reenact",
            Self::TornHeader { .. } => {
                "nothing was recorded in it, or the copy was cut short: copy it again"
            }
            Self::BadHeader { .. } => "the copy is damaged: copy it again",
            Self::Sealed { .. } => "name the identity's file with --identity or REENACT_IDENTITY",
            Self::NotOurs { .. } => "its owner knows which identity it was recorded for",
            Self::NotAKey { .. } | Self::NoKeys { .. } => {
                "age-keygen makes both: the identity goes into a file of its own, the recipient is printed"
            }
            Self::NoTraces { .. } => {
                "give the --trace-dir of `reenact record`, or the files themselves"
            }
            Self::TooManyIds { .. } => "read fewer files at a time",
        })
    }

    /// Exchanges that were lost with this error.
    pub fn lost(&self) -> u64 {
        match self {
            Self::Write { lost, .. } => *lost,
            _ => 0,
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| match StoreUrl::is_one(path) {
            true => Self::store(path, source),
            false => Self::Io {
                path: path.to_owned(),
                source,
            },
        }
    }

    pub(super) fn store(url: &Path, source: io::Error) -> Self {
        Self::Store {
            url: url.to_owned(),
            source,
        }
    }

    /// For the creation of a file that must not exist yet.
    pub(super) fn creating(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| match source.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists {
                path: path.to_owned(),
            },
            _ => Self::Io {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Whether this is the name of a file that is being written.
fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "partial")
}

const WRITABLE: &str = "give the path of a file in a directory that can be written to";

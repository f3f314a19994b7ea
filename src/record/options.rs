use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::UpstreamUrl;
use super::admin::AdminOptions;
use crate::anonymise::Policy;
use crate::trace::TraceError;

/// Everything that a recorder is told at its start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients connect.
    pub listen: Vec<ListenAddr>,
    /// Where requests go.
    pub upstream: UpstreamUrl,
    /// PEM file with the roots that the upstream's certificate must lead to; the platform's where absent.
    pub upstream_ca: Option<PathBuf>,
    /// Where metrics and health are served; nowhere where absent.
    pub admin: Option<AdminOptions>,
    /// Whether the process gives up the files it has no use for.
    pub sandbox: bool,
    /// Where and how traces are written; a plain proxy where absent.
    pub trace: Option<TraceOptions>,
    /// Threads that carry traffic.
    pub threads: usize,
    /// How long connecting to the upstream may take.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent before its response's head.
    pub first_byte_timeout: Duration,
    /// How long an answer may be silent between two pieces.
    pub idle_timeout: Duration,
    /// How long an idle upstream connection is kept. Below 5 s, after which uvicorn closes.
    pub pool_idle: Duration,
    /// How long new clients are still taken after the first signal, while `/readyz` already says no.
    pub drain_delay: Duration,
    /// How long exchanges in flight may take to finish after that.
    pub drain_timeout: Duration,
}

impl Options {
    /// Files that are read after the start, and that may be replaced while the recorder runs.
    pub(super) fn files_read_again(&self) -> impl Iterator<Item = &Path> {
        self.upstream_ca.as_deref().into_iter()
    }
}

/// Where and how traces are written.
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// The directory; made where missing.
    pub dir: PathBuf,
    /// Files are called `NAME-000001.rt` and on.
    pub name: String,
    /// What may stand in clear.
    pub policy: Policy,
    /// Share of conversations recorded.
    pub sample: f64,
    /// The request header that names a conversation, where clients send one.
    pub session_header: Option<http::HeaderName>,
    /// Bound on everything that waits to be recorded.
    pub capture_memory: u64,
    /// Bodies above this are recorded by size only.
    pub max_body: u64,
    /// A file is closed and the next begun at this size.
    pub rotate_bytes: u64,
    /// A file is closed and the next begun at this age.
    pub rotate_age: Duration,
}

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `:8080` for every interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddr(pub SocketAddr);

impl FromStr for ListenAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let full = match text.strip_prefix(':') {
            Some(port) => format!("0.0.0.0:{port}"),
            None => text.to_owned(),
        };
        full.to_socket_addrs()
            .ok()
            .and_then(|mut addrs| addrs.next())
            .map(Self)
            .ok_or_else(|| {
                "not an address to listen on; write 127.0.0.1:8080, [::1]:8080 or :8080".to_owned()
            })
    }
}

/// Why a recorder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {}", reason(source))]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The admin socket's file cannot be made.
    #[error("cannot listen on unix:{path}: {}", reason(source))]
    AdminSocket {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The trace directory or its first file cannot be made.
    #[error("cannot write traces to {dir}: {}", reason(source))]
    TraceDir {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The first trace file cannot be begun.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The roots for the upstream's certificate cannot be read.
    #[error("cannot read certificates from {path}: {reason}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No roots at all: an `https://` upstream could never be trusted.
    #[error("no root certificates were found on this machine")]
    NoRoots,
    /// A thread or a runtime could not be made, or the system has no randomness.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

impl RecordError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                "another process listens there (ss -ltnp shows which); stop it or choose another --listen or --admin"
            }
            Self::Listen { .. } => {
                "ports below 1024 need CAP_NET_BIND_SERVICE, and the address must be one of this machine's"
            }
            Self::AdminSocket { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                "another process listens there, or the path is no socket; choose another --admin"
            }
            Self::AdminSocket { .. } => {
                "the directory of --admin unix:PATH must be there, and this user may write to it"
            }
            Self::TraceDir { .. } | Self::Trace(_) => {
                "give --trace-dir a directory that this user may write to, or --no-record to only forward"
            }
            Self::Roots { .. } => "--upstream-ca takes a file of PEM certificates",
            Self::NoRoots => {
                "install ca-certificates, or name the upstream's root with --upstream-ca"
            }
            Self::Start(_) => {
                "the limits on threads or open files (ulimit -u, ulimit -n) may be too low"
            }
        }
    }
}

/// The system's message without the number, so that tests and people read the same.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "the port is already in use".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_documented() {
        for (text, means) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":9000", "0.0.0.0:9000"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(
                text.parse::<ListenAddr>().unwrap().0,
                means.parse().unwrap()
            );
        }
        assert!("8080".parse::<ListenAddr>().unwrap_err().contains(":8080"));
    }
}

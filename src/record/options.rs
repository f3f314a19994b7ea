use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::anonymise::{Keys, OperatorKey, Policy, PromptTokenizer};
use crate::dialect::DialectRule;
use crate::record::daemon::admin::AdminOptions;
use crate::record::front::listen::Listen;
use crate::record::front::placement::{Placement, PlacementError};
use crate::record::front::tls;
use crate::record::mirror::MirrorOptions;
use crate::record::upstream::connect::UpstreamProtocol;
use crate::record::upstream::url::{NamedUpstream, UpstreamUrl};
use crate::trace::{Recipient, StoreUrl, TraceError};

/// Everything that a recorder is told at its start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients connect.
    pub listen: Vec<Listen>,
    /// Where requests go; empty where redirected clients bring their own.
    pub upstreams: Vec<NamedUpstream>,
    /// Which HTTP upstreams are spoken to in.
    pub upstream_protocol: UpstreamProtocol,
    /// Where it sits between the two.
    pub placement: Placement,
    /// Where metrics and health are served; nowhere where absent.
    pub admin: Option<AdminOptions>,
    /// Whether the process gives up the files it has no use for.
    pub sandbox: bool,
    /// Where and how traces are written; a plain proxy where absent.
    pub trace: Option<TraceOptions>,
    /// Threads that carry traffic.
    pub threads: usize,
    /// Where a share of the sessions goes as well; nowhere where absent, and only where a trace is written.
    pub mirror: Option<MirrorOptions>,
    /// How long connecting to the upstream may take.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent before its response's head.
    pub first_byte_timeout: Duration,
    /// How long an answer may be silent between two pieces.
    pub idle_timeout: Duration,
    /// How long a request's head may take to arrive, from its first byte.
    pub header_timeout: Duration,
    /// How long a request's body may be silent between two pieces.
    pub body_timeout: Duration,
    /// How long a client's connection may stay open without a request.
    pub client_idle: Duration,
    /// Bytes that a request's head may have.
    pub max_header_bytes: usize,
    /// How long an idle upstream connection is kept. Below 5 s, after which uvicorn closes.
    pub pool_idle: Duration,
    /// How long new clients are still taken after the first signal, while `/readyz` already says no.
    pub drain_delay: Duration,
    /// How long exchanges in flight may take to finish after that.
    pub drain_timeout: Duration,
}

/// Where and how traces are written.
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// The directory; made where missing.
    pub dir: PathBuf,
    /// Files are called `NAME-000001.rt` and on.
    pub name: String,
    /// What may be kept, and how exactly.
    pub policy: Policy,
    /// The key by which files can be linked, where they may.
    pub operator_key: Option<OperatorKey>,
    /// Whom files are sealed to; to nobody where empty.
    pub recipients: Vec<Recipient>,
    /// Share of conversations recorded.
    pub sample: f64,
    /// The model's tokenizer, by which prompts are counted and cut where there is one.
    pub tokenizer: Option<PromptTokenizer>,
    /// Whether the gaps between token events are kept one by one, beside their sketch.
    pub every_gap: bool,
    /// The request header that names a conversation, beside those that usually do.
    pub session_header: Option<http::HeaderName>,
    /// Which endpoints a gateway's own paths are.
    pub dialects: Vec<DialectRule>,
    /// Bound on everything that waits to be recorded.
    pub capture_memory: u64,
    /// Bodies above this are recorded by size only.
    pub max_body: u64,
    /// A file is closed and the next begun at this size.
    pub rotate_bytes: u64,
    /// A file is closed and the next begun at this age.
    pub rotate_age: Duration,
    /// What becomes of the files that are closed.
    pub keeping: Keeping,
}

/// What becomes of trace files once they are closed, and what of the wall clock stands in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// The oldest files go while all together are larger.
    pub keep_bytes: Option<u64>,
    /// Files last written longer ago go.
    pub keep_age: Option<Duration>,
    /// The wall-clock instant of the epoch stands in the files' headers.
    pub wall_clock: bool,
    /// Where closed files are carried to.
    pub store: Option<StoreOptions>,
}

/// Where closed trace files are carried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// A bucket and a prefix in it.
    pub url: StoreUrl,
    /// Whether the local copy of a stored file stays.
    pub keep_local: bool,
}

impl Options {
    /// A recorder on a free port of the loopback in front of one upstream, that keeps nothing; everything else as the command
    /// line has it.
    pub fn in_front_of(upstream: UpstreamUrl) -> Self {
        let minute = Duration::from_secs(60);
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
            upstreams: vec![upstream.into()],
            upstream_protocol: UpstreamProtocol::Auto,
            placement: Placement::default(),
            admin: None,
            sandbox: false,
            trace: None,
            threads: 1,
            mirror: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: 10 * minute,
            idle_timeout: 10 * minute,
            header_timeout: minute / 2,
            body_timeout: minute,
            client_idle: 5 * minute,
            max_header_bytes: 64 << 10,
            pool_idle: Duration::from_secs(4),
            drain_delay: Duration::ZERO,
            drain_timeout: minute / 2,
        }
    }

    /// Files that are read after the start, and that may be replaced while the recorder runs.
    pub(super) fn files_read_again(&self) -> Vec<PathBuf> {
        let mut files = tls::client_files(&self.placement.upstream_tls);
        files.extend(self.placement.listen_tls.iter().flat_map(tls::server_files));
        files
    }
}

impl TraceOptions {
    /// Everything that passes, in `dir`; the rest as the command line has it.
    pub fn in_dir(dir: PathBuf, name: &str) -> Self {
        Self {
            dir,
            name: name.to_owned(),
            policy: Policy::default(),
            operator_key: None,
            recipients: Vec::new(),
            sample: 1.0,
            tokenizer: None,
            every_gap: false,
            session_header: None,
            dialects: Vec::new(),
            capture_memory: 256 << 20,
            max_body: 64 << 20,
            rotate_bytes: 256 << 20,
            rotate_age: Duration::from_secs(24 * 3600),
            keeping: Keeping::default(),
        }
    }

    /// The policy as traces carry it.
    pub(super) fn told_policy(&self) -> Policy {
        Policy {
            keys: match self.operator_key {
                Some(_) => Keys::Operator,
                None => Keys::PerFile,
            },
            wall_clock: self.keeping.wall_clock,
            ..self.policy.clone()
        }
    }

    /// Share of conversations that are recorded.
    pub(super) fn share(&self) -> f64 {
        self.policy.share_kept(self.sample)
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
    /// There can be no result of a mirror.
    #[error("cannot write the mirror's result to {dir}: {source}")]
    MirrorOut {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store cannot be reached with what the environment says.
    #[error("{url}: {source}")]
    Store {
        /// Where traces were to be carried to.
        url: StoreUrl,
        /// What is missing.
        source: std::io::Error,
    },
    /// It cannot sit where it is told to.
    #[error(transparent)]
    Placement(#[from] PlacementError),
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
            Self::TraceDir { .. } | Self::Trace(_) => {
                "give --trace-dir a directory that this user may write to, or --no-record to only forward"
            }
            Self::MirrorOut { .. } => {
                "give --mirror-out a directory that this user may write to, or leave it out: metrics have the mirror as well"
            }
            Self::Store { .. } => {
                "credentials, region and endpoint come from the environment (AWS_…, GOOGLE_…, AZURE_…; see docs/traces.md)"
            }
            Self::Placement(error) => error.hint(),
            Self::NoRoots => {
                "install ca-certificates, or name the upstream's root with --upstream-ca"
            }
            Self::Start(_) => {
                "the limits on threads or open files (ulimit -u, ulimit -n) may be too low"
            }
        }
    }
}

impl From<crate::record::front::tls::PemError> for RecordError {
    fn from(error: crate::record::front::tls::PemError) -> Self {
        Self::Placement(error.into())
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

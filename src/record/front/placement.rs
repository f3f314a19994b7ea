use std::path::PathBuf;
use std::time::Duration;

use crate::record::front::forwarded::Forwarded;
use crate::record::front::proxy_protocol::ProxyVersion;
use crate::record::front::tls::{ListenTls, PemError, UpstreamTlsOptions};
use crate::record::front::transparent::Transparent;

/// Where the recorder sits between its neighbours, and how it speaks to them below HTTP.
#[derive(Debug, Clone)]
pub struct Placement {
    /// TLS towards clients, on those listeners that speak it.
    pub listen_tls: Option<ListenTls>,
    /// TLS towards upstreams.
    pub upstream_tls: UpstreamTlsOptions,
    /// The mode of unix sockets that it makes.
    pub socket_mode: u32,
    /// Every client's connection must begin with a PROXY header.
    pub proxy_in: bool,
    /// The PROXY header that connections to upstreams begin with.
    pub proxy_out: Option<ProxyVersion>,
    /// What happens to forwarded headers.
    pub forwarded: Forwarded,
    /// How clients are redirected to it; they connect to it by its own address where absent.
    pub transparent: Option<Transparent>,
    /// Most clients connected at once.
    pub max_connections: usize,
    /// How long a PROXY header and a TLS handshake may take together.
    pub handshake_timeout: Duration,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            listen_tls: None,
            upstream_tls: UpstreamTlsOptions::default(),
            socket_mode: 0o660,
            proxy_in: false,
            proxy_out: None,
            forwarded: Forwarded::Off,
            transparent: None,
            max_connections: 32_768,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a recorder cannot sit where it is told to.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// A unix socket cannot be listened on.
    #[error("cannot listen on unix:{}: {}", path.display(), reason(source))]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something else is where a unix socket should be.
    #[error("cannot listen on unix:{}: there is a file that is no socket", path.display())]
    NotASocket {
        /// Its path.
        path: PathBuf,
    },
    /// systemd has handed over no socket.
    #[error("no listening socket was handed over by systemd")]
    NoneInherited,
    /// systemd has handed over no socket of that name.
    #[error("systemd handed over no socket named {name}")]
    NoSuchInherited {
        /// The name.
        name: String,
    },
    /// What systemd has handed over is no stream socket.
    #[error("the socket {name} that systemd handed over is no TCP or unix stream listener")]
    NotAListener {
        /// Its name.
        name: String,
    },
    /// A certificate, key or root is of no use.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A listener is to speak TLS, with which certificate nobody has said.
    #[error("--listen https://{place} has no certificate")]
    NoCertificate {
        /// Where it listens.
        place: String,
    },
    /// A listener leads to an upstream that there is none of.
    #[error("--listen {place} leads to the upstream {name}, which no --upstream is named")]
    NoSuchUpstream {
        /// Where it listens.
        place: String,
        /// The name.
        name: String,
    },
    /// A listener could lead to several upstreams.
    #[error("--listen {place} does not say which --upstream it leads to")]
    WhichUpstream {
        /// Where it listens.
        place: String,
    },
    /// Two upstreams have the same name.
    #[error("two --upstream are named {name}")]
    SameName {
        /// The name.
        name: String,
    },
    /// There is no upstream.
    #[error("no --upstream was given")]
    NoUpstream,
    /// An upstream, and redirected clients who bring their own.
    #[error("--transparent goes where each client wanted to go, so it takes no --upstream")]
    TransparentUpstream,
    /// Redirects are of TCP only.
    #[error("--transparent cannot listen on {place}")]
    TransparentSocket {
        /// Where it listens.
        place: String,
    },
    /// The kernel does not let us accept connections to other machines' addresses.
    #[error("--transparent tproxy is not permitted: {}", reason(source))]
    Tproxy {
        /// What the system said.
        source: std::io::Error,
    },
    /// A name that no certificate can be for.
    #[error("{name} is no name or address that a certificate can be for")]
    ServerName {
        /// The name.
        name: String,
    },
}

impl PlacementError {
    /// What the operator can do about it.
    pub(in crate::record) fn hint(&self) -> &'static str {
        match self {
            Self::Socket { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                "another process listens there (ss -lxp shows which); stop it or choose another path"
            }
            Self::Socket { .. } => {
                "its directory must exist and this user must be able to write to it; a path has at most about 100 bytes"
            }
            Self::NotASocket { .. } => "move that file away, or choose another path",
            Self::NoneInherited => {
                "start it from a socket unit (systemd/reenact-record.socket), or give --listen an address"
            }
            Self::NoSuchInherited { .. } => {
                "the name is the socket unit's FileDescriptorName=, by default the unit's own name with .socket"
            }
            Self::NotAListener { .. } => "the socket unit needs ListenStream=, with Accept=no",
            Self::Pem(_) => {
                "PEM files are expected, readable by this user; systemd's LoadCredential= can hand them over"
            }
            Self::NoCertificate { .. } => "give --tls-cert FILE and --tls-key FILE",
            Self::NoSuchUpstream { .. } | Self::WhichUpstream { .. } => {
                "write --upstream NAME=URL and --listen NAME=ADDR with the same name"
            }
            Self::SameName { .. } => "give each --upstream a name of its own",
            Self::NoUpstream => "give --upstream URL, or --transparent where the kernel redirects",
            Self::TransparentUpstream => "leave out --upstream, or --transparent",
            Self::TransparentSocket { .. } => "redirects are of TCP: listen on an address",
            Self::Tproxy { .. } => {
                "it needs CAP_NET_ADMIN, or a socket unit with Transparent=yes and --listen systemd; --transparent redirect needs neither"
            }
            Self::ServerName { .. } => "give --upstream-sni a host's name or an IP address",
        }
    }
}

/// The system's message for people.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "it is already in use".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

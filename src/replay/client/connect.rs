use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Socket, Wire};
use super::link::{self, HandshakeError, Link};
use super::stamped::Stamped;
use super::traffic::Traffic;
use crate::net::{MaybeTls, client_tls};
use crate::replay::FailureKind;
use crate::replay::target::{HttpVersion, Target};

/// Opens connections to one target. The name is resolved once, so that no send waits for it.
#[derive(Clone)]
pub(in crate::replay) struct Connector {
    addresses: Arc<[SocketAddr]>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    pub(super) keep_alive: bool,
    pub(in crate::replay) http: HttpVersion,
    /// The bytes that its clients have room to receive, where they are slow.
    window: Option<u32>,
    traffic: Traffic,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::replay) enum ConnectError {
    #[error("its name does not resolve: {0}")]
    Resolve(io::Error),
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("the certificate authorities cannot be read: {0}")]
    Roots(String),
    #[error("it speaks no HTTP/2 ({0})")]
    Http2(HandshakeError),
}

impl ConnectError {
    pub(in crate::replay) fn kind(&self) -> FailureKind {
        match self {
            Self::Resolve(_) | Self::Connect(_) | Self::Roots(_) => FailureKind::Connect,
            Self::Timeout(_) => FailureKind::Timeout,
            Self::Tls(_) => FailureKind::Tls,
            Self::Http2(_) => FailureKind::NotHttp,
        }
    }

    /// The same once more, for another that waited for the same connection.
    pub(super) fn again(&self) -> Self {
        let same = |error: &io::Error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        match self {
            Self::Resolve(error) => Self::Resolve(same(error)),
            Self::Connect(error) => Self::Connect(same(error)),
            Self::Timeout(after) => Self::Timeout(*after),
            Self::Tls(error) => Self::Tls(same(error)),
            Self::Roots(text) => Self::Roots(text.clone()),
            Self::Http2(error) => Self::Http2(error.clone()),
        }
    }

    /// Whether this machine ran out of something (ports, descriptors, memory), which is not the target's fault.
    pub(in crate::replay) fn is_local(&self) -> bool {
        let (Self::Connect(error) | Self::Resolve(error)) = self else {
            return false;
        };
        error.kind() == io::ErrorKind::AddrNotAvailable
            || error
                .raw_os_error()
                .is_some_and(|code| LOCAL.iter().any(|errno| errno.raw_os_error() == code))
    }
}

const LOCAL: [rustix::io::Errno; 4] = [
    rustix::io::Errno::MFILE,
    rustix::io::Errno::NFILE,
    rustix::io::Errno::NOBUFS,
    rustix::io::Errno::NOMEM,
];

impl Connector {
    /// Resolves the target's name and reads what TLS needs. Blocks.
    ///
    /// # Errors
    /// When the name does not resolve, or the certificate authorities cannot be read.
    pub(in crate::replay) fn new(target: &Target, timeout: Duration) -> Result<Self, ConnectError> {
        let url = &target.url;
        let tls = if url.is_tls() {
            let name = ServerName::try_from(url.host().to_owned())
                .map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
            Some((tls_connector(target)?, name))
        } else {
            None
        };
        let addresses: Vec<SocketAddr> = (url.host(), url.port())
            .to_socket_addrs()
            .map_err(ConnectError::Resolve)?
            .collect();
        Ok(Self {
            addresses: addresses.into(),
            tls,
            timeout,
            keep_alive: target.keep_alive,
            http: target.http,
            window: None,
            traffic: Traffic::default(),
        })
    }

    /// The same for clients that take their answers slowly: so many bytes lie between them and the target at most. What they come to is
    /// counted with the others.
    pub(in crate::replay) fn of_slow_clients(&self, window: u32) -> Self {
        Self {
            window: Some(window),
            ..self.clone()
        }
    }

    /// What its connections came to so far.
    pub(in crate::replay) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Opens a connection. What only TLS and HTTP/2 need lies apart: whoever is behind opens hundreds at once.
    ///
    /// # Errors
    /// When there is none to be had in time.
    pub(in crate::replay) async fn connect(&self) -> Result<Connection, ConnectError> {
        let wire = match self.http {
            HttpVersion::Http1 => {
                let io = self.in_time(self.open(Stamped::over)).await?;
                Wire::Http1(Socket::over(io, self.traffic.open_one()))
            }
            HttpVersion::Http2 => Wire::Http2(Arc::new(Box::pin(self.link()).await?)),
        };
        Ok(Connection::new(wire))
    }

    /// Opens a connection that speaks HTTP/2.
    ///
    /// # Errors
    /// When there is none to be had in time.
    pub(super) async fn link(&self) -> Result<Link, ConnectError> {
        let opened = async {
            let io = self.open(Stamped::over).await?;
            Link::over(io, self.traffic.open_one(), self.window)
                .await
                .map_err(ConnectError::Http2)
        };
        self.in_time(opened).await
    }

    async fn in_time<T>(
        &self,
        opening: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let opened = tokio::time::timeout(self.timeout, opening)
            .await
            .unwrap_or(Err(ConnectError::Timeout(self.timeout)));
        if opened.as_ref().is_err_and(ConnectError::is_local) {
            self.traffic.local_errors.fetch_add(1, Ordering::Relaxed);
        }
        opened
    }

    /// Opens one for another use.
    ///
    /// # Errors
    /// When there is none to be had in time.
    pub(in crate::replay) async fn bare(&self) -> Result<MaybeTls<TcpStream>, ConnectError> {
        self.in_time(self.open(|tcp| tcp)).await
    }

    async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        over: impl FnOnce(TcpStream) -> S,
    ) -> Result<MaybeTls<S>, ConnectError> {
        let tcp = self.tcp().await.map_err(ConnectError::Connect)?;
        tcp.set_nodelay(true).map_err(ConnectError::Connect)?;
        let tcp = over(tcp);
        Ok(match &self.tls {
            None => MaybeTls::Plain(tcp),
            Some((connector, name)) => MaybeTls::Tls(Box::new(
                Box::pin(connector.connect(name.clone(), tcp))
                    .await
                    .map_err(ConnectError::Tls)?
                    .into(),
            )),
        })
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for &address in self.addresses.iter() {
            match self.tcp_to(address).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn tcp_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(window) = self.window else {
            return TcpStream::connect(address).await;
        };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Before the connection is there: what the system has offered once it cannot take back.
        socket.set_recv_buffer_size(window)?;
        socket.connect(address).await
    }
}

fn tls_connector(target: &Target) -> Result<TlsConnector, ConnectError> {
    let protocol: &[u8] = match target.http {
        HttpVersion::Http1 => b"http/1.1",
        HttpVersion::Http2 => link::ALPN,
    };
    client_tls(target.ca.as_deref(), &[protocol]).map_err(ConnectError::Roots)
}

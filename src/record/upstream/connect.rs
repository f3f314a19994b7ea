use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::record::answer::Refusal;
use crate::record::front::arrival::Arrival;
use crate::record::front::client_io::{Protocol, Wire};
use crate::record::front::proxy_protocol::{self, ProxyVersion};
use crate::record::front::socket::Socket;
use crate::record::front::tls::Reloading;
use crate::record::front::transparent::LoopGuard;
use crate::record::upstream::resolve::Resolver;
use crate::record::upstream::url::{Place, UpstreamUrl, UpstreamUrlError};

/// A connection to the upstream.
pub(in crate::record) type UpstreamIo = Wire;

/// An upstream ready to be connected to.
pub(in crate::record) struct Upstream {
    place: Reach,
    /// Without a slash at its end; empty where there is none.
    base: String,
    host_header: HeaderValue,
    tls: Option<UpstreamTls>,
    how: Connecting,
}

/// How its connections are made, the same for every upstream.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct Connecting {
    /// Most time for name, connection and TLS together.
    pub(in crate::record) timeout: Duration,
    pub(in crate::record) protocol: UpstreamProtocol,
    /// The PROXY header that a connection begins with.
    pub(in crate::record) proxy_out: Option<ProxyVersion>,
}

/// What an upstream connection is to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Wanted {
    Http1,
    Http2,
    /// What TLS agrees on, HTTP/2 preferred.
    Either,
}

impl Wanted {
    fn offer(self) -> Vec<Vec<u8>> {
        let offered: &[Protocol] = match self {
            Self::Http1 => &[Protocol::Http1],
            Self::Http2 => &[Protocol::Http2],
            Self::Either => &[Protocol::Http2, Protocol::Http1],
        };
        offered.iter().map(|each| each.alpn().to_vec()).collect()
    }
}

/// Which HTTP upstreams are spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// The client's, so that what works without the recorder works with it.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 always, on plain connections without asking.
    Http2,
}

/// What TLS to an upstream needs.
pub(in crate::record) struct UpstreamTls {
    pub(in crate::record) config: Arc<Reloading<ClientConfig>>,
    /// Whom its certificate must be for.
    pub(in crate::record) name: ServerName<'static>,
}

enum Reach {
    Host(Resolver),
    Unix(PathBuf),
    /// Where a redirected client wanted to go.
    Original(SocketAddr, Arc<LoopGuard>),
}

impl Upstream {
    /// The upstream of a URL. `tls` is called for `https://`, with the URL's host.
    pub(in crate::record) fn new(
        url: &UpstreamUrl,
        tls: Option<UpstreamTls>,
        how: Connecting,
    ) -> Result<Self, io::Error> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidInput, UpstreamUrlError);
        Ok(Self {
            place: match &url.place {
                Place::Tcp { host, port, .. } => Reach::Host(Resolver::new(host, *port)),
                Place::Unix(path) => Reach::Unix(path.clone()),
            },
            base: url.base.clone(),
            host_header: HeaderValue::from_str(&url.authority).map_err(invalid)?,
            tls,
            how,
        })
    }

    /// The server that a redirected client wanted to reach.
    pub(in crate::record) fn original(
        destination: SocketAddr,
        guard: &Arc<LoopGuard>,
        tls: Option<UpstreamTls>,
        how: Connecting,
    ) -> Option<Self> {
        Some(Self {
            place: Reach::Original(destination, Arc::clone(guard)),
            base: String::new(),
            host_header: HeaderValue::from_str(&destination.to_string()).ok()?,
            tls,
            how,
        })
    }

    /// What a request without a `Host` is given.
    pub(in crate::record) fn host_header(&self) -> HeaderValue {
        self.host_header.clone()
    }

    /// The same, as bytes.
    pub(in crate::record) fn host(&self) -> &[u8] {
        self.host_header.as_bytes()
    }

    /// What every path lies below; empty where there is nothing.
    pub(in crate::record) fn base(&self) -> &str {
        &self.base
    }

    /// Why no request of this client may go to it: its connection is one of ours that a redirect rule led back to us.
    pub(in crate::record) fn refusal(&self, arrival: &Arrival) -> Option<Refusal> {
        match (&self.place, arrival.peer) {
            (Reach::Original(destination, guard), Some(peer))
                if guard.is_ours(peer, *destination) =>
            {
                Some(Refusal::Loop)
            }
            _ => None,
        }
    }

    /// Whether its connections tell of one client, so that no other may use them.
    pub(in crate::record) fn is_personal(&self) -> bool {
        self.how.proxy_out.is_some()
    }

    /// What a connection for a client that speaks `protocol` is to speak.
    pub(in crate::record) fn wanted(&self, protocol: Protocol) -> Wanted {
        match (self.how.protocol, protocol) {
            (UpstreamProtocol::Http1, _) | (UpstreamProtocol::Auto, Protocol::Http1) => {
                Wanted::Http1
            }
            (UpstreamProtocol::Auto, Protocol::Http2) if self.tls.is_some() => Wanted::Either,
            (UpstreamProtocol::Http2 | UpstreamProtocol::Auto, _) => Wanted::Http2,
        }
    }

    /// Whether it is spoken to over TLS.
    pub(in crate::record) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// A fresh connection, for the client that came in by `arrival`.
    pub(in crate::record) async fn connect(
        &self,
        arrival: &Arrival,
        wanted: Wanted,
    ) -> Result<UpstreamIo, Refusal> {
        let deadline = crate::record::alarm::later(std::time::Instant::now(), self.how.timeout);
        let deadline = Instant::from_std(deadline);
        match tokio::time::timeout_at(deadline, self.connect_by(deadline, arrival, wanted)).await {
            Ok(connected) => connected,
            Err(_) => Err(Refusal::ConnectTimeout),
        }
    }

    async fn connect_by(
        &self,
        deadline: Instant,
        arrival: &Arrival,
        wanted: Wanted,
    ) -> Result<UpstreamIo, Refusal> {
        let socket = match &self.place {
            Reach::Host(resolver) => host(resolver, deadline).await,
            Reach::Unix(path) => unix(path).await.map(Socket::from),
            Reach::Original(destination, guard) => {
                let connected = TcpStream::connect(destination).await.map(Socket::from);
                connected.map(|socket| match guard.note(&socket, *destination) {
                    Some(outgoing) => socket.marked(outgoing),
                    None => socket,
                })
            }
        };
        let mut socket = socket.map_err(|_| Refusal::UpstreamRefused)?;
        if let Some(version) = self.how.proxy_out {
            let header = proxy_protocol::write(version, arrival.client.zip(arrival.destination));
            // Fits into a fresh connection's buffer, so this does not wait.
            let written = socket.write_all(&header).await;
            written.map_err(|_| Refusal::UpstreamRefused)?;
        }
        match &self.tls {
            None => Ok(Wire::Plain(socket)),
            Some(tls) => TlsConnector::from(tls.config.current())
                .with_alpn(wanted.offer())
                .connect(tls.name.clone(), socket)
                .await
                .map(|stream| Wire::Tls(Box::new(stream.into())))
                .map_err(|_| Refusal::UpstreamTls),
        }
    }
}

/// Tries a host's addresses in turn. Each has its share of the time that is left, so that one that swallows packets leaves
/// some for the next.
async fn host(resolver: &Resolver, deadline: Instant) -> io::Result<Socket> {
    let addresses = resolver.addresses().await?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = u32::try_from(addresses.len() - tried).map_or(left, |others| left / others);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream.into()),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    resolver.doubt().await;
    Err(last)
}

/// Connects to a unix socket. Where TCP would wait for a place in the listener's queue, a unix socket says `EAGAIN`.
async fn unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(QUEUE_FULL).await;
            }
            connected => return connected,
        }
    }
}

const QUEUE_FULL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn every_address_of_a_host_is_tried() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let resolver = Resolver::knowing(&[dead, alive]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let socket = host(&resolver, deadline).await.unwrap();
        assert_eq!(socket.ends().unwrap().1, alive);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_full_queue_of_a_unix_socket_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let kind = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let listener = kind.unwrap();
        listener
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        listener.listen(0).unwrap();
        let first = unix(&path).await.unwrap();
        let mut second = std::pin::pin!(unix(&path));
        let waited = tokio::time::timeout(10 * QUEUE_FULL, second.as_mut()).await;
        assert!(waited.is_err(), "the queue holds one");
        let _ = listener.accept().unwrap();
        second.await.unwrap();
        drop(first);
    }
}

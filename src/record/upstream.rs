use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answer::Refusal;

/// Where requests go: `http://HOST[:PORT][/BASE]` or `https://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    /// Without a slash at its end; empty where there is none.
    base: String,
}

/// What is wrong with an upstream's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an upstream; write http://HOST:PORT or https://HOST, with a base path where one is needed"
)]
pub struct UpstreamUrlError;

impl FromStr for UpstreamUrl {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, UpstreamUrlError> {
        let uri: Uri = text.parse().map_err(|_| UpstreamUrlError)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(UpstreamUrlError),
        };
        let authority = uri.authority().ok_or(UpstreamUrlError)?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty()
        {
            return Err(UpstreamUrlError);
        }
        // A port that is there but does not read (`:`, `:99999`) must not silently become the default.
        let after_host = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if after_host => return Err(UpstreamUrlError),
            None if tls => 443,
            None => 80,
        };
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.base)
    }
}

impl UpstreamUrl {
    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }
}

/// An upstream ready to be connected to.
pub(super) struct Upstream {
    url: UpstreamUrl,
    /// Its address, where its host is one: no resolver then.
    address: Option<SocketAddr>,
    host_header: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connect_timeout: Duration,
}

impl Upstream {
    pub(super) fn new(
        url: UpstreamUrl,
        tls: Option<Arc<ClientConfig>>,
        connect_timeout: Duration,
    ) -> Result<Self, io::Error> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidInput, UpstreamUrlError);
        let host_header = HeaderValue::from_str(&url.authority).map_err(|_| invalid(()))?;
        let tls = match tls {
            Some(config) => {
                let name = ServerName::try_from(url.host.clone()).map_err(|_| invalid(()))?;
                Some((TlsConnector::from(config), name))
            }
            None => None,
        };
        Ok(Self {
            address: url
                .host
                .parse()
                .ok()
                .map(|ip| SocketAddr::new(ip, url.port)),
            host_header,
            tls,
            connect_timeout,
            url,
        })
    }

    /// What a request without a `Host` is given.
    pub(super) fn host_header(&self) -> HeaderValue {
        self.host_header.clone()
    }

    /// The same, as bytes.
    pub(super) fn host(&self) -> &[u8] {
        self.host_header.as_bytes()
    }

    /// What every path lies below; empty where there is nothing.
    pub(super) fn base(&self) -> &str {
        &self.url.base
    }

    /// The target of the upstream's request line: path and query byte for byte as they came, below the base path.
    pub(super) fn target(&self, uri: &Uri) -> Option<Uri> {
        let origin_form = uri.authority().is_none();
        let below = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        if origin_form && (self.url.base.is_empty() || below == "*") {
            return None;
        }
        let target = format!("{}{below}", self.url.base);
        PathAndQuery::from_maybe_shared(bytes::Bytes::from(target))
            .ok()
            .map(Uri::from)
    }

    /// A fresh connection.
    pub(super) async fn connect(&self) -> Result<UpstreamIo, Refusal> {
        match tokio::time::timeout(self.connect_timeout, self.connect_at_leisure()).await {
            Ok(connected) => connected,
            Err(_) => Err(Refusal::ConnectTimeout),
        }
    }

    async fn connect_at_leisure(&self) -> Result<UpstreamIo, Refusal> {
        let connected = match self.address {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((self.url.host.as_str(), self.url.port)).await,
        };
        let stream = connected.map_err(|_| Refusal::UpstreamRefused)?;
        // Not fatal: without it small writes may wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => Ok(UpstreamIo::Plain(stream)),
            Some((connector, name)) => connector
                .connect(name.clone(), stream)
                .await
                .map(|stream| UpstreamIo::Tls(Box::new(stream)))
                .map_err(|_| Refusal::UpstreamTls),
        }
    }
}

/// A connection to the upstream.
pub(super) enum UpstreamIo {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(url: &str) -> Upstream {
        Upstream::new(url.parse().unwrap(), None, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn urls_read_as_documented() {
        let url: UpstreamUrl = "https://api.example.com/openai/".parse().unwrap();
        assert!(url.is_tls());
        assert_eq!(
            (url.host.as_str(), url.port, url.base.as_str()),
            ("api.example.com", 443, "/openai")
        );
        let url: UpstreamUrl = "http://[::1]:8000".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", 8000));
        assert_eq!(url.to_string(), "http://[::1]:8000");
        for bad in [
            "localhost:8000",
            "ftp://a",
            "http://",
            "http://user:secret@a",
            "http://a:99999",
            "http://a/?q=1",
        ] {
            assert_eq!(bad.parse::<UpstreamUrl>(), Err(UpstreamUrlError), "{bad}");
        }
    }

    #[test]
    fn a_target_is_left_alone_unless_it_must_change() {
        let plain = upstream("http://a");
        assert_eq!(plain.target(&"/v1/x?a=%41&b=//c".parse().unwrap()), None);
        assert_eq!(plain.target(&"*".parse().unwrap()), None);
        let absolute = plain.target(&"http://other/v1?q=1".parse().unwrap());
        assert_eq!(absolute.unwrap().to_string(), "/v1?q=1");
        let based = upstream("http://a/base/");
        let target = based.target(&"/v1/x?a=%41&b=//c".parse().unwrap());
        assert_eq!(target.unwrap().to_string(), "/base/v1/x?a=%41&b=//c");
    }
}

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::net::{MaybeTls, client_tls};

/// Where a `/metrics` page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    /// What every question carries beside its own headers; the values are shown nowhere.
    headers: HeaderMap,
    /// PEM file of the authorities to trust instead of the system's.
    ca: Option<PathBuf>,
}

/// Reads a page, again and again.
pub(super) struct PageReader {
    url: PageUrl,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// No TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// It came too late.
    #[error("no answer within {:?}", PageUrl::PATIENCE)]
    Timeout,
    /// Something else than a page came.
    #[error("it answered with status {0}")]
    Status(StatusCode),
    /// Something else than HTTP came, or more than a page.
    #[error("its answer could not be read: {0}")]
    Answer(String),
}

impl PageError {
    /// Whether the server is there and has no such page.
    pub(super) fn says_there_is_none(&self) -> bool {
        use StatusCode as S;
        matches!(
            self,
            Self::Status(S::NOT_FOUND | S::METHOD_NOT_ALLOWED | S::GONE | S::NOT_IMPLEMENTED)
        )
    }
}

/// Marks the question, so that a recorder in between leaves it out of its trace.
const PROBE: &str = "x-reenact-probe";
/// An engine with a thousand series of histograms writes some 300 KB.
const MOST_BYTES: usize = 16 << 20;

impl PageUrl {
    /// How long an answer may take.
    pub const PATIENCE: Duration = Duration::from_secs(2);

    /// The page of a server's own figures. An IPv6 address may stand in brackets or not.
    pub fn of_server(tls: bool, host: &str, port: u16) -> Self {
        let is_bare = host.contains(':') && !host.starts_with('[');
        Self {
            tls,
            host: match is_bare {
                true => format!("[{host}]"),
                false => host.to_owned(),
            },
            port,
            path: "/metrics".to_owned(),
            headers: HeaderMap::new(),
            ca: None,
        }
    }

    /// The same, asked with these headers, and trusting the authorities of this PEM file instead of the system's.
    #[must_use]
    pub fn with(mut self, headers: HeaderMap, ca: Option<PathBuf>) -> Self {
        self.headers.extend(headers);
        self.ca = ca;
        self
    }

    /// Makes ready to read it.
    ///
    /// # Errors
    /// When there is no authority to trust.
    pub(super) fn reader(&self) -> Result<PageReader, PageError> {
        let tls = if self.tls {
            let connector =
                client_tls(self.ca.as_deref(), &[b"http/1.1"]).map_err(PageError::Tls)?;
            let name = ServerName::try_from(self.bare_host().to_owned())
                .map_err(|error| PageError::Tls(error.to_string()))?;
            Some((connector, name))
        } else {
            None
        };
        Ok(PageReader {
            url: self.clone(),
            tls,
        })
    }

    fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

impl PageReader {
    /// Reads it.
    ///
    /// # Errors
    /// When nothing answers in time, or something else than a page comes.
    pub(super) async fn get(&self) -> Result<String, PageError> {
        tokio::time::timeout(PageUrl::PATIENCE, self.read())
            .await
            .unwrap_or(Err(PageError::Timeout))
    }

    async fn connect(&self) -> Result<MaybeTls<TcpStream>, PageError> {
        let tcp = TcpStream::connect((self.url.bare_host(), self.url.port))
            .await
            .map_err(PageError::Connect)?;
        let Some((connector, name)) = &self.tls else {
            return Ok(MaybeTls::Plain(tcp));
        };
        let tls = connector
            .connect(name.clone(), tcp)
            .await
            .map_err(|error| PageError::Tls(error.to_string()))?;
        Ok(MaybeTls::Tls(Box::new(tls.into())))
    }

    async fn read(&self) -> Result<String, PageError> {
        let unread = |error: hyper::Error| PageError::Answer(error.to_string());
        let io = TokioIo::new(self.connect().await?);
        let (mut sender, driver) = http1::handshake(io).await.map_err(unread)?;
        let driver = tokio::spawn(driver);
        let mut request = Request::get(&self.url.path)
            .header(HOST, format!("{}:{}", self.url.host, self.url.port))
            .header(USER_AGENT, concat!("reenact/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "text/plain;version=0.0.4")
            .header(PROBE, "1")
            .body(Empty::<Bytes>::new())
            .map_err(|error| PageError::Answer(error.to_string()))?;
        request.headers_mut().extend(self.url.headers.clone());
        let response = sender.send_request(request).await.map_err(unread)?;
        if !response.status().is_success() {
            return Err(PageError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES);
        let page = body
            .collect()
            .await
            .map_err(|error| PageError::Answer(error.to_string()))?;
        driver.abort();
        Ok(String::from_utf8_lossy(&page.to_bytes()).into_owned())
    }
}

impl FromStr for PageUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text
            .parse()
            .map_err(|error| format!("no URL ({error}); write http://HOST:PORT/metrics"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("write http://HOST:PORT/metrics, or https://".to_owned()),
        };
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(
                "credentials do not belong into a URL, which is printed and stored; --engine-metrics-header 'authorization: env:VARIABLE' sends them"
                    .to_owned(),
            );
        }
        let host = uri
            .host()
            .ok_or_else(|| "it names no host; write http://HOST:PORT/metrics".to_owned())?;
        let path = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("" | "/") => "/metrics",
            Some(path) => path,
        };
        Ok(Self {
            path: path.to_owned(),
            ..Self::of_server(
                tls,
                host,
                uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            )
        })
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    #[test]
    fn a_bare_address_means_its_metrics_page() {
        for (text, shown) in [
            ("http://gpu-1:9400", "http://gpu-1:9400/metrics"),
            ("http://gpu-1", "http://gpu-1:80/metrics"),
            ("http://[::1]:8000/", "http://[::1]:8000/metrics"),
            ("http://a:1/probe?target=x", "http://a:1/probe?target=x"),
            ("https://gpu-1", "https://gpu-1:443/metrics"),
        ] {
            assert_eq!(text.parse::<PageUrl>().unwrap().to_string(), shown);
        }
        for text in ["gpu-1:9400", "ftp://a:1", "http://", ""] {
            assert!(text.parse::<PageUrl>().is_err(), "{text}");
        }
        let of_server = PageUrl::of_server(false, "::1", 8000);
        assert_eq!(of_server.to_string(), "http://[::1]:8000/metrics");
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_quoted() {
        let refused = "http://me:s3cret@gpu-1:9400/metrics".parse::<PageUrl>();
        let why = refused.unwrap_err();
        assert!(
            why.contains("--engine-metrics-header") && !why.contains("s3cret"),
            "{why}"
        );
    }

    /// An exporter over TLS that answers one question with the `x-tenant` it was asked with.
    fn exporter() -> (String, tempfile::NamedTempFile) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut authority = tempfile::NamedTempFile::new().unwrap();
        authority.write_all(made.cert.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut reader = BufReader::new(StreamOwned::new(tls, socket));
                let mut tenant = String::new();
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    if let Some(value) = line.strip_prefix("x-tenant: ") {
                        value.trim().clone_into(&mut tenant);
                    }
                    line.clear();
                }
                let page = format!("tenant{{name=\"{tenant}\"}} 1\n");
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
                let _ = reader
                    .get_mut()
                    .write_all(format!("{head}{page}").as_bytes());
            }
        });
        (format!("https://localhost:{port}/metrics"), authority)
    }

    #[tokio::test]
    async fn a_page_over_tls_is_read_with_its_headers_and_no_authority_is_made_up() {
        let (url, authority) = exporter();
        let page: PageUrl = url.parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-tenant", "blue".parse().unwrap());
        let trusting = page
            .clone()
            .with(headers, Some(authority.path().to_owned()));
        let read = trusting.reader().unwrap().get().await.unwrap();
        assert_eq!(read, "tenant{name=\"blue\"} 1\n");
        let (_, stranger) = exporter();
        let distrusting = page.with(HeaderMap::new(), Some(stranger.path().to_owned()));
        let error = distrusting.reader().unwrap().get().await.unwrap_err();
        assert!(matches!(error, PageError::Tls(_)), "{error}");
    }
}

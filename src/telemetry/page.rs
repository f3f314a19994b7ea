use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Where a `/metrics` page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageUrl {
    host: String,
    port: u16,
    path: String,
}

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
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

/// Marks the question, so that a recorder in between leaves it out of its trace.
const PROBE: &str = "x-reenact-probe";
/// An engine with a thousand series of histograms writes some 300 KB.
const MOST_BYTES: usize = 16 << 20;

impl PageUrl {
    /// How long an answer may take.
    pub const PATIENCE: Duration = Duration::from_secs(2);

    /// The page of a server's own figures.
    pub fn of_server(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            path: "/metrics".to_owned(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When nothing answers in time, or something else than a page comes.
    pub async fn get(&self) -> Result<String, PageError> {
        tokio::time::timeout(Self::PATIENCE, self.read())
            .await
            .unwrap_or(Err(PageError::Timeout))
    }

    async fn read(&self) -> Result<String, PageError> {
        let unread = |error: hyper::Error| PageError::Answer(error.to_string());
        let host = self.host.trim_matches(['[', ']']);
        let tcp = TcpStream::connect((host, self.port))
            .await
            .map_err(PageError::Connect)?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(tcp)).await.map_err(unread)?;
        let driver = tokio::spawn(driver);
        let request = Request::get(&self.path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(USER_AGENT, concat!("reenact/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "text/plain;version=0.0.4")
            .header(PROBE, "1")
            .body(Empty::<Bytes>::new())
            .map_err(|error| PageError::Answer(error.to_string()))?;
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
        if uri.scheme_str() != Some("http") {
            return Err("write http://HOST:PORT/metrics; pages over TLS are not read".to_owned());
        }
        let host = uri
            .host()
            .ok_or_else(|| "it names no host; write http://HOST:PORT/metrics".to_owned())?;
        let path = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("" | "/") => "/metrics",
            Some(path) => path,
        };
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_means_its_metrics_page() {
        for (text, shown) in [
            ("http://gpu-1:9400", "http://gpu-1:9400/metrics"),
            ("http://gpu-1", "http://gpu-1:80/metrics"),
            ("http://[::1]:8000/", "http://[::1]:8000/metrics"),
            ("http://a:1/probe?target=x", "http://a:1/probe?target=x"),
        ] {
            assert_eq!(text.parse::<PageUrl>().unwrap().to_string(), shown);
        }
        for text in ["gpu-1:9400", "https://a:1", "http://", ""] {
            assert!(text.parse::<PageUrl>().is_err(), "{text}");
        }
    }
}

use std::fmt;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use serde::Serialize;

use super::headers::ExtraHeaders;
use crate::shape::{Dialect, Endpoint};

/// A server to replay against.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name in results.
    pub name: String,
    /// Where it is.
    pub url: BaseUrl,
    /// The model to ask for; the first that `GET /v1/models` names where absent.
    pub model: Option<String>,
    /// What it wants to see before it answers.
    pub credentials: Credentials,
    /// PEM file of the certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// What its requests carry beside their own headers.
    pub headers: ExtraHeaders,
    /// Whether a connection serves one request after another.
    pub keep_alive: bool,
    /// What its connections speak.
    pub http: HttpVersion,
}

impl Target {
    /// The headers with which a page of figures is asked for that stands at the target's own origin: its key as every plain question has
    /// it, and the headers that were given. Nobody else may see them. How a page is to be written is its reader's to say.
    pub fn headers_of_a_page(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.extend(self.credentials.header(Endpoint::Metrics));
        self.headers.put_into(&mut headers);
        for writing in [header::ACCEPT, header::ACCEPT_ENCODING, header::RANGE] {
            headers.remove(writing);
        }
        headers
    }
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum HttpVersion {
    /// One request at a time on a connection.
    #[default]
    #[serde(rename = "HTTP/1.1")]
    Http1,
    /// Many at once; by ALPN over TLS, by prior knowledge without.
    #[serde(rename = "HTTP/2")]
    Http2,
}

/// What is wrong with a target's URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not parse.
    #[error("`{0}` is not a URL; write http://host:port or https://host")]
    Malformed(String),
    /// A scheme that is neither http nor https.
    #[error("`{0}://` is not spoken here; write http:// or https://")]
    Scheme(String),
    /// It holds a name and password, which would end up in results.
    #[error(
        "credentials do not belong into a URL, which is printed and stored; give a key instead"
    )]
    UserInfo,
    /// It ends in the path of an endpoint.
    #[error("`{0}` is an endpoint's path, which each request brings itself: leave it out")]
    Endpoint(&'static str),
    /// It holds a query.
    #[error("a target's URL ends with its path: leave `?…` out")]
    Query,
}

/// A target's URL: scheme, host, port and, where a gateway needs it, a leading path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct BaseUrl {
    tls: bool,
    host: String,
    port: u16,
    prefix: String,
}

impl HttpVersion {
    /// The name of what is spoken at `url`, as ALPN has it: `http/1.1`, `h2`, or `h2c` without TLS.
    pub fn protocol(self, url: &BaseUrl) -> &'static str {
        match (self, url.is_tls()) {
            (Self::Http1, _) => "http/1.1",
            (Self::Http2, true) => "h2",
            (Self::Http2, false) => "h2c",
        }
    }
}

impl BaseUrl {
    /// Reads `http://host:port`, `https://host/prefix` or plain `host:port`. A trailing `/v1`, as OpenAI clients want it, is
    /// taken off, since every path here brings its own.
    ///
    /// # Errors
    /// When it is not of that form.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let malformed = || UrlError::Malformed(without_user_info(text));
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = full.parse().map_err(|_| malformed())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            other => return Err(UrlError::Scheme(other.unwrap_or_default().to_owned())),
        };
        let authority = uri.authority().ok_or_else(malformed)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        if uri.query().is_some() {
            return Err(UrlError::Query);
        }
        let host = authority.host();
        let port = match authority.port_u16() {
            Some(port) => port,
            // Something stands behind the host that is no port.
            None if authority.as_str() != host => return Err(malformed()),
            None if tls => 443,
            None => 80,
        };
        if host.is_empty() {
            return Err(malformed());
        }
        let path = uri.path().trim_end_matches('/');
        if let Some(endpoint) = Endpoint::ALL
            .iter()
            .find(|it| it.is_inference() && path.ends_with(it.path()))
        {
            return Err(UrlError::Endpoint(endpoint.path()));
        }
        let prefix = path.strip_suffix("/v1").unwrap_or(path);
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            prefix: prefix.to_owned(),
        })
    }

    /// Whether it is https.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The request target of `path`.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The `host` header.
    pub(crate) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.to_string()
    }
}

/// An error message must not show a password that stood in a malformed URL.
pub(crate) fn without_user_info(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}

/// An API key, shown nowhere.
#[derive(Clone, Default)]
pub struct Credentials {
    bearer: Option<HeaderValue>,
    x_api_key: Option<HeaderValue>,
}

/// A key that cannot stand in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API key holds characters that cannot stand in a header (a line end, perhaps)")]
pub struct BadKey;

impl Credentials {
    /// No key.
    pub const NONE: Self = Self {
        bearer: None,
        x_api_key: None,
    };

    /// The key as each dialect sends it: `x-api-key` on Anthropic's endpoint, `x-goog-api-key` on Gemini's, `authorization: Bearer`
    /// elsewhere.
    ///
    /// # Errors
    /// When the key cannot stand in a header.
    pub fn by_dialect(key: &str) -> Result<Self, BadKey> {
        Ok(Self {
            x_api_key: Some(secret(key.trim())?),
            ..Self::bearer(key)?
        })
    }

    /// The key as `authorization: Bearer` on every endpoint.
    ///
    /// # Errors
    /// When the key cannot stand in a header.
    pub fn bearer(key: &str) -> Result<Self, BadKey> {
        Ok(Self {
            bearer: Some(secret(&format!("Bearer {}", key.trim()))?),
            x_api_key: None,
        })
    }

    /// The key itself, for a program that asks the target in our place.
    pub fn key(&self) -> Option<&str> {
        self.bearer.as_ref()?.to_str().ok()?.strip_prefix("Bearer ")
    }

    /// The header to send to `endpoint`.
    pub(super) fn header(&self, endpoint: Endpoint) -> Option<(HeaderName, HeaderValue)> {
        let own = match endpoint.dialect() {
            Dialect::AnthropicMessages => Some("x-api-key"),
            Dialect::Gemini => Some("x-goog-api-key"),
            _ => None,
        };
        if let (Some(name), Some(key)) = (own, &self.x_api_key) {
            return Some((HeaderName::from_static(name), key.clone()));
        }
        let bearer = self.bearer.clone()?;
        Some((header::AUTHORIZATION, bearer))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = self.bearer.is_some() || self.x_api_key.is_some();
        f.write_str(if any {
            "Credentials(…)"
        } else {
            "Credentials(none)"
        })
    }
}

fn secret(value: &str) -> Result<HeaderValue, BadKey> {
    let mut value = HeaderValue::from_str(value).map_err(|_| BadKey)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_as_documented() {
        let show = |text: &str| BaseUrl::parse(text).map(|url| url.to_string());
        assert_eq!(show("http://h:8000"), Ok("http://h:8000".into()));
        assert_eq!(show("h:8000/"), Ok("http://h:8000".into()));
        assert_eq!(show("https://h/gw/v1/"), Ok("https://h/gw".into()));
        assert_eq!(show("http://[::1]:9"), Ok("http://[::1]:9".into()));
        let url = BaseUrl::parse("http://[::1]:9/a").unwrap();
        assert_eq!((url.host(), url.port()), ("::1", 9));
        assert_eq!(url.path("/v1/messages"), "/a/v1/messages");
        assert_eq!(HttpVersion::Http2.protocol(&url), "h2c");
        let secure = BaseUrl::parse("https://h").unwrap();
        assert_eq!(HttpVersion::Http2.protocol(&secure), "h2");
        assert_eq!(HttpVersion::Http1.protocol(&secure), "http/1.1");
    }

    #[test]
    fn bad_urls_are_refused_without_showing_a_password() {
        assert!(matches!(BaseUrl::parse(""), Err(UrlError::Malformed(_))));
        assert!(matches!(
            BaseUrl::parse("http://h:99999"),
            Err(UrlError::Malformed(_))
        ));
        assert!(matches!(
            BaseUrl::parse("http://h:"),
            Err(UrlError::Malformed(_))
        ));
        assert_eq!(
            BaseUrl::parse("ftp://h"),
            Err(UrlError::Scheme("ftp".into()))
        );
        assert_eq!(BaseUrl::parse("http://u:p@h"), Err(UrlError::UserInfo));
        assert_eq!(BaseUrl::parse("http://h?x=1"), Err(UrlError::Query));
        assert_eq!(
            BaseUrl::parse("http://h/gw/v1/chat/completions/"),
            Err(UrlError::Endpoint("/v1/chat/completions"))
        );
        let error = BaseUrl::parse("http://u:secret@h h").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn keys_go_where_their_dialect_wants_them_and_are_never_shown() {
        let key = Credentials::by_dialect(" sk-1\n").unwrap();
        let (name, value) = key.header(Endpoint::Messages).unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("x-api-key", "sk-1")
        );
        let (name, value) = key.header(Endpoint::GeminiStream).unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("x-goog-api-key", "sk-1")
        );
        let (name, value) = key.header(Endpoint::ChatCompletions).unwrap();
        assert_eq!(name, header::AUTHORIZATION);
        assert_eq!(value.to_str().unwrap(), "Bearer sk-1");
        assert!(!format!("{key:?}{value:?}").contains("sk-1"));
        assert!(Credentials::bearer("a\nb").is_err());
        assert!(Credentials::NONE.header(Endpoint::Messages).is_none());
    }

    #[test]
    fn a_page_is_asked_for_with_the_key_and_the_given_headers() {
        let mut headers = ExtraHeaders::default();
        for (name, value) in [
            ("x-tenant", "blue"),
            ("x-tenant", "red"),
            ("Accept-Encoding", "gzip"),
        ] {
            headers.add(name, value).unwrap();
        }
        let mut target = Target {
            name: "a".to_owned(),
            url: BaseUrl::parse("h:1").unwrap(),
            model: None,
            credentials: Credentials::by_dialect("sk-1").unwrap(),
            ca: None,
            headers,
            keep_alive: true,
            http: HttpVersion::Http1,
        };
        let sent = |target: &Target| -> Vec<(String, String)> {
            let headers = target.headers_of_a_page();
            let one = |(name, value): (&HeaderName, &HeaderValue)| {
                (name.to_string(), value.to_str().unwrap().to_owned())
            };
            let mut sent: Vec<_> = headers.iter().map(one).collect();
            sent.sort();
            sent
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            sent(&target),
            [
                pair("authorization", "Bearer sk-1"),
                pair("x-tenant", "blue"),
                pair("x-tenant", "red")
            ]
        );
        // A header that was given takes the key's place, as in every request.
        target.headers.add("authorization", "Basic eA==").unwrap();
        assert_eq!(sent(&target)[0], pair("authorization", "Basic eA=="));
    }
}

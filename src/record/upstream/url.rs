use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// Where requests go: `http://HOST[:PORT][/BASE]`, `https://…`, or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    pub(in crate::record) place: Place,
    /// What a request without a `Host` is given.
    pub(in crate::record) authority: String,
    /// Without a slash at its end; empty where there is none.
    pub(in crate::record) base: String,
}

/// The place that a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::record) enum Place {
    Tcp { tls: bool, host: String, port: u16 },
    Unix(PathBuf),
}

/// What is wrong with an upstream's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an upstream; write http://HOST:PORT, https://HOST or unix:PATH, with a base path behind the host where one is needed"
)]
pub struct UpstreamUrlError;

impl FromStr for UpstreamUrl {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, UpstreamUrlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(UpstreamUrlError),
                path => Ok(Self {
                    place: Place::Unix(PathBuf::from(path)),
                    authority: "localhost".to_owned(),
                    base: String::new(),
                }),
            };
        }
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
            place: Place::Tcp {
                tls,
                host: authority.host().trim_matches(['[', ']']).to_owned(),
                port,
            },
            authority: authority.as_str().to_owned(),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp { tls, .. } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{}", self.authority, self.base)
            }
        }
    }
}

impl UpstreamUrl {
    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.place, Place::Tcp { tls: true, .. })
    }

    /// The unix socket's path, where it is one.
    pub fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Unix(path) => Some(path),
            Place::Tcp { .. } => None,
        }
    }
}

/// An upstream that listeners can be led to by name: `[NAME=]URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUpstream {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Where it is.
    pub url: UpstreamUrl,
}

impl FromStr for NamedUpstream {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, UpstreamUrlError> {
        let (name, url) = split_name(text);
        Ok(Self {
            name,
            url: url.parse()?,
        })
    }
}

impl From<UpstreamUrl> for NamedUpstream {
    fn from(url: UpstreamUrl) -> Self {
        Self { name: None, url }
    }
}

/// The name before the first `=`, and the rest. What has a colon or a slash is no name, so a path may hold a `=`.
pub(in crate::record) fn split_name(text: &str) -> (Option<String>, &str) {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match text.split_once('=') {
        Some((name, rest)) if is_name(name) => (Some(name.to_owned()), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> (bool, String, u16, String) {
        let url: UpstreamUrl = text.parse().unwrap();
        let Place::Tcp { tls, host, port } = url.place else {
            panic!("{text} is no TCP upstream");
        };
        (tls, host, port, url.base)
    }

    #[test]
    fn urls_read_as_documented() {
        assert_eq!(
            tcp("https://api.example.com/openai/"),
            (
                true,
                "api.example.com".to_owned(),
                443,
                "/openai".to_owned()
            )
        );
        assert_eq!(
            tcp("http://[::1]:8000"),
            (false, "::1".to_owned(), 8000, String::new())
        );
        for text in ["http://[::1]:8000", "https://a/base", "unix:/run/vllm.sock"] {
            let url: UpstreamUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
        }
        for bad in [
            "localhost:8000",
            "ftp://a",
            "http://",
            "http://user:secret@a",
            "http://a:99999",
            "http://a/?q=1",
            "unix:",
        ] {
            assert_eq!(bad.parse::<UpstreamUrl>(), Err(UpstreamUrlError), "{bad}");
        }
    }

    #[test]
    fn a_name_stands_before_the_url() {
        let named: NamedUpstream = "chat=http://a:1".parse().unwrap();
        assert_eq!(named.name.as_deref(), Some("chat"));
        assert_eq!(named.url.to_string(), "http://a:1");
        let path: NamedUpstream = "unix:/run/a=b.sock".parse().unwrap();
        assert_eq!(path.name, None);
        assert_eq!(path.url.to_string(), "unix:/run/a=b.sock");
    }
}

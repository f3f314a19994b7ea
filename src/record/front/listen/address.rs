use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use crate::record::upstream::url::split_name;

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

/// Where clients connect, how, and where it leads: `[UPSTREAM=][http://|https://]PLACE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The name of the upstream that it leads to; the only one's where absent.
    pub upstream: Option<String>,
    /// Whether TLS is spoken; where absent, it is if there are certificates for it.
    pub tls: Option<bool>,
    /// Where.
    pub place: ListenPlace,
}

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenPlace {
    /// `127.0.0.1:8080` and the other forms of [`ListenAddr`].
    Tcp(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `systemd`: every socket that systemd handed over; `fd:NAME`: those of that name.
    Inherited(Option<String>),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (upstream, rest) = split_name(text);
        let (tls, place) = match rest.split_once("://") {
            Some(("http", place)) => (Some(false), place),
            Some(("https", place)) => (Some(true), place),
            _ => (None, rest),
        };
        Ok(Self {
            upstream,
            tls,
            place: place.parse()?,
        })
    }
}

impl From<SocketAddr> for Listen {
    fn from(addr: SocketAddr) -> Self {
        Self {
            upstream: None,
            tls: None,
            place: ListenPlace::Tcp(addr),
        }
    }
}

impl FromStr for ListenPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            "not a place to listen at; write 127.0.0.1:8080, [::1]:8080, :8080, unix:PATH, systemd or fd:NAME, with https:// before it for TLS".to_owned()
        };
        if text == "systemd" {
            return Ok(Self::Inherited(None));
        }
        if let Some(name) = text.strip_prefix("fd:") {
            let named = !name.is_empty();
            return named
                .then(|| Self::Inherited(Some(name.to_owned())))
                .ok_or_else(wrong);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let named = !path.is_empty();
            return named
                .then(|| Self::Unix(PathBuf::from(path)))
                .ok_or_else(wrong);
        }
        text.parse::<ListenAddr>()
            .map(|ListenAddr(addr)| Self::Tcp(addr))
            .map_err(|_| wrong())
    }
}

impl fmt::Display for ListenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "{addr}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(None) => f.write_str("systemd"),
            Self::Inherited(Some(name)) => write!(f, "fd:{name}"),
        }
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

    #[test]
    fn places_read_as_documented() {
        for (text, upstream, tls, place) in [
            (":8080", None, None, "0.0.0.0:8080"),
            ("http://:8080", None, Some(false), "0.0.0.0:8080"),
            (
                "chat=https://[::1]:443",
                Some("chat"),
                Some(true),
                "[::1]:443",
            ),
            ("unix:/run/a=b.sock", None, None, "unix:/run/a=b.sock"),
            (
                "embed=unix:/run/e.sock",
                Some("embed"),
                None,
                "unix:/run/e.sock",
            ),
            ("systemd", None, None, "systemd"),
            ("chat=https://fd:chat", Some("chat"), Some(true), "fd:chat"),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen.upstream.as_deref(), upstream, "{text}");
            assert_eq!(listen.tls, tls, "{text}");
            assert_eq!(listen.place.to_string(), place, "{text}");
        }
        for bad in ["8080", "unix:", "fd:", "ftp://:1", "=:80", "chat="] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}

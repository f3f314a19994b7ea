use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::record::front::listen::{self, Inherited, ListenAddr, ListenPlace, Listener};
use crate::record::{PlacementError, RecordError};

/// Where the admin endpoint listens: an address, or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddr {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A socket file, for this user and group.
    Unix(PathBuf),
}

impl FromStr for AdminAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") => Err("a path is missing; write unix:/run/reenact/admin.sock".to_owned()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(|ListenAddr(addr)| Self::Tcp(addr))
                .map_err(|error: String| format!("{error}, or unix:PATH")),
        }
    }
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl AdminAddr {
    /// Whether only this machine, or whoever the socket file's permissions let in, can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(addr) => addr.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Listens there.
    pub(in crate::record) fn listen(&self) -> Result<Listener, RecordError> {
        let place = match self {
            Self::Tcp(addr) => ListenPlace::Tcp(*addr),
            Self::Unix(path) => ListenPlace::Unix(path.clone()),
        };
        // One address is one listener.
        listen::open(&place, SOCKET_MODE, &mut Inherited::none())?
            .pop()
            .ok_or_else(|| PlacementError::NoneInherited.into())
    }

    /// The same, with the port that its listener got.
    pub(in crate::record) fn of(&self, listener: &Listener) -> Self {
        listener.address().map_or_else(|| self.clone(), Self::Tcp)
    }
}

/// Connecting takes write permission: this user and the group, nobody else.
const SOCKET_MODE: u32 = 0o660;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_documented() {
        let tcp: AdminAddr = ":9464".parse().unwrap();
        assert!(!tcp.is_local());
        assert!("[::1]:9464".parse::<AdminAddr>().unwrap().is_local());
        let unix: AdminAddr = "unix:/run/reenact/admin.sock".parse().unwrap();
        assert!(unix.is_local());
        assert_eq!(unix.to_string(), "unix:/run/reenact/admin.sock");
        for bad in ["unix:", "9464"] {
            assert!(bad.parse::<AdminAddr>().unwrap_err().contains("unix:"));
        }
    }
}

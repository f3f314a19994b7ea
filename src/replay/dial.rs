//! A target's connections, for whoever speaks over them otherwise than a replay does.

use std::fmt;
use std::time::Duration;

use tokio::net::TcpStream;

use super::client::{ConnectError, Connector};
use super::{HttpVersion, Target};
use crate::net::MaybeTls;

/// Opens connections to a target as a replay would: its address, its certificate authorities. They speak HTTP/1.1.
pub(crate) struct Dialer(Connector);

/// Why there is no connection.
pub(crate) struct Unconnected(ConnectError);

impl fmt::Display for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Dialer {
    /// Resolves the target's name. Blocks.
    pub(crate) fn new(target: &Target, timeout: Duration) -> Result<Self, Unconnected> {
        let target = Target {
            http: HttpVersion::Http1,
            ..target.clone()
        };
        Connector::new(&target, timeout)
            .map(Self)
            .map_err(Unconnected)
    }

    /// A fresh connection.
    pub(crate) async fn open(&self) -> Result<MaybeTls<TcpStream>, Unconnected> {
        self.0.bare().await.map_err(Unconnected)
    }
}

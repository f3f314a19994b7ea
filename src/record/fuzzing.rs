//! See [`crate::fuzzing`].

use std::net::SocketAddr;

use super::front::proxy_protocol::{self, ProxyHeader, ProxyVersion};

pub use super::http1::fuzzing::{Framed, Read, Request, Response, chunks, request, response};
pub use super::tape::observe::fuzzing::{Bodies, recorded};

/// Reads a PROXY header: the connection's real ends where it tells them, and how many bytes it took. `None` where it is none.
pub async fn proxy_header(bytes: &[u8]) -> (Option<Option<(SocketAddr, SocketAddr)>>, usize) {
    let mut rest = bytes;
    let header = match proxy_protocol::read(&mut rest).await {
        Ok(ProxyHeader::Own) => Some(None),
        Ok(ProxyHeader::Proxied {
            client,
            destination,
        }) => Some(Some((client, destination))),
        Err(proxy_protocol::Malformed) => None,
    };
    (header, bytes.len() - rest.len())
}

/// Writes a PROXY header for the connection's real ends, or for one whose ends are not known.
pub fn write_proxy_header(
    version: ProxyVersion,
    ends: Option<(SocketAddr, SocketAddr)>,
) -> Vec<u8> {
    proxy_protocol::write(version, ends)
}

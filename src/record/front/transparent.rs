//! Sitting between two neighbours of which neither knows: the kernel redirects the client's connections to us, and tells where
//! they were meant to go.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::record::front::arrival::canonical;
use crate::record::front::socket::Socket;

/// How connections are redirected to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transparent {
    /// By NAT (`iptables -j REDIRECT`, `nft … redirect`): the kernel remembers the destination (`SO_ORIGINAL_DST`).
    Redirect,
    /// By TPROXY (`IP_TRANSPARENT`): the connection's own local address is the destination.
    Tproxy,
}

impl Transparent {
    /// Where the client wanted to go; `None` where the connection was not redirected.
    pub(in crate::record) fn destination(self, socket: &Socket) -> Option<SocketAddr> {
        let (local, _) = socket.ends()?;
        let local = canonical(local);
        match self {
            Self::Tproxy => Some(local),
            Self::Redirect => {
                let socket = socket2::SockRef::from(socket.tcp()?);
                let original = if local.is_ipv4() {
                    socket.original_dst_v4()
                } else {
                    socket.original_dst_v6()
                };
                original.ok()?.as_socket().map(canonical)
            }
        }
    }
}

/// Keeps us from being our own upstream. A redirect rule that catches our connections as well as the clients' would
/// otherwise turn one request into connections without end.
pub(in crate::record) struct LoopGuard {
    /// Where we listen.
    own: Vec<SocketAddr>,
    /// Our connections to upstreams, (our end, their end).
    outgoing: Mutex<HashSet<(SocketAddr, SocketAddr)>>,
}

impl LoopGuard {
    pub(in crate::record) fn new(own: Vec<SocketAddr>) -> Arc<Self> {
        Arc::new(Self {
            own: own.into_iter().map(canonical).collect(),
            outgoing: Mutex::default(),
        })
    }

    /// Whether a destination is one of our listeners. Of a listener on every interface only the port is compared: which
    /// addresses are this machine's can change.
    pub(in crate::record) fn is_own(&self, destination: SocketAddr) -> bool {
        self.own.iter().any(|own| {
            own.port() == destination.port()
                && (own.ip().is_unspecified() || own.ip() == destination.ip())
        })
    }

    /// Whether a client's connection is one that we opened. It is certain only once the client has sent something: our end
    /// writes only after it has been noted.
    pub(in crate::record) fn is_ours(&self, peer: SocketAddr, destination: SocketAddr) -> bool {
        self.lock().contains(&(canonical(peer), destination))
    }

    /// Notes a connection of ours, until what is returned is dropped.
    pub(in crate::record) fn note(
        self: &Arc<Self>,
        socket: &Socket,
        destination: SocketAddr,
    ) -> Option<Outgoing> {
        let pair = (canonical(socket.ends()?.0), destination);
        self.lock().insert(pair);
        Some(Outgoing {
            guard: Arc::clone(self),
            pair,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(SocketAddr, SocketAddr)>> {
        // A set is whole whenever it can be seen, whatever happened to a thread that held it.
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of ours that is open.
pub(in crate::record) struct Outgoing {
    guard: Arc<LoopGuard>,
    pair: (SocketAddr, SocketAddr),
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.guard.lock().remove(&self.pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_listener_is_known_by_its_address_or_its_port_alone() {
        let guard = LoopGuard::new(vec![addr("0.0.0.0:15001"), addr("192.0.2.1:15002")]);
        assert!(guard.is_own(addr("198.51.100.1:15001")));
        assert!(guard.is_own(addr("192.0.2.1:15002")));
        assert!(!guard.is_own(addr("192.0.2.2:15002")));
        assert!(!guard.is_own(addr("192.0.2.1:8000")));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_connection_of_ours_is_ours_as_long_as_it_is_open() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let socket = Socket::from(tokio::net::TcpStream::connect(to).await.unwrap());
        let (local, _) = socket.ends().unwrap();
        let guard = LoopGuard::new(Vec::new());
        let socket = {
            let outgoing = guard.note(&socket, to).unwrap();
            socket.marked(outgoing)
        };
        assert!(guard.is_ours(local, to));
        assert!(!guard.is_ours(local, addr("192.0.2.1:1")));
        drop(socket);
        assert!(!guard.is_ours(local, to));
    }
}

use std::net::{IpAddr, SocketAddr};

/// How a client came to us, for those headers that tell the upstream. No `Debug`: a client's address belongs in no log.
#[derive(Clone, Default)]
pub(in crate::record) struct Arrival {
    /// Who opened the connection; absent on unix sockets.
    pub(in crate::record) peer: Option<SocketAddr>,
    /// Who is at the far end: the peer, or whom the peer's PROXY header names.
    pub(in crate::record) client: Option<SocketAddr>,
    /// What the client connected to, before any redirect of ours or of the proxies before us.
    pub(in crate::record) destination: Option<SocketAddr>,
    /// It came over TLS that ended here.
    pub(in crate::record) tls: bool,
    /// The name that it asked TLS for.
    pub(in crate::record) server_name: Option<Box<str>>,
}

/// An IPv4 address that came through an IPv6 socket is an IPv4 address.
pub(in crate::record) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => SocketAddr::new(IpAddr::V6(ip).to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    }
}

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::RecordError;
use crate::net::BACKLOG;

/// Listens on an address. Without `SO_REUSEPORT`: it spreads few long connections badly, and would let a second recorder
/// take half of the traffic of a port that is already in use.
pub(in crate::record) fn bind(addr: SocketAddr) -> Result<TcpListener, RecordError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for old connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bind().map_err(|source| RecordError::Listen { addr, source })
}

/// Connections that TPROXY leads here keep the destination they had, which needs `IP_TRANSPARENT` on the listener. Setting it needs a
/// capability, also where it is set: systemd's `Transparent=yes` has done that for us.
pub(super) fn accept_any_destination(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    match listener.local_addr()? {
        SocketAddr::V4(_) if socket.ip_transparent_v4()? => Ok(()),
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
        SocketAddr::V6(_) if socket.ip_transparent_v6()? => Ok(()),
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
    }
}

use std::io;
use std::net::TcpListener;

use socket2::SockRef;

/// Clients that the kernel holds while they wait to be accepted (`net.core.somaxconn` may hold fewer). Who finds no room tries again after a
/// second.
pub(crate) const BACKLOG: i32 = 4096;

/// Gives a listener that room, where the standard library gives 128.
pub(crate) fn deepen(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}

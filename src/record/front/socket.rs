use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::record::front::transparent::Outgoing;

/// A connection that no runtime knows yet, on its way from the listener to a lane.
pub(in crate::record) enum RawSocket {
    Tcp(StdTcpStream),
    Unix(StdUnixStream),
}

/// A connection to a neighbour, over TCP or a unix socket.
pub(in crate::record) struct Socket {
    kind: Kind,
    reset: ResetSwitch,
    /// Present where the connection could come back to us by a redirect rule.
    _outgoing: Option<Outgoing>,
}

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Makes a connection end in a reset when it is closed. Whoever holds one can throw it, wherever the connection itself is.
#[derive(Clone, Default)]
pub(in crate::record) struct ResetSwitch(Rc<Cell<bool>>);

impl ResetSwitch {
    /// From now on, closing is a reset.
    pub(in crate::record) fn throw(&self) {
        self.0.set(true);
    }
}

impl Socket {
    /// Registers a raw connection with the lane's runtime.
    pub(in crate::record) fn from_raw(raw: RawSocket) -> io::Result<Self> {
        match raw {
            RawSocket::Tcp(stream) => TcpStream::from_std(stream).map(Self::from),
            RawSocket::Unix(stream) => UnixStream::from_std(stream).map(Self::from),
        }
    }

    /// The same connection, which counts as `outgoing` as long as it lives.
    pub(in crate::record) fn marked(mut self, outgoing: Outgoing) -> Self {
        self._outgoing = Some(outgoing);
        self
    }

    /// What makes it end in a reset.
    pub(in crate::record) fn reset_switch(&self) -> ResetSwitch {
        self.reset.clone()
    }

    /// Its two ends, (ours, theirs); unix sockets have no addresses worth telling.
    pub(in crate::record) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &self.kind {
            Kind::Tcp(stream) => Some((stream.local_addr().ok()?, stream.peer_addr().ok()?)),
            Kind::Unix(_) => None,
        }
    }

    /// The TCP connection, for socket options.
    pub(in crate::record) fn tcp(&self) -> Option<&TcpStream> {
        match &self.kind {
            Kind::Tcp(stream) => Some(stream),
            Kind::Unix(_) => None,
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        // Not fatal: without it small writes may wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        Self {
            kind: Kind::Tcp(stream),
            reset: ResetSwitch::default(),
            _outgoing: None,
        }
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self {
            kind: Kind::Unix(stream),
            reset: ResetSwitch::default(),
            _outgoing: None,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A unix socket knows no reset; closing it with bytes unread is the nearest thing, and happens by itself.
        if let (Kind::Tcp(stream), true) = (&self.kind, self.reset.0.get()) {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Kind::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Kind::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Kind::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Neither kind holds anything back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

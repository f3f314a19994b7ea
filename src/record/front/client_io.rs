use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::record::front::socket::{ResetSwitch, Socket};

/// A connection to a neighbour as HTTP sees it: bytes, with or without TLS below.
pub(in crate::record) enum Wire {
    Plain(Socket),
    /// Boxed: its buffers and keys are a kilobyte, and most connections have none.
    Tls(Box<TlsStream<Socket>>),
}

/// A client's connection.
pub(in crate::record) type ClientIo = Wire;

/// An application protocol that TLS can agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Its name in ALPN.
    pub(in crate::record) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

impl Wire {
    /// What TLS agreed on; `None` without TLS, or where the peer named no protocol.
    pub(in crate::record) fn protocol(&self) -> Option<Protocol> {
        let Self::Tls(stream) = self else {
            return None;
        };
        let agreed = stream.get_ref().1.alpn_protocol()?;
        [Protocol::Http1, Protocol::Http2]
            .into_iter()
            .find(|protocol| protocol.alpn() == agreed)
    }

    /// What makes it end in a reset.
    pub(in crate::record) fn reset_switch(&self) -> ResetSwitch {
        self.socket().reset_switch()
    }

    /// The socket below.
    pub(in crate::record) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

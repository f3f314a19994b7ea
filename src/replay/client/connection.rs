use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::link::Link;
use super::message::Outgoing;
use super::stamped::Stamped;
use super::traffic::Open;
use crate::net::MaybeTls;

/// What one exchange at a time goes over.
pub(in crate::replay) struct Connection {
    pub(super) wire: Wire,
    /// Whether an exchange went over it already.
    pub(super) used: bool,
    /// Whether the request that has it began one, as far as the trace tells.
    pub(super) begins: Option<bool>,
    /// Its place among the connections that may be open at once, while it is not idle.
    pub(super) turn: Option<OwnedSemaphorePermit>,
}

/// A connection of its own in HTTP/1, a place on one that others share in HTTP/2.
pub(super) enum Wire {
    Http1(Socket),
    Http2(Arc<Link>),
}

impl Connection {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            used: false,
            begins: None,
            turn: None,
        }
    }

    /// Whether another exchange can go over it.
    pub(super) fn is_idle(&mut self) -> bool {
        match &mut self.wire {
            Wire::Http1(socket) => socket.is_idle(),
            Wire::Http2(link) => link.is_open(),
        }
    }
}

/// A connection that speaks HTTP/1. Nobody watches it in the background: the task of an exchange polls it while that lasts, and
/// the pool looks at it when it is announced or taken again.
pub(super) struct Socket {
    io: MaybeTls<Stamped>,
    _open: Open,
}

impl Socket {
    pub(super) fn over(io: MaybeTls<Stamped>, open: Open) -> Self {
        Self { io, _open: open }
    }

    /// Whether it is open and silent, as an idle connection is. The system is asked, since word of a close may not have come
    /// round to the runtime yet.
    fn is_idle(&mut self) -> bool {
        match &self.io {
            MaybeTls::Plain(socket) => SockRef::from(socket.tcp())
                .peek(&mut [MaybeUninit::uninit()])
                .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock),
            // Under TLS there are records that say nothing, such as tickets.
            MaybeTls::Tls(_) => {
                let mut cx = Context::from_waker(Waker::noop());
                self.poll_read(&mut cx, READ, |_, _| ()).is_pending()
            }
        }
    }

    /// See [`Outgoing::poll_write`].
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
    ) -> Poll<io::Result<usize>> {
        outgoing.poll_write(cx, &mut self.io)
    }

    /// One read from the system of at most so many bytes, lent to `take` with the moment at which they had come; empty at the connection's end.
    pub(super) fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(io::Result<&[u8]>, Instant) -> T,
    ) -> Poll<T> {
        BUFFER.with_borrow_mut(|buffer| {
            let most = most.min(buffer.len());
            let mut into = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut into));
            let came = self.io.socket().last().at();
            Poll::Ready(take(read.map(|()| into.filled()), came))
        })
    }
}

/// Bytes that one read brings at most.
pub(super) const READ: usize = 64 << 10;

thread_local! {
    /// Every connection of a thread is read into this; what was read is used up before the next read, so that an open stream
    /// that is silent holds no buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::replay::pace::RunClock;

/// When a connection's socket was last written to and read from, as seen at the socket: what happens between there and the
/// code that handles a request is the generator's business, and must not be charged to the target.
pub(super) struct Stamps {
    clock: RunClock,
    /// First write since [`Stamps::arm`], plus 1; 0 where there was none.
    first_write_us: AtomicU64,
    last_read_us: AtomicU64,
}

impl Stamps {
    pub(super) fn new(clock: RunClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            first_write_us: AtomicU64::new(0),
            last_read_us: AtomicU64::new(0),
        })
    }

    /// Makes the next write the first.
    pub(super) fn arm(&self) {
        self.first_write_us.store(0, Ordering::Relaxed);
    }

    /// When the first write since then was handed to the socket.
    pub(super) fn first_write_us(&self) -> Option<u64> {
        self.first_write_us.load(Ordering::Relaxed).checked_sub(1)
    }

    /// When data was last read from the socket.
    pub(super) fn last_read_us(&self) -> u64 {
        self.last_read_us.load(Ordering::Relaxed)
    }

    fn wrote(&self, at: Instant) {
        if self.first_write_us.load(Ordering::Relaxed) == 0 {
            self.first_write_us
                .store(self.clock.us_at(at).saturating_add(1), Ordering::Relaxed);
        }
    }

    fn read(&self) {
        self.last_read_us
            .store(self.clock.now_us(), Ordering::Relaxed);
    }
}

/// A TCP connection that keeps [`Stamps`].
pub(super) struct Stamped {
    pub(super) inner: TcpStream,
    pub(super) stamps: Arc<Stamps>,
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.stamps.read();
        }
        polled
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let at = Instant::now();
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(1..)) = polled {
            self.stamps.wrote(at);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let at = Instant::now();
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(1..)) = polled {
            self.stamps.wrote(at);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

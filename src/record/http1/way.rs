use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::scratch::Lent;

/// Bytes on their way into a connection.
#[derive(Default)]
pub(super) struct Way {
    /// What the peer has not taken yet.
    rest: Bytes,
    unflushed: bool,
}

impl Way {
    pub(super) fn of(bytes: Bytes) -> Self {
        Self {
            rest: bytes,
            unflushed: true,
        }
    }

    /// Whether the peer has taken everything.
    pub(super) fn is_clear(&self) -> bool {
        self.rest.is_empty()
    }

    /// Writes what is waiting. Ready when nothing is.
    pub(super) fn poll_clear(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written);
        }
        if self.unflushed {
            ready!(Pin::new(&mut *io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the first `len` bytes at once as far as they go, and keeps the rest. Nothing may be waiting.
    pub(super) fn pass(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
        lent: &Lent<'_>,
        len: usize,
    ) -> io::Result<()> {
        let mut done = 0;
        self.unflushed = true;
        while done < len {
            let bytes = lent.bytes().get(done..len).unwrap_or_default();
            match Pin::new(&mut *io).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => done += written,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.rest = lent.keep(done..len);
                    break;
                }
            }
        }
        Ok(())
    }
}

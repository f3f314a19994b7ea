use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::record::tape::buffers::Buffers;
use crate::record::tape::tap::{COPY_UP_TO, Piece};

/// The buffer that a lane reads every connection into. What is read is passed on before the next read, so ten thousand
/// silent streams hold none; only what a slow peer has not taken yet is kept, by its connection.
pub(in crate::record) struct Scratch {
    buffer: Box<[u8]>,
    filled: usize,
    /// Where the next one comes from, if there is a recorder to lend this one to.
    buffers: Option<Arc<Buffers>>,
}

impl Scratch {
    pub(in crate::record) fn new(buffers: Option<Arc<Buffers>>) -> Self {
        Self {
            buffer: vec![0; Buffers::SIZE].into_boxed_slice(),
            filled: 0,
            buffers,
        }
    }

    /// One read from the system; what an earlier one left is gone, and wiped, though nothing may come. `Ok(0)` is the stream's
    /// end.
    pub(in crate::record) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        self.wipe();
        let mut into = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(io).poll_read(cx, &mut into))?;
        self.filled = into.filled().len();
        Poll::Ready(Ok(self.filled))
    }

    /// Forgets what the last read brought, so that a lane at rest holds nothing of what it passed on.
    pub(in crate::record) fn wipe(&mut self) {
        let used = std::mem::take(&mut self.filled);
        if let Some(used) = self.buffer.get_mut(..used) {
            used.fill(0);
        }
    }

    /// What the last read brought.
    pub(in crate::record) fn filled(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// The same, large reads as shared bytes: these are referenced by whoever keeps them, small ones are copied.
    pub(super) fn lend(&mut self) -> Lent<'_> {
        match &self.buffers {
            Some(buffers) if self.filled > COPY_UP_TO => {
                let read = std::mem::replace(&mut self.buffer, buffers.take());
                Lent::Shared(buffers.lend(read, std::mem::take(&mut self.filled)))
            }
            _ => Lent::Slice(self.filled()),
        }
    }
}

/// A read's bytes while they are passed on.
pub(super) enum Lent<'a> {
    Slice(&'a [u8]),
    Shared(Bytes),
}

impl Lent<'_> {
    pub(super) fn piece(&self) -> Piece<'_> {
        match self {
            Self::Slice(bytes) => Piece::Lent(bytes),
            Self::Shared(bytes) => Piece::Shared(bytes),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.piece().bytes()
    }

    /// Keeps a part of it.
    pub(super) fn keep(&self, part: std::ops::Range<usize>) -> Bytes {
        match self {
            Self::Slice(bytes) => Bytes::copy_from_slice(bytes.get(part).unwrap_or_default()),
            Self::Shared(bytes) => bytes.slice(part),
        }
    }
}

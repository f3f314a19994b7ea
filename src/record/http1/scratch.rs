use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::record::tape::tap::{COPY_UP_TO, Piece};

/// The buffer that a lane reads every connection into. What is read is passed on before the next read, so ten thousand
/// silent streams hold none; only what a slow peer has not taken yet is kept, by its connection.
#[derive(Default)]
pub(in crate::record) struct Scratch(BytesMut);

impl Scratch {
    /// One read from the system; what an earlier one left is gone. `Ok(0)` is the stream's end.
    pub(in crate::record) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        self.0.clear();
        if self.0.capacity() < LEAST {
            self.0.reserve(SIZE);
        }
        pin!(io.read_buf(&mut self.0)).poll(cx)
    }

    /// What the last read brought.
    pub(in crate::record) fn filled(&self) -> &[u8] {
        &self.0
    }

    /// The same, large reads as shared bytes: these are referenced by whoever keeps them, small ones are copied.
    pub(super) fn lend(&mut self) -> Lent<'_> {
        if self.0.len() > COPY_UP_TO {
            Lent::Shared(self.0.split().freeze())
        } else {
            Lent::Slice(&self.0)
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

/// One read's size at most, and the room below which new room is made.
const SIZE: usize = 64 << 10;
const LEAST: usize = 16 << 10;

//! A response's body: whole, or events as the engine makes them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc;

use super::{Shared, out_of_memory};
use crate::sim::driver::Delivery;
use crate::sim::engine::RequestId;
use crate::sim::wire::Reply;

/// A response's body.
pub(super) enum Answered {
    Whole(Full<Bytes>),
    Stream(Box<Stream>),
}

impl Answered {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Stream(stream) => stream
                .poll_event(context)
                .map(|event| event.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(stream) => stream.open.over && stream.queue.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A request that the engine works on; dropped before its end, it is cancelled there.
pub(super) struct Open {
    pub(super) request: RequestId,
    pub(super) shared: Arc<Shared>,
    /// The engine's, in which it was begun.
    pub(super) process: u64,
    pub(super) deliveries: mpsc::UnboundedReceiver<Delivery>,
    pub(super) reply: Reply,
    pub(super) over: bool,
}

impl Open {
    pub(super) fn note(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Admitted { cached_tokens } => self.reply.cached_tokens += cached_tokens,
            Delivery::Done | Delivery::Refused(_) => self.over = true,
            Delivery::Token { .. } => {}
        }
    }

    /// Whether the engine ran out of memory after it had begun this.
    pub(super) fn is_lost(&self) -> bool {
        let in_use = self.shared.in_use();
        in_use.is_some_and(|in_use| in_use.out || in_use.process != self.process)
    }

    fn end_early(&mut self) {
        if !self.over {
            self.over = true;
            self.shared.orders.cancel(self.request);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.end_early();
    }
}

/// Events as the engine makes them, one to a frame unless several are there at once.
pub(super) struct Stream {
    pub(super) open: Open,
    pub(super) queue: VecDeque<Bytes>,
}

impl Stream {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.open.over {
                return Poll::Ready(None);
            }
            let Some(delivery) = ready!(self.open.deliveries.poll_recv(context)) else {
                return Poll::Ready(None);
            };
            if self.open.is_lost() {
                let mut events = Vec::new();
                self.open.reply.api.broken(&out_of_memory(), &mut events);
                self.queue.push_back(events.concat().into());
                self.open.end_early();
                continue;
            }
            self.open.note(delivery);
            let (reply, mut events) = (&self.open.reply, Vec::new());
            match delivery {
                Delivery::Token { choice, ordinal } => {
                    reply.api.token(reply, choice, ordinal, &mut events);
                }
                Delivery::Done => reply.api.end(reply, &mut events),
                Delivery::Admitted { .. } | Delivery::Refused(_) => {}
            }
            // What belongs to one moment travels in one frame: a last token with its finish, the end marks.
            let mut frame = BytesMut::new();
            events
                .iter()
                .for_each(|event| frame.extend_from_slice(event.as_bytes()));
            if !frame.is_empty() {
                self.queue.push_back(frame.freeze());
            }
        }
    }
}

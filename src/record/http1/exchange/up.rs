//! The request on its way up.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::Exchange;
use crate::net::http1::Framing;
use crate::record::http1::fate::Fate;
use crate::record::http1::way::Way;

/// The request on its way.
pub(super) struct Up<'a> {
    pub(super) framing: &'a mut Framing,
    pub(super) way: Way,
    /// Everything sent so far, while it may be sent again.
    pub(super) sent: Option<Sent>,
    /// The upstream takes no more.
    pub(super) refused: bool,
    /// The client's half-close has been passed on.
    pub(super) shut: bool,
}

/// What a request began with, and what went after it: most are whole by then.
pub(super) struct Sent {
    pub(super) first: Bytes,
    pub(super) rest: Vec<u8>,
}

impl Exchange<'_> {
    /// Moves what can be moved of the request.
    pub(super) fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<(), Fate> {
        loop {
            if self.up.refused {
                return Ok(());
            }
            match self.up.way.poll_clear(cx, &mut self.link.io) {
                Poll::Pending => return Ok(()),
                // It may have answered all the same.
                Poll::Ready(Err(_)) => self.up.refused = true,
                Poll::Ready(Ok(())) if self.up.framing.is_over() => return self.watch_client(cx),
                Poll::Ready(Ok(())) => {
                    if self.poll_more(cx)?.is_pending() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Reads more of the request and passes it on.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Fate> {
        let lane = self.lane;
        let mut scratch = lane.scratch.borrow_mut();
        let lent = match self.session.poll_body(cx, &mut scratch) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(None) => return Err(Fate::ClientGone),
            Poll::Ready(Some(lent)) => lent,
        };
        let taken =
            self.session
                .take_body(&lent, self.up.framing, &self.passage, &mut self.runs)?;
        self.up.hold(lent.bytes().get(..taken).unwrap_or_default());
        if self
            .up
            .way
            .pass(cx, &mut self.link.io, &lent, taken)
            .is_err()
        {
            self.up.refused = true;
        }
        Ok(Poll::Ready(()))
    }

    /// The request is whole: what else comes is the next one, read ahead a little, or the end of what the client has to say,
    /// which is passed on as what it is. A server that stops for clients who have left (uvicorn, and so vLLM) stops now.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), Fate> {
        let lane = self.lane;
        if !self.session.poll_ahead(cx, &mut lane.scratch.borrow_mut()) {
            return Err(Fate::ClientGone);
        }
        if self.session.said_all && !self.up.shut {
            self.passage.left();
            // Not fatal: an upstream that is gone shows on the way down.
            self.up.shut = Pin::new(&mut self.link.io).poll_shutdown(cx).is_ready();
        }
        Ok(())
    }
}

impl Up<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.framing.is_over() && self.way.is_clear()
    }

    /// Keeps what is sent, as long as it is little enough to be sent again.
    fn hold(&mut self, bytes: &[u8]) {
        let fits = |sent: &Sent| sent.first.len() + sent.rest.len() + bytes.len() <= HELD;
        self.sent = self.sent.take().filter(fits);
        if let Some(sent) = &mut self.sent {
            sent.rest.extend_from_slice(bytes);
        }
    }
}

impl Sent {
    pub(super) fn whole(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        Bytes::from([&*self.first, &*self.rest].concat())
    }
}

/// Requests up to this may be sent again.
const HELD: usize = 64 << 10;

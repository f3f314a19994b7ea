use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::capture::End;
use super::lane::{Client, Lane};
use super::link::{Link, later};
use super::tap::Passage;

/// An answer on its way to the client. It drives the upstream connection itself: polled by the client's connection, it first
/// gives what has been read, then lets the upstream connection read once more. So several events that lie ready leave in one
/// write, a lone event leaves at once, and neither costs a second wake-up.
pub(super) struct Relay {
    incoming: Incoming,
    link: Option<Box<Link>>,
    passage: Rc<Passage>,
    lane: Rc<Lane>,
    client: Rc<Client>,
    /// What a response without a body says its length would be.
    claimed: Option<u64>,
    /// A cut-off answer would look whole to the client: nothing but the connection's end marks its end.
    ends_with_connection: bool,
    /// Frames have been given since the last `Pending`, so they are not written yet.
    unwritten: bool,
    broken: Option<Broken>,
    over: bool,
}

/// Why an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// The upstream broke the connection, or its framing.
    #[error("the upstream broke off")]
    Upstream,
    /// Nothing came for too long.
    #[error("the upstream fell silent")]
    Silent,
}

impl Relay {
    pub(super) fn new(
        incoming: Incoming,
        link: Box<Link>,
        passage: Rc<Passage>,
        lane: &Rc<Lane>,
        client: &Rc<Client>,
        claimed: Option<u64>,
        ends_with_connection: bool,
    ) -> Box<Self> {
        let mut relay = Box::new(Self {
            incoming,
            link: Some(link),
            passage,
            lane: Rc::clone(lane),
            client: Rc::clone(client),
            claimed,
            ends_with_connection,
            unwritten: false,
            broken: None,
            over: false,
        });
        if relay.incoming.is_end_stream() {
            relay.finish();
        }
        relay
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.over && self.claimed.is_none()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self.claimed {
            Some(length) => SizeHint::with_exact(length),
            None => self.incoming.size_hint(),
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(broken) = self.broken {
            return Poll::Ready(Some(Err(broken)));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let mut driven = false;
        let broken = loop {
            // Frames come only out of `drive` below, after which they are looked for here: no wake-up is wanted for them.
            let mut quiet = Context::from_waker(Waker::noop());
            match Pin::new(&mut self.incoming).poll_frame(&mut quiet) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(piece) = frame.data_ref() {
                        self.passage.data(piece);
                    }
                    if self.incoming.is_end_stream() || frame.is_trailers() {
                        self.finish();
                    }
                    self.unwritten = true;
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(None) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => break Broken::Upstream,
                Poll::Pending => {}
            }
            if driven {
                let deadline = later(self.passage.progress(), self.lane.limits.idle);
                if self.client.poll_alarm(cx, deadline).is_ready() {
                    break Broken::Silent;
                }
                self.unwritten = false;
                return Poll::Pending;
            }
            driven = true;
            if let Some(link) = &mut self.link {
                link.drive(cx);
            }
        };
        self.break_off(broken);
        if std::mem::replace(&mut self.unwritten, false) {
            // The pieces before the break are the client's: let them be written first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(broken)))
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.passage.end(End::Whole);
        if let Some(link) = self.link.take() {
            self.lane.put(&self.client, Instant::now(), link);
        }
    }

    fn break_off(&mut self, broken: Broken) {
        self.broken = Some(broken);
        self.link = None;
        self.passage.end(match broken {
            Broken::Upstream => End::Reset,
            Broken::Silent => End::Timeout,
        });
        if self.ends_with_connection {
            self.client.reset_on_close();
        }
    }
}

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::headers::clean_trailers;
use super::link::Link;
use super::send::GRPC_STATUS;
use crate::record::alarm::{Alarm, later};
use crate::record::lane::{Client, Lane};
use crate::record::tape::parcel::End;
use crate::record::tape::passage::Passage;
use crate::record::tape::tap::Piece;

/// An answer on its way to the client. Over HTTP/1 it drives the upstream connection itself: polled by the client's connection,
/// it first gives what has been read, then lets the upstream connection read once more.
pub(in crate::record) struct Relay {
    incoming: Incoming,
    link: Option<Link>,
    passage: Rc<Passage>,
    lane: Rc<Lane>,
    client: Rc<Client>,
    alarm: Alarm,
    /// Frames have been given since the last `Pending`, so they are not written yet.
    unwritten: bool,
    /// The turn of the client's task in which the last frame was given.
    given_in: u64,
    broken: Option<Broken>,
    over: bool,
}

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub(in crate::record) enum Broken {
    /// The upstream broke the connection, or its framing. The source tells the client's connection the code of a reset.
    #[error("the upstream broke off")]
    Upstream(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("the upstream fell silent")]
    Silent,
}

impl Relay {
    pub(super) fn new(
        incoming: Incoming,
        link: Link,
        passage: Rc<Passage>,
        lane: &Rc<Lane>,
        client: &Rc<Client>,
    ) -> Box<Self> {
        let mut relay = Box::new(Self {
            incoming,
            link: Some(link),
            passage,
            lane: Rc::clone(lane),
            client: Rc::clone(client),
            alarm: Alarm::default(),
            unwritten: false,
            given_in: 0,
            broken: None,
            over: false,
        });
        if relay.incoming.is_end_stream() {
            relay.finish();
        }
        relay
    }

    pub(in crate::record) fn is_end_stream(&self) -> bool {
        self.over
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    /// The next frame for a client's connection of HTTP/2, which asks for one when there is room. Where it does not ask for another in the turn
    /// in which it was given one, the answer waits for its client: so no clock is looked at for those who take all.
    pub(super) fn poll_wanted(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let turn = self.lane.turn();
        self.passage.client_took(turn != self.given_in);
        let polled = self.poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = &polled {
            self.given_in = turn;
            self.passage.waits_for_client(|| self.passage.progress());
        }
        polled
    }

    pub(in crate::record) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let mut driven = false;
        let broken = loop {
            // Frames of HTTP/1 come only out of `drive` below, after which they are looked for here: no wake-up is wanted.
            let mut quiet = Context::from_waker(Waker::noop());
            let wake = match self.link {
                Some(Link::Http1(_)) => &mut quiet,
                _ => &mut *cx,
            };
            match Pin::new(&mut self.incoming).poll_frame(wake) {
                Poll::Ready(Some(Ok(mut frame))) => {
                    if let Some(trailers) = frame.trailers_mut() {
                        clean_trailers(trailers);
                        if let Some(status) = trailers.get(GRPC_STATUS) {
                            self.passage.grpc_status(status.as_bytes());
                        }
                    }
                    if let Some(piece) = frame.data_ref() {
                        let now = self.passage.moved();
                        let all = 0..piece.len();
                        self.passage.data_runs(now, Piece::Shared(piece), &[all]);
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
                Poll::Ready(Some(Err(error))) => break Broken::Upstream(error),
                Poll::Pending => {}
            }
            if driven {
                let deadline = later(self.passage.progress(), self.lane.limits.idle);
                if self.alarm.poll_at(cx, deadline).is_ready() {
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
        self.link = None;
        self.passage.end(match broken {
            Broken::Upstream(_) => End::Reset,
            Broken::Silent => End::Timeout,
        });
        if std::mem::replace(&mut self.unwritten, false) {
            // The pieces before the break are the client's: let them be written first.
            self.broken = Some(broken);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.over = true;
        Poll::Ready(Some(Err(broken)))
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.passage.end(End::Whole);
        if let Some(link @ Link::Http1(_)) = self.link.take() {
            self.lane.put_translated(&self.client, Instant::now(), link);
        }
    }
}

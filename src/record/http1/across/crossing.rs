use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, response};

use super::answer::{self, Coding};
use super::request::trailers;
use crate::net::http1::{Framing, append_data};
use crate::record::alarm::later;
use crate::record::front::client_io::Protocol;
use crate::record::http1::fate::{Break, Fate};
use crate::record::http1::prepared::Prepared;
use crate::record::http1::response::Taker;
use crate::record::http1::serve::{LINGER, Session};
use crate::record::http1::way::Way;
use crate::record::lane::Lane;
use crate::record::tape::passage::Passage;
use crate::record::translate::{Broken, Feed, Relay, Sent, Unanswered, Upload, feed, send};

/// An exchange between a client of HTTP/1 and an upstream of HTTP/2, each direction no faster than its reader.
pub(super) struct Crossing<'a> {
    lane: &'a Rc<Lane>,
    session: &'a mut Session,
    passage: Rc<Passage>,
    /// The request's body on its way up.
    framing: &'a mut Framing,
    feed: Feed,
    /// The upstream takes no more of it.
    refused: bool,
    /// The answer on its way down.
    down: Down,
    way: Way,
    taker: Taker,
    to_head: bool,
}

/// The answer.
enum Down {
    Awaited(Pin<Box<dyn Future<Output = Sent>>>),
    Body(Box<Relay>, Coding),
    Over,
}

impl<'a> Crossing<'a> {
    pub(super) fn new(
        lane: &'a Rc<Lane>,
        session: &'a mut Session,
        prepared: &'a mut Prepared,
        request: Request<()>,
    ) -> Self {
        let (feed, fed) = feed();
        feed.give(std::mem::take(&mut prepared.bytes));
        let over = prepared.framing.is_over();
        // The client waits for this before it sends its body.
        let way = if prepared.expects && !over {
            Way::of(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"))
        } else {
            Way::default()
        };
        let passage = Rc::clone(&prepared.passage);
        let sending = {
            let (lane, client) = (Rc::clone(lane), Rc::clone(&session.client));
            let passage = Rc::clone(&passage);
            let request = request.map(|()| Upload::fed(fed));
            async move { send(&lane, &client, Protocol::Http1, request, &passage).await }
        };
        let mut crossing = Self {
            lane,
            session,
            passage,
            framing: &mut prepared.framing,
            feed,
            refused: false,
            down: Down::Awaited(Box::pin(sending)),
            way,
            taker: prepared.taker,
            to_head: prepared.to_head,
        };
        if over {
            crossing.end_of_body();
        }
        crossing
    }

    /// Whether the client's connection ends with this answer.
    pub(super) fn closes(&self) -> bool {
        self.taker.closes || !self.is_request_over()
    }

    /// Whether the whole request has been read.
    pub(super) fn is_request_over(&self) -> bool {
        self.framing.is_over()
    }

    /// Whether the answer's head has been passed on.
    pub(super) fn is_answering(&self) -> bool {
        !matches!(self.down, Down::Awaited(_))
    }

    /// Whether a break is told by a reset: where it was one, and where an end would look like a whole answer.
    pub(super) fn resets_after(&self, how: Break) -> bool {
        how == Break::Reset || matches!(self.down, Down::Body(_, Coding::UntilClose))
    }

    /// Lets the client have what it has not taken yet, within reason.
    pub(super) async fn flush(&mut self) {
        let (way, io) = (&mut self.way, &mut self.session.io);
        let cleared = std::future::poll_fn(|cx| way.poll_clear(cx, io));
        let _ = tokio::time::timeout(LINGER, cleared).await;
    }

    /// Moves what can be moved, both ways.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fate> {
        if let Err(fate) = self.poll_up(cx).and_then(|()| self.poll_down(cx)) {
            return Poll::Ready(fate);
        }
        let answered = matches!(self.down, Down::Over) && self.way.is_clear();
        if answered && (self.framing.is_over() || self.refused) {
            return Poll::Ready(Fate::Answered);
        }
        let limits = &self.lane.limits;
        let (patience, fate): (_, fn() -> Fate) = match self.down {
            Down::Awaited(_) if !self.framing.is_over() && self.feed.is_taken() => {
                (limits.body, || Fate::SlowBody)
            }
            // Whoever waits for the head has an alarm of its own.
            Down::Awaited(_) => return Poll::Pending,
            _ => (limits.idle, || Fate::Broken(Break::Silent)),
        };
        let deadline = later(self.passage.progress(), patience);
        let alarm = self.session.client.poll_alarm(cx, deadline);
        alarm.map(|()| fate())
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<(), Fate> {
        let lane = self.lane;
        while !self.framing.is_over() && !self.refused {
            match self.feed.poll_room(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(false) => self.refused = true,
                Poll::Ready(true) => {
                    if self.poll_more(cx)?.is_pending() {
                        return Ok(());
                    }
                }
            }
        }
        // HTTP/2 cannot say that one side is closed and the other listens on: a client that has closed its side has left.
        let open = self.session.poll_ahead(cx, &mut lane.scratch.borrow_mut());
        if !open || self.session.said_all && !matches!(self.down, Down::Over) {
            return Err(Fate::ClientGone);
        }
        Ok(())
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
        let mut runs = Vec::new();
        let taken = self
            .session
            .take_body(&lent, self.framing, &self.passage, &mut runs)?;
        self.feed.give(match &runs[..] {
            [run] => lent.keep(run.clone()),
            _ => {
                let mut data = Vec::with_capacity(taken);
                append_data(lent.bytes(), &mut runs, &mut data);
                Bytes::from(data)
            }
        });
        if self.framing.is_over() {
            self.end_of_body();
        }
        Ok(Poll::Ready(()))
    }

    fn end_of_body(&mut self) {
        // They were read strictly; one that HTTP/2's side does not take is left out with the others.
        let trailers = trailers(self.framing.trailers()).unwrap_or_default();
        self.feed.end(trailers);
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<(), Fate> {
        loop {
            match self.way.poll_clear(cx, &mut self.session.io) {
                Poll::Pending => {
                    self.passage.waits_for_client(Instant::now);
                    return Ok(());
                }
                Poll::Ready(Err(_)) => return Err(Fate::ClientGone),
                Poll::Ready(Ok(())) => self.passage.client_took(true),
            }
            match &mut self.down {
                Down::Over => return Ok(()),
                Down::Awaited(sending) => match sending.as_mut().poll(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok((parts, relay))) => self.begin_answer(&parts, relay),
                    Poll::Ready(Err(Unanswered::ClientGone)) => return Err(Fate::ClientGone),
                    Poll::Ready(Err(Unanswered::Refused(refusal))) => {
                        return Err(Fate::Unanswered(refusal));
                    }
                },
                Down::Body(relay, coding) => {
                    let coding = *coding;
                    match relay.poll_frame(cx) {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(None) => self.end_answer(Vec::new(), None, coding),
                        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                            Ok(data) if relay.is_end_stream() => {
                                let last = answer::data(data, coding);
                                self.end_answer(last.to_vec(), None, coding);
                            }
                            Ok(data) => self.way = Way::of(answer::data(data, coding)),
                            Err(frame) => {
                                let trailers = frame.into_trailers().ok();
                                self.end_answer(Vec::new(), trailers.as_ref(), coding);
                            }
                        },
                        Poll::Ready(Some(Err(broken))) => {
                            return Err(Fate::Broken(match broken {
                                Broken::Upstream(_) => Break::Reset,
                                Broken::Silent => Break::Silent,
                            }));
                        }
                    }
                }
            }
        }
    }

    fn begin_answer(&mut self, parts: &response::Parts, relay: Box<Relay>) {
        let empty = relay.is_end_stream();
        let coding = answer::coding(parts, empty, self.to_head, self.taker.old);
        self.taker.closes |= coding == Coding::UntilClose || self.lane.is_draining();
        self.way = Way::of(Bytes::from(answer::head(parts, coding, self.taker)));
        self.down = match empty {
            true => Down::Over,
            false => Down::Body(relay, coding),
        };
    }
    /// Passes on the last of the body, and what tells its end.
    fn end_answer(&mut self, mut last: Vec<u8>, trailers: Option<&HeaderMap>, coding: Coding) {
        if coding == Coding::Chunked {
            answer::write_last_chunk(trailers, &mut last);
        }
        self.way = Way::of(Bytes::from(last));
        self.down = Down::Over;
    }
}

//! One exchange: the request's bytes up, the answer's bytes down, at once, each direction no faster than its reader.

mod down;
mod up;

use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use self::down::{Down, DownState};
use self::up::{Sent, Up};
use super::Link;
use super::fate::{Break, Fate};
use super::prepared::Prepared;
use super::serve::Session;
use super::way::Way;
use crate::record::alarm::later;
use crate::record::answer::Refusal;
use crate::record::lane::Lane;
use crate::record::tape::passage::Passage;

/// An exchange and the two connections it runs over.
pub(super) struct Exchange<'a> {
    lane: &'a Rc<Lane>,
    session: &'a mut Session,
    pub(super) link: Box<Link>,
    passage: Rc<Passage>,
    up: Up<'a>,
    down: Down,
    to_head: bool,
    upgrades: bool,
    /// Where data lies in the read at hand; kept to be used again.
    runs: Vec<Range<usize>>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        lane: &'a Rc<Lane>,
        session: &'a mut Session,
        link: Box<Link>,
        prepared: &'a mut Prepared,
    ) -> Self {
        prepared.passage.sent();
        let sent = link.reused.then(|| Sent {
            first: prepared.bytes.clone(),
            rest: Vec::new(),
        });
        Self {
            lane,
            session,
            link,
            passage: Rc::clone(&prepared.passage),
            up: Up {
                framing: &mut prepared.framing,
                way: Way::of(prepared.bytes.clone()),
                sent,
                refused: false,
                shut: false,
            },
            down: Down::new(prepared.taker),
            to_head: prepared.to_head,
            upgrades: prepared.upgrades,
            runs: Vec::new(),
        }
    }

    /// Whether the client's connection ends with this answer.
    pub(super) fn closes(&self) -> bool {
        self.down.taker.closes || !self.up.is_over()
    }

    /// Whether the upstream has taken the whole request.
    pub(super) fn is_request_over(&self) -> bool {
        self.up.is_over()
    }

    /// Whether the client has closed its side.
    pub(super) fn client_has_left(&self) -> bool {
        self.session.said_all
    }

    /// Whether the answer's head has been passed on.
    pub(super) fn is_answering(&self) -> bool {
        self.down.answering
    }

    /// The upstream connection, if it can carry another exchange.
    pub(super) fn into_reusable(self) -> Option<Box<Link>> {
        let over = self.up.is_over() && !self.up.shut;
        (over && self.down.reusable).then_some(self.link)
    }

    /// The upstream connection and what still waits for the client.
    pub(super) fn into_tunnel(self) -> (Box<Link>, Way) {
        (self.link, self.down.way)
    }

    /// Everything sent so far, if it may be sent again: the connection had been idle, and was closed without a byte of an
    /// answer (RFC 9112, 9.3.1).
    pub(super) fn into_held(self) -> Option<Bytes> {
        if self.down.heard || self.up.shut {
            return None;
        }
        self.up.sent.map(Sent::whole)
    }

    /// Lets the client have what it has not taken yet, within reason.
    pub(super) async fn flush(&mut self) {
        let (way, io) = (&mut self.down.way, &mut self.session.io);
        let cleared = std::future::poll_fn(|cx| way.poll_clear(cx, io));
        let _ = tokio::time::timeout(super::serve::LINGER, cleared).await;
    }

    /// Moves what can be moved, both ways.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fate> {
        if let Err(fate) = self.poll_down(cx).and_then(|()| self.poll_up(cx)) {
            // Where both ends have gone at once, the client went first: servers stop for clients, not the other way round.
            let lane = self.lane;
            self.session.poll_ahead(cx, &mut lane.scratch.borrow_mut());
            return Poll::Ready(match fate {
                Fate::Broken(_) if self.session.said_all => Fate::ClientGone,
                fate => fate,
            });
        }
        let answered = matches!(self.down.state, DownState::Over) && self.down.way.is_clear();
        if answered && (self.up.is_over() || self.up.refused) {
            return Poll::Ready(Fate::Answered);
        }
        let limits = &self.lane.limits;
        let (patience, fate): (_, fn() -> Fate) = match self.down.state {
            DownState::Head if !self.up.framing.is_over() && self.up.way.is_clear() => {
                (limits.body, || Fate::SlowBody)
            }
            DownState::Head => (limits.first_byte, || {
                Fate::Unanswered(Refusal::FirstByteTimeout)
            }),
            _ => (limits.idle, || Fate::Broken(Break::Silent)),
        };
        let deadline = later(self.passage.progress(), patience);
        let alarm = self.session.client.poll_alarm(cx, deadline);
        alarm.map(|()| fate())
    }

    /// How the client is told of a break: as the upstream told us, but for a client that would take a missing rest for the end.
    pub(super) fn resets_after(&self, how: Break) -> bool {
        how == Break::Reset || self.down.ends_with_connection
    }
}

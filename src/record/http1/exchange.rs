//! One exchange: the request's bytes up, the answer's bytes down, at once, each direction no faster than its reader.

use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::Link;
use super::fate::{Break, Fate};
use super::prepared::Prepared;
use super::response::{self, Taker};
use super::scratch::Lent;
use super::serve::Session;
use super::way::Way;
use crate::net::http1::{Framing, Malformed, ResponseHead, append_data, end_of_head};
use crate::record::alarm::later;
use crate::record::answer::Refusal;
use crate::record::lane::Lane;
use crate::record::tape::parcel::{End, Side};
use crate::record::tape::passage::Passage;
use crate::record::tape::tap::{HeadSeen, Piece};

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

/// The request on its way.
struct Up<'a> {
    framing: &'a mut Framing,
    way: Way,
    /// Everything sent so far, while it may be sent again.
    sent: Option<Vec<Bytes>>,
    /// The upstream takes no more.
    refused: bool,
    /// The client's half-close has been passed on.
    shut: bool,
}

/// The answer on its way.
struct Down {
    state: DownState,
    /// The head so far, and how far it has been looked through for its end.
    head: Vec<u8>,
    scanned: usize,
    /// Interim heads that leave together with what follows them.
    interim: Vec<u8>,
    way: Way,
    taker: Taker,
    /// Chunks are taken apart for a client that knows none.
    dechunks: bool,
    ends_with_connection: bool,
    /// The upstream has said anything.
    heard: bool,
    /// The head of the answer has been passed on.
    answering: bool,
    /// The upstream connection can carry another exchange.
    reusable: bool,
}

enum DownState {
    Head,
    Body(Framing),
    Over,
}

/// Requests up to this may be sent again.
const HELD: usize = 64 << 10;
/// The head of an answer may be this long.
const MAX_HEAD: usize = 256 << 10;

impl<'a> Exchange<'a> {
    pub(super) fn new(
        lane: &'a Rc<Lane>,
        session: &'a mut Session,
        link: Box<Link>,
        prepared: &'a mut Prepared,
    ) -> Self {
        prepared.passage.sent();
        let sent = link.reused.then(|| vec![prepared.bytes.clone()]);
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
            down: Down {
                state: DownState::Head,
                head: Vec::new(),
                scanned: 0,
                interim: Vec::new(),
                way: Way::default(),
                taker: prepared.taker,
                dechunks: false,
                ends_with_connection: false,
                heard: false,
                answering: false,
                reusable: false,
            },
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
        let pieces = self.up.sent?;
        match &pieces[..] {
            [only] => Some(only.clone()),
            _ => Some(Bytes::from(pieces.concat())),
        }
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

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<(), Fate> {
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
        let now = self.passage.moved();
        let passage = &self.passage;
        self.runs.clear();
        let scanned = self
            .up
            .framing
            .scan(lent.bytes(), |run| self.runs.push(run));
        let taken = scanned.map_err(Fate::BadBody)?;
        passage.upload_runs(now, lent.piece(), &self.runs);
        if self.up.framing.is_over() {
            passage.upload_end(now);
        }
        let rest = lent.bytes().get(taken..).unwrap_or_default();
        self.session.ahead.extend_from_slice(rest);
        self.up.hold(&lent, taken);
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

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<(), Fate> {
        loop {
            match self.down.way.poll_clear(cx, &mut self.session.io) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(Fate::ClientGone),
                Poll::Ready(Ok(())) if matches!(self.down.state, DownState::Over) => return Ok(()),
                Poll::Ready(Ok(())) => {}
            }
            let lane = self.lane;
            let mut scratch = lane.scratch.borrow_mut();
            match scratch.poll_read(cx, &mut self.link.io) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => self.upstream_ended()?,
                Poll::Ready(Err(_)) => return Err(self.upstream_broke(Break::Reset)),
                Poll::Ready(Ok(1..)) => {
                    self.down.heard = true;
                    let lent = scratch.lend();
                    let now = self.passage.moved();
                    match &mut self.down.state {
                        DownState::Head => {
                            self.down.head.extend_from_slice(lent.bytes());
                            self.read_heads(cx)?;
                        }
                        DownState::Body(_) => self.pass_body(cx, now, &lent)?,
                        DownState::Over => {}
                    }
                }
            }
        }
    }

    /// Reads what there is of heads: interim ones are passed on at once, the last begins the answer.
    fn read_heads(&mut self, cx: &mut Context<'_>) -> Result<(), Fate> {
        let not_http = |_| Fate::Unanswered(Refusal::UpstreamNotHttp);
        loop {
            let bytes = std::mem::take(&mut self.down.head);
            let end = end_of_head(&bytes, &mut self.down.scanned).map_err(not_http)?;
            let Some(end) = end else {
                if bytes.len() > MAX_HEAD {
                    return Err(not_http(Malformed::HeadTooLarge));
                }
                self.down.head = bytes;
                return Ok(());
            };
            self.down.scanned = 0;
            let (head, body) = bytes.split_at_checked(end).unwrap_or((&bytes, &[]));
            let head = ResponseHead::read(head).map_err(not_http)?;
            if head.is_interim() {
                if !self.down.taker.old {
                    let taker = Taker {
                        closes: false,
                        ..self.down.taker
                    };
                    let mut out = Vec::with_capacity(end);
                    response::write(&head, taker, &mut out);
                    self.down.interim.extend_from_slice(&out);
                }
                self.down.head = body.to_vec();
                if self.down.head.is_empty() {
                    let interim = std::mem::take(&mut self.down.interim);
                    return self.pass_down(cx, &Lent::Shared(Bytes::from(interim)));
                }
                continue;
            }
            return self.begin_answer(cx, &head, body);
        }
    }

    fn begin_answer(
        &mut self,
        cx: &mut Context<'_>,
        head: &ResponseHead<'_>,
        body: &[u8],
    ) -> Result<(), Fate> {
        let now = self.passage.progress();
        self.passage.head(
            now,
            &HeadSeen {
                status: head.status,
                content_type: head.content_type,
                content_encoding: head.content_encoding,
                server: head.server,
            },
        );
        let upgraded = head.status == 101;
        if upgraded && !self.upgrades {
            return Err(Fate::Unanswered(Refusal::UpstreamNotHttp));
        }
        let mut framing = head.framing(self.to_head);
        let ends_with_connection = matches!(framing, Framing::UntilClose);
        self.down.taker.upgrades = upgraded;
        self.down.taker.closes |= ends_with_connection || self.lane.is_draining();
        self.down.dechunks = self.down.taker.old && matches!(framing, Framing::Chunked(_));
        // Without chunks and without a length an old client knows the end by the connection's.
        self.down.taker.closes |= self.down.dechunks;
        self.down.ends_with_connection = ends_with_connection || self.down.dechunks;
        self.down.reusable = !ends_with_connection && !head.closes && !upgraded;
        self.down.answering = true;

        let mut out = std::mem::take(&mut self.down.interim);
        out.reserve(body.len() + 512);
        response::write(head, self.down.taker, &mut out);
        if upgraded {
            out.extend_from_slice(body);
            self.passage.tunnelled(body, Side::Upstream);
            self.pass_down(cx, &Lent::Shared(Bytes::from(out)))?;
            return Err(Fate::Upgraded);
        }
        let start = out.len();
        let mut runs = Vec::new();
        let taken = framing
            .scan(body, |run| runs.push(run))
            .map_err(|_| self.upstream_broke(Break::Reset))?;
        if self.down.dechunks {
            append_data(body, &mut runs, &mut out);
        } else {
            out.extend_from_slice(body.get(..taken).unwrap_or_default());
            for run in &mut runs {
                *run = start + run.start..start + run.end;
            }
        }
        let out = Bytes::from(out);
        self.passage.data_runs(now, Piece::Shared(&out), &runs);
        self.down.reusable &= taken == body.len();
        self.down.state = DownState::Body(framing);
        self.end_if_over();
        self.pass_down(cx, &Lent::Shared(out))
    }

    fn pass_body(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        lent: &Lent<'_>,
    ) -> Result<(), Fate> {
        let DownState::Body(framing) = &mut self.down.state else {
            return Ok(());
        };
        self.runs.clear();
        let scanned = framing.scan(lent.bytes(), |run| self.runs.push(run));
        let taken = scanned.map_err(|_| self.upstream_broke(Break::Reset))?;
        self.passage.data_runs(now, lent.piece(), &self.runs);
        self.down.reusable &= taken == lent.bytes().len();
        self.end_if_over();
        if self.down.dechunks {
            let mut data = Vec::with_capacity(taken);
            append_data(lent.bytes(), &mut self.runs, &mut data);
            return self.pass_down(cx, &Lent::Shared(Bytes::from(data)));
        }
        let passed = self.down.way.pass(cx, &mut self.session.io, lent, taken);
        passed.map_err(|_| Fate::ClientGone)
    }

    fn pass_down(&mut self, cx: &mut Context<'_>, lent: &Lent<'_>) -> Result<(), Fate> {
        let len = lent.bytes().len();
        let passed = self.down.way.pass(cx, &mut self.session.io, lent, len);
        passed.map_err(|_| Fate::ClientGone)
    }

    fn end_if_over(&mut self) {
        if let DownState::Body(framing) = &self.down.state
            && framing.is_over()
        {
            self.down.state = DownState::Over;
            self.passage.end(End::Whole);
        }
    }

    fn upstream_ended(&mut self) -> Result<(), Fate> {
        if let DownState::Body(Framing::UntilClose) = &self.down.state {
            self.down.state = DownState::Over;
            self.passage.end(End::Whole);
            return Ok(());
        }
        Err(self.upstream_broke(Break::Closed))
    }

    fn upstream_broke(&self, how: Break) -> Fate {
        match self.down.state {
            DownState::Head => Fate::Unanswered(Refusal::UpstreamClosed),
            _ => Fate::Broken(how),
        }
    }

    /// How the client is told of a break: as the upstream told us, but for a client that would take a missing rest for the end.
    pub(super) fn resets_after(&self, how: Break) -> bool {
        how == Break::Reset || self.down.ends_with_connection
    }
}

impl Up<'_> {
    fn is_over(&self) -> bool {
        self.framing.is_over() && self.way.is_clear()
    }

    /// Keeps what is sent, as long as it is little enough to be sent again.
    fn hold(&mut self, lent: &Lent<'_>, taken: usize) {
        if let Some(sent) = &mut self.sent {
            sent.push(lent.keep(0..taken));
            if sent.iter().map(Bytes::len).sum::<usize>() > HELD {
                self.sent = None;
            }
        }
    }
}

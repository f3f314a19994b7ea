//! The answer on its way down.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::Exchange;
use crate::net::http1::{Framing, Malformed, ResponseHead, append_data, end_of_head};
use crate::record::answer::Refusal;
use crate::record::http1::fate::{Break, Fate};
use crate::record::http1::response::{self, Taker};
use crate::record::http1::scratch::Lent;
use crate::record::http1::way::Way;
use crate::record::tape::parcel::{End, Side};
use crate::record::tape::tap::{HeadSeen, Piece};

/// The answer on its way.
pub(super) struct Down {
    pub(super) state: DownState,
    /// The head so far, and how far it has been looked through for its end.
    head: Vec<u8>,
    scanned: usize,
    /// Interim heads that leave together with what follows them.
    interim: Vec<u8>,
    pub(super) way: Way,
    pub(super) taker: Taker,
    /// Chunks are taken apart for a client that knows none.
    dechunks: bool,
    pub(super) ends_with_connection: bool,
    /// The upstream has said anything.
    pub(super) heard: bool,
    /// The head of the answer has been passed on.
    pub(super) answering: bool,
    /// The upstream connection can carry another exchange.
    pub(super) reusable: bool,
}

pub(super) enum DownState {
    Head,
    Body(Framing),
    Over,
}

impl Down {
    pub(super) fn new(taker: Taker) -> Self {
        Self {
            state: DownState::Head,
            head: Vec::new(),
            scanned: 0,
            interim: Vec::new(),
            way: Way::default(),
            taker,
            dechunks: false,
            ends_with_connection: false,
            heard: false,
            answering: false,
            reusable: false,
        }
    }
}

impl Exchange<'_> {
    /// Moves what can be moved of the answer.
    pub(super) fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<(), Fate> {
        loop {
            match self.down.way.poll_clear(cx, &mut self.session.io) {
                Poll::Pending => {
                    self.passage.waits_for_client(Instant::now);
                    return Ok(());
                }
                Poll::Ready(Err(_)) => return Err(Fate::ClientGone),
                Poll::Ready(Ok(())) if matches!(self.down.state, DownState::Over) => return Ok(()),
                Poll::Ready(Ok(())) => self.passage.client_took(true),
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
        self.runs.clear();
        let scanned = framing.scan(body, |run| self.runs.push(run));
        let taken = scanned.map_err(|_| self.upstream_broke(Break::Reset))?;
        if self.down.dechunks {
            append_data(body, &mut self.runs, &mut out);
        } else {
            out.extend_from_slice(body.get(..taken).unwrap_or_default());
            for run in &mut self.runs {
                *run = start + run.start..start + run.end;
            }
        }
        let out = Bytes::from(out);
        self.passage.data_runs(now, Piece::Shared(&out), &self.runs);
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
}

/// The head of an answer may be this long.
const MAX_HEAD: usize = 256 << 10;

//! One client's connection: heads are read, each request carried, and the connection kept while both sides want it.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::exchange::Exchange;
use super::fate::Fate;
use super::prepared::Prepared;
use super::scratch::Lent;
use super::{Link, Scratch, across, own, tunnel};
use crate::net::http1::{Framing, Malformed, end_of_head};
use crate::record::alarm::later;
use crate::record::answer::Refusal;
use crate::record::front::client_io::ClientIo;
use crate::record::lane::{Client, Lane};
use crate::record::tape::parcel::End;
use crate::record::tape::passage::Passage;
use crate::record::upstream::connect::Wanted;

/// A client's connection, and what has been read of it and belongs to no request yet.
pub(super) struct Session {
    pub(super) client: Rc<Client>,
    pub(super) io: ClientIo,
    pub(super) ahead: BytesMut,
    /// The client has closed its side: it asks for nothing more, and may still be reading.
    pub(super) said_all: bool,
}

/// A client's next requests are read ahead up to this.
const AHEAD: usize = 64 << 10;

impl Session {
    /// The next bytes of a request's body: those that were read ahead, else one read. `None` if the client has left.
    pub(super) fn poll_body<'a>(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &'a mut Scratch,
    ) -> Poll<Option<Lent<'a>>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Some(Lent::Shared(self.ahead.split().freeze())));
        }
        scratch.poll_read(cx, &mut self.io).map(|read| match read {
            Ok(1..) => Some(scratch.lend()),
            Ok(0) | Err(_) => None,
        })
    }

    /// Notes what a read brought of a request's body, where its data lies, and keeps what lies behind it for the next request. Says how
    /// many of the bytes are this body's.
    pub(super) fn take_body(
        &mut self,
        lent: &Lent<'_>,
        framing: &mut Framing,
        passage: &Passage,
        runs: &mut Vec<Range<usize>>,
    ) -> Result<usize, Fate> {
        let now = passage.moved();
        runs.clear();
        let scanned = framing.scan(lent.bytes(), |run| runs.push(run));
        let taken = scanned.map_err(Fate::BadBody)?;
        passage.upload_runs(now, lent.piece(), runs);
        if framing.is_over() {
            passage.upload_end(now);
        }
        let rest = lent.bytes().get(taken..).unwrap_or_default();
        self.ahead.extend_from_slice(rest);
        Ok(taken)
    }

    /// Reads ahead what there is. `false` if the connection is broken.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> bool {
        while !self.said_all && self.ahead.len() < AHEAD {
            match scratch.poll_read(cx, &mut self.io) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => self.said_all = true,
                Poll::Ready(Ok(_)) => self.ahead.extend_from_slice(scratch.filled()),
                Poll::Ready(Err(_)) => return false,
            }
        }
        true
    }
}

/// What comes next on a client's connection.
enum Next {
    Request(Box<Prepared>),
    Malformed(Malformed),
    /// Its head does not come to an end.
    TooSlow,
    /// Nothing, and the connection ends in order.
    Nothing,
}

/// Serves a client until its connection ends. `ahead` has been read from it already.
pub(in crate::record) async fn serve(
    lane: &Rc<Lane>,
    client: Rc<Client>,
    io: ClientIo,
    ahead: BytesMut,
) {
    let mut session = Session {
        client,
        io,
        ahead,
        said_all: false,
    };
    loop {
        let goes_on = match next(lane, &mut session).await {
            Next::Request(prepared) => carry(lane, &mut session, *prepared).await,
            Next::Malformed(malformed) => {
                lane.accounts.refuse();
                finish(&mut session, own::malformed(malformed), |_| {}).await;
                false
            }
            Next::TooSlow => {
                finish(&mut session, own::too_slow(), |_| {}).await;
                false
            }
            Next::Nothing => {
                // Not fatal: it may be gone.
                let _ = session.io.shutdown().await;
                false
            }
        };
        if !goes_on {
            lane.scratch.borrow_mut().wipe();
            return;
        }
    }
}

async fn next(lane: &Rc<Lane>, session: &mut Session) -> Next {
    let mut drained = pin!(lane.drain.notified());
    let mut registered = false;
    let began = Instant::now();
    let mut scanned = 0;
    let mut partial_since = None;
    poll_fn(|cx| {
        if !registered {
            registered = true;
            let _ = drained.as_mut().poll(cx);
        }
        let mut scratch = lane.scratch.borrow_mut();
        loop {
            skip_blank_lines(&mut session.ahead);
            if !session.ahead.is_empty() {
                match prepare(lane, &session.client, &session.ahead, &mut scanned) {
                    Ok(Some((prepared, taken))) => {
                        let _ = session.ahead.split_to(taken);
                        if session.ahead.is_empty() {
                            session.ahead = BytesMut::new();
                        }
                        return Poll::Ready(Next::Request(Box::new(prepared)));
                    }
                    Ok(None) => {}
                    Err(malformed) => return Poll::Ready(Next::Malformed(malformed)),
                }
            }
            if session.said_all {
                return Poll::Ready(Next::Nothing);
            }
            match scratch.poll_read(cx, &mut session.io) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Nothing),
                Poll::Ready(Ok(0)) => session.said_all = true,
                Poll::Ready(Ok(_)) if session.ahead.is_empty() => {
                    // The common case, in one read: nothing is kept but what follows the request.
                    match prepare(lane, &session.client, scratch.filled(), &mut scanned) {
                        Ok(Some((prepared, taken))) => {
                            let rest = scratch.filled().get(taken..).unwrap_or_default();
                            session.ahead.extend_from_slice(rest);
                            return Poll::Ready(Next::Request(Box::new(prepared)));
                        }
                        Ok(None) => session.ahead.extend_from_slice(scratch.filled()),
                        Err(_) => {
                            // A blank line before the request is no fault; the loop above tells.
                            scanned = 0;
                            session.ahead.extend_from_slice(scratch.filled());
                        }
                    }
                }
                Poll::Ready(Ok(_)) => session.ahead.extend_from_slice(scratch.filled()),
            }
        }
        if session.ahead.is_empty() {
            let deadline = session.client.idle_until(lane, began);
            return session
                .client
                .poll_alarm(cx, deadline)
                .map(|()| Next::Nothing);
        }
        let since = *partial_since.get_or_insert_with(Instant::now);
        let deadline = later(since, lane.limits.header);
        session
            .client
            .poll_alarm(cx, deadline)
            .map(|()| Next::TooSlow)
    })
    .await
}

/// RFC 9112, 2.2: a client may send blank lines after a request.
fn skip_blank_lines(ahead: &mut BytesMut) {
    while ahead.starts_with(b"\r\n") {
        let _ = ahead.split_to(2);
    }
}

fn prepare(
    lane: &Rc<Lane>,
    client: &Client,
    bytes: &[u8],
    scanned: &mut usize,
) -> Result<Option<(Prepared, usize)>, Malformed> {
    match end_of_head(bytes, scanned)? {
        Some(end) if end <= lane.limits.max_head => {
            Prepared::read(lane, client, bytes, end).map(Some)
        }
        None if bytes.len() <= lane.limits.max_head => Ok(None),
        _ => Err(Malformed::HeadTooLarge),
    }
}

/// Carries one request. Says whether the connection can carry another.
async fn carry(lane: &Rc<Lane>, session: &mut Session, mut prepared: Prepared) -> bool {
    if prepared.connect {
        return refuse(session, &mut prepared, Refusal::Unsupported, true).await;
    }
    let client = Rc::clone(&session.client);
    let route = &client.route;
    if let Some(refusal) = route.upstream.refusal(&route.arrival) {
        return refuse(session, &mut prepared, refusal, true).await;
    }
    if let Some(request) = prepared.across.take() {
        return across::carry(lane, session, prepared, *request).await;
    }
    let passage = Rc::clone(&prepared.passage);
    let mut link = lane.take(&client, passage.arrived);
    loop {
        let taken = match link.take() {
            Some(link) => link,
            None => match connect(lane, &client, session).await {
                Ok(link) => link,
                Err(Some(refusal)) => return refuse(session, &mut prepared, refusal, false).await,
                Err(None) => {
                    passage.end(End::ClientCancelled);
                    return false;
                }
            },
        };
        let mut exchange = Exchange::new(lane, session, taken, &mut prepared);
        let fate = poll_fn(|cx| exchange.poll(cx)).await;
        let closes = exchange.closes();
        match fate {
            Fate::Answered => {
                let whole = exchange.is_request_over();
                if let Some(link) = exchange.into_reusable() {
                    lane.put(&client, Instant::now(), link);
                }
                if closes {
                    end_in_order(session, !whole).await;
                }
                return !closes;
            }
            Fate::Upgraded => {
                let (link, way) = exchange.into_tunnel();
                tunnel::tunnel(lane, session, link, &passage, way).await;
                return false;
            }
            Fate::ClientGone => {
                passage.end(End::ClientCancelled);
                return false;
            }
            Fate::Unanswered(refusal) if exchange.client_has_left() => {
                // It stopped for a client that has left; one that only closed its side is told.
                passage.end(End::ClientCancelled);
                return refuse(session, &mut prepared, refusal, true).await;
            }
            Fate::Unanswered(refusal) => match exchange.into_held() {
                Some(bytes) if refusal == Refusal::UpstreamClosed => {
                    prepared.bytes = bytes;
                    lane.accounts.retry();
                }
                _ => return refuse(session, &mut prepared, refusal, closes).await,
            },
            Fate::BadBody(malformed) => {
                let answered = exchange.is_answering();
                drop(exchange);
                bad_body(lane, session, &passage, malformed, answered).await;
                return false;
            }
            Fate::SlowBody => {
                drop(exchange);
                slow_body(session, &passage).await;
                return false;
            }
            Fate::Broken(how) => {
                passage.end(how.end());
                // The pieces before the break are the client's.
                exchange.flush().await;
                if exchange.resets_after(how) {
                    session.client.reset_on_close();
                }
                return false;
            }
        }
    }
}

/// A fresh upstream connection; `None` where the client has gone meanwhile.
async fn connect(
    lane: &Rc<Lane>,
    client: &Client,
    session: &mut Session,
) -> Result<Box<Link>, Option<Refusal>> {
    let route = &client.route;
    let mut connecting = pin!(route.upstream.connect(&route.arrival, Wanted::Http1));
    poll_fn(|cx| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
            return Poll::Ready(connected.map(Link::over).map_err(Some));
        }
        if session.poll_ahead(cx, &mut lane.scratch.borrow_mut()) {
            Poll::Pending
        } else {
            Poll::Ready(Err(None))
        }
    })
    .await
}

/// Ends an exchange whose request's body is no body.
pub(super) async fn bad_body(
    lane: &Lane,
    session: &mut Session,
    passage: &Passage,
    malformed: Malformed,
    answered: bool,
) {
    lane.accounts.refuse();
    passage.end_with_own_answer(End::Whole, malformed.status());
    if answered {
        session.client.reset_on_close();
    } else {
        finish(session, own::malformed(malformed), |_| {}).await;
    }
}

/// Ends an exchange whose request's body does not come.
pub(super) async fn slow_body(session: &mut Session, passage: &Passage) {
    passage.end_with_own_answer(End::Whole, http::StatusCode::REQUEST_TIMEOUT);
    finish(session, own::too_slow(), |_| {}).await;
}

/// Answers in the upstream's place. Says whether the connection can carry another request.
pub(super) async fn refuse(
    session: &mut Session,
    prepared: &mut Prepared,
    refusal: Refusal,
    closes: bool,
) -> bool {
    let whole = prepared.framing.is_over();
    let closes = closes || !whole || prepared.taker.closes;
    let passage = Rc::clone(&prepared.passage);
    passage.answered(refusal.end(), refusal.status());
    if whole {
        passage.end(refusal.end());
    }
    let answer = own::refusal(refusal, prepared.to_head, closes);
    if closes {
        let ahead = session.ahead.split();
        prepared.overhear(&ahead);
        finish(session, answer, |bytes| prepared.overhear(bytes)).await;
        passage.end(refusal.end());
        return false;
    }
    session.io.write_all(&answer).await.is_ok() && session.io.flush().await.is_ok()
}

/// The last answer on a connection, and what becomes of the bytes that still come.
async fn finish(session: &mut Session, answer: Vec<u8>, rest: impl FnMut(&[u8])) {
    let sent = async {
        session.io.write_all(&answer).await?;
        session.io.flush().await
    };
    if matches!(tokio::time::timeout(LINGER, sent).await, Ok(Ok(()))) {
        close(session, true, rest).await;
    }
}

/// Closes the connection. Where the client may still be sending, what it sends is read for a while: closing with unread bytes
/// would reset the connection and take the answer with it. RFC 9112, 9.6.
pub(super) async fn end_in_order(session: &mut Session, may_be_sending: bool) {
    close(session, may_be_sending, |_| {}).await;
}

/// The same, with what becomes of the bytes that are read.
async fn close(session: &mut Session, may_be_sending: bool, mut rest: impl FnMut(&[u8])) {
    // Not fatal: it may be gone.
    let _ = session.io.shutdown().await;
    if !may_be_sending {
        return;
    }
    let drained = async {
        let mut sink = [0; 4096];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = session.io.read(&mut sink).await {
            rest(sink.get(..read).unwrap_or_default());
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drained).await;
}

/// How long a client may take over the last of an answer.
pub(super) const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 << 20;

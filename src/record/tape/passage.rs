use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounts::DropReason;
use super::parcel::{End, MarkKind, Side};
use super::tap::{Begun, HeadSeen, Piece, Tap};
use crate::record::lane::Lane;

/// One exchange on its way through the proxy: what the traffic path must know of it, and the tap that notes what passes.
///
/// Shared by the forwarding task and the upload that the upstream connection drives. Dropped before its end, it was the
/// client that went away (or the recorder that was stopped).
pub(in crate::record) struct Passage {
    pub(in crate::record) arrived: Instant,
    /// When bytes last moved, in either direction.
    progress: Cell<Instant>,
    client_broke: Cell<bool>,
    /// When the client closed its side.
    left: Cell<Option<Instant>>,
    /// Since when the answer waits for its client to take more, where it does.
    waits_since: Cell<Option<Instant>>,
    /// How long it did before.
    waited: Cell<Duration>,
    /// The recorder has answered, then and so; more of the request may come.
    answered: Cell<Option<(Instant, End, http::StatusCode)>>,
    over: Cell<bool>,
    /// Its place among those of which the observer has not heard yet.
    unheard: Cell<Option<usize>>,
    tap: RefCell<Option<Tap>>,
    /// It asked to become a WebSocket.
    websocket: bool,
    /// Its client wants no record of it.
    opts_out: bool,
    lane: Rc<Lane>,
}

impl Passage {
    /// A request's head has been read.
    pub(in crate::record) fn begin(lane: &Rc<Lane>, request: Begun<'_>) -> Rc<Self> {
        let arrived = Instant::now();
        let in_flight = lane.accounts.arrive();
        // Nothing of it goes further than the traffic path: not even the observer sees it.
        let capture = lane.capture.as_ref().filter(|_| !request.opts_out);
        let tap = capture.map(|capture| {
            let mut tap = Tap::new(Arc::clone(capture), lane.next_id(), arrived);
            tap.begin(&request, in_flight);
            tap
        });
        let recorded = tap.is_some();
        let passage = Rc::new(Self {
            arrived,
            progress: Cell::new(arrived),
            client_broke: Cell::new(false),
            left: Cell::new(None),
            waits_since: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
            answered: Cell::new(None),
            over: Cell::new(false),
            unheard: Cell::new(None),
            tap: RefCell::new(tap),
            websocket: request.websocket,
            opts_out: request.opts_out,
            lane: Rc::clone(lane),
        });
        if recorded {
            passage.unheard.set(Some(lane.unheard.add(&passage)));
        }
        passage
    }

    /// Lets the observer know of an exchange that takes its time, so that the trace file can hold it as in flight.
    pub(in crate::record) fn speak_up(&self) {
        self.unheard.set(None);
        self.note(Tap::speak_up);
    }

    /// When bytes last moved.
    pub(in crate::record) fn progress(&self) -> Instant {
        self.progress.get()
    }

    /// The client's side broke while its request was read.
    pub(in crate::record) fn client_broke(&self) -> bool {
        self.client_broke.get()
    }

    /// Notes that reading the request's body failed.
    pub(in crate::record) fn upload_broke(&self) {
        self.client_broke.set(true);
    }

    /// Runs of the request's body pass, in one read.
    pub(in crate::record) fn upload_runs(
        &self,
        now: Instant,
        piece: Piece<'_>,
        runs: &[Range<usize>],
    ) {
        if !runs.is_empty() {
            self.note(|tap| tap.runs(now, piece, runs, MarkKind::Upload));
        }
    }

    /// The request's body is whole.
    pub(in crate::record) fn upload_end(&self, now: Instant) {
        self.note(|tap| tap.mark(now, 0, MarkKind::UploadEnd));
    }

    /// The request has been handed to an upstream connection.
    pub(in crate::record) fn sent(&self) {
        let now = self.moved();
        self.note(|tap| tap.mark(now, 0, MarkKind::Sent));
    }

    /// The response's head passes.
    pub(in crate::record) fn head(&self, now: Instant, head: &HeadSeen<'_>) {
        self.note(|tap| tap.head(now, head));
    }

    /// Runs of the response's body pass, in one read.
    pub(in crate::record) fn data_runs(
        &self,
        now: Instant,
        piece: Piece<'_>,
        runs: &[Range<usize>],
    ) {
        if !runs.is_empty() {
            self.note(|tap| tap.runs(now, piece, runs, MarkKind::Data));
        }
    }

    /// Bytes of another protocol pass, after an upgrade: their number is noted, and of a WebSocket where its frames end.
    pub(in crate::record) fn tunnelled(&self, bytes: &[u8], side: Side) {
        let now = self.moved();
        let websocket = self.websocket;
        self.note(|tap| {
            tap.mark(now, bytes.len(), MarkKind::Tunnelled(side));
            if websocket {
                tap.frames(now, bytes, side);
            }
        });
    }

    /// An answer over gRPC says how it went.
    pub(in crate::record) fn grpc_status(&self, value: &[u8]) {
        let status = std::str::from_utf8(value)
            .ok()
            .and_then(|it| it.parse().ok());
        self.note(|tap| tap.grpc_status(status));
    }

    /// The client has closed its side; if it turns out to have left, it left now.
    pub(in crate::record) fn left(&self) {
        self.left.set(Some(Instant::now()));
    }

    /// The client takes no more of the answer for now, since then or before.
    pub(in crate::record) fn waits_for_client(&self, since: impl FnOnce() -> Instant) {
        if self.waits_since.get().is_none() {
            self.waits_since.set(Some(since()));
        }
    }

    /// The client has taken what there was. `late`: it was waited for.
    pub(in crate::record) fn client_took(&self, late: bool) {
        // No clock is looked at where nobody was waited for.
        if let Some(since) = self.waits_since.take()
            && late
        {
            self.waited.set(self.waited.get() + since.elapsed());
        }
    }

    /// How long the answer had waited for its client by then.
    fn waited_by(&self, at: Instant) -> Duration {
        let since = self.waits_since.get();
        let still = since.map(|since| at.saturating_duration_since(since));
        self.waited.get() + still.unwrap_or_default()
    }

    /// It is over. Later calls say nothing new.
    pub(in crate::record) fn end(&self, end: End) {
        if self.over.replace(true) {
            return;
        }
        if let Some(place) = self.unheard.take() {
            self.lane.unheard.remove(place);
        }
        let accounts = &self.lane.accounts;
        if let Some(tap) = self.tap.take() {
            let left = self.left.get().filter(|_| end == End::ClientCancelled);
            let (at, end, status) = match self.answered.get() {
                Some((at, end, status)) => (at, end, Some(status.as_u16())),
                None => (left.unwrap_or_else(Instant::now), end, None),
            };
            tap.close(at, end, status, self.waited_by(at));
        } else if self.lane.capture.is_none() {
            accounts.drop_one(DropReason::Off);
        } else if self.opts_out {
            accounts.drop_one(DropReason::OptOut);
        }
        accounts.leave();
    }

    /// The recorder itself answers now. Whenever it is over, it ended now and so.
    pub(in crate::record) fn answered(&self, end: End, status: http::StatusCode) {
        self.answered.set(Some((Instant::now(), end, status)));
    }

    /// It is over, and the recorder itself answered.
    pub(in crate::record) fn end_with_own_answer(&self, end: End, status: http::StatusCode) {
        self.answered(end, status);
        self.end(end);
    }

    /// Bytes move now.
    pub(in crate::record) fn moved(&self) -> Instant {
        let now = Instant::now();
        self.progress.set(now);
        now
    }

    fn note(&self, note: impl FnOnce(&mut Tap)) {
        let mut slot = self.tap.borrow_mut();
        if let Some(tap) = slot.as_mut() {
            note(tap);
            if tap.is_lost() {
                *slot = None;
            }
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        // A client that has closed its side and got no answer since has left, whoever ends the exchange.
        self.end(if self.lane.is_cutting() && self.left.get().is_none() {
            End::Cut
        } else {
            End::ClientCancelled
        });
    }
}

/// Whether this value of `x-reenact-record` wants the exchange left out. `off` does, and so does whatever is not `on`: a wish not
/// to be recorded must not be lost to its spelling.
pub(in crate::record) fn opts_out(value: &[u8]) -> bool {
    !value.trim_ascii().eq_ignore_ascii_case(b"on")
}

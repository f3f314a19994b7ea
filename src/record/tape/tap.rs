use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::anonymise::Conversation;
use crate::record::lane::Lane;
use crate::record::tape::accounts::DropReason;
use crate::record::tape::capture::{Capture, Weighed};
use crate::record::tape::frames::FrameScanner;
use crate::record::tape::parcel::{
    Closing, End, Head, Kept, Mark, MarkKind, Opening, Parcel, Side,
};
use crate::shape::Method;

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
            let path = request.path.get(..MAX_PATH).unwrap_or(request.path);
            let encoding = short(request.content_encoding);
            tap.parcel.texts.extend_from_slice(path);
            tap.parcel.texts.extend_from_slice(encoding);
            tap.parcel.opening = Some(Opening {
                method: method(request.method),
                path_len: path.len(),
                encoding_len: encoding.len(),
                in_flight,
                probe: request.probe,
                conversation: request.conversation,
            });
            tap
        });
        let recorded = tap.is_some();
        let passage = Rc::new(Self {
            arrived,
            progress: Cell::new(arrived),
            client_broke: Cell::new(false),
            left: Cell::new(None),
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
        // What has handed over a part is known.
        self.note(|tap| {
            if tap.alive.is_none() {
                tap.hand_over_part();
            }
        });
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
        self.note(|tap| tap.parcel.grpc_status = status);
    }

    /// The client has closed its side; if it turns out to have left, it left now.
    pub(in crate::record) fn left(&self) {
        self.left.set(Some(Instant::now()));
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
            tap.close(at, end, status);
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
            if tap.lost {
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

/// What the tap takes of a request's head.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct Begun<'a> {
    pub(in crate::record) method: &'a [u8],
    /// Without the query.
    pub(in crate::record) path: &'a [u8],
    pub(in crate::record) content_encoding: &'a [u8],
    /// It asks to become a WebSocket.
    pub(in crate::record) websocket: bool,
    /// A replay's probe, which is forwarded and not recorded.
    pub(in crate::record) probe: bool,
    /// The client wants no record of it, which is forwarded as any other.
    pub(in crate::record) opts_out: bool,
    /// The conversation that its session header names.
    pub(in crate::record) conversation: Option<Conversation>,
}

/// Whether this value of `x-reenact-record` wants the exchange left out. `off` does, and so does whatever is not `on`: a wish not
/// to be recorded must not be lost to its spelling.
pub(in crate::record) fn opts_out(value: &[u8]) -> bool {
    !value.trim_ascii().eq_ignore_ascii_case(b"on")
}

/// What the tap takes of a response's head.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct HeadSeen<'a> {
    pub(in crate::record) status: u16,
    pub(in crate::record) content_type: &'a [u8],
    pub(in crate::record) content_encoding: &'a [u8],
    pub(in crate::record) server: &'a [u8],
}

/// Bytes on their way, of which runs are a body's data.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) enum Piece<'a> {
    /// They lie in a buffer that is used again.
    Lent(&'a [u8]),
    /// They can be referenced.
    Shared(&'a Bytes),
}

impl<'a> Piece<'a> {
    pub(in crate::record) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Gathers what passes, and hands it over in batches.
struct Tap {
    capture: Arc<Capture>,
    parcel: Box<Parcel>,
    /// Bytes of the request's body so far.
    uploaded: u64,
    /// Bodies are let go: the recorder was over its memory bound.
    shed: bool,
    /// A part of it was lost (and counted), so the rest is of no use.
    lost: bool,
    alive: Option<Arc<()>>,
    /// A WebSocket's two directions.
    scanners: Option<Box<[FrameScanner; 2]>>,
}

impl Tap {
    fn new(capture: Arc<Capture>, id: u64, arrived: Instant) -> Self {
        let (parcel, weighed) = capture.parcel(id, arrived);
        Self {
            capture,
            parcel,
            uploaded: 0,
            shed: false,
            lost: weighed == Weighed::Lost,
            alive: None,
            scanners: None,
        }
    }

    fn since_arrival(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.parcel.arrived))
    }

    fn mark(&mut self, now: Instant, len: usize, kind: MarkKind) {
        if self.lost {
            return;
        }
        let at_us = self.since_arrival(now);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.parcel.marks.push(Mark { at_us, len, kind });
        match self.capture.weigh(&mut self.parcel) {
            Weighed::Fits => {}
            Weighed::Shed => self.shed = true,
            Weighed::Lost => self.lost = true,
        }
        // A mirror gets the request when production does, not when the answer is over.
        let is_due = || self.alive.is_some() || self.capture.mirror.is_some();
        let boil_down = kind == MarkKind::UploadEnd && (self.parcel.is_heavy() || is_due());
        if self.parcel.is_full() || boil_down {
            self.hand_over_part();
        }
    }

    /// Takes the runs of a body's data that came in one read.
    fn runs(
        &mut self,
        now: Instant,
        piece: Piece<'_>,
        runs: &[Range<usize>],
        kind: fn(Kept) -> MarkKind,
    ) {
        let all: usize = runs.iter().map(ExactSizeIterator::len).sum();
        if let MarkKind::Upload(_) = kind(Kept::SizeOnly) {
            self.uploaded += all as u64;
        }
        if self.shed || self.lost || self.uploaded > self.capture.max_body {
            return self.mark(now, all, kind(Kept::SizeOnly));
        }
        let kept = match piece {
            Piece::Shared(bytes) if all > COPY_UP_TO && runs.len() < usize::from(u16::MAX) => {
                self.parcel.refer(bytes.clone(), runs)
            }
            _ => self.parcel.copy(piece.bytes(), runs),
        };
        self.mark(now, all, kind(kept));
    }

    /// Notes the frames that end in these bytes: the first ones one by one, the rest of a flood together.
    fn frames(&mut self, now: Instant, bytes: &[u8], side: Side) {
        let [up, down] = &mut **self.scanners.get_or_insert_default();
        let scanner = match side {
            Side::Client => up,
            Side::Upstream => down,
        };
        let mut first = [0; FRAMES_ONE_BY_ONE];
        let (mut count, mut rest, mut rest_bytes) = (0, 0_u16, 0_u64);
        scanner.scan(bytes, |payload| match first.get_mut(count) {
            Some(slot) => {
                *slot = payload;
                count += 1;
            }
            None => {
                rest = rest.saturating_add(1);
                rest_bytes = rest_bytes.saturating_add(payload);
            }
        });
        for &payload in first.iter().take(count) {
            let payload = usize::try_from(payload).unwrap_or(usize::MAX);
            self.mark(now, payload, MarkKind::Frames(side, 1));
        }
        if rest > 0 {
            let payload = usize::try_from(rest_bytes).unwrap_or(usize::MAX);
            self.mark(now, payload, MarkKind::Frames(side, rest));
        }
    }

    fn head(&mut self, now: Instant, head: &HeadSeen<'_>) {
        let at_us = self.since_arrival(now);
        let (content_type, encoding) = (short(head.content_type), short(head.content_encoding));
        self.parcel.texts.extend_from_slice(content_type);
        self.parcel.texts.extend_from_slice(encoding);
        self.parcel.head = Some(Head {
            at_us,
            status: head.status,
            type_len: content_type.len(),
            encoding_len: encoding.len(),
            simulated: head.server.starts_with(SIMULATED),
        });
    }

    fn close(mut self, at: Instant, end: End, answered: Option<u16>) {
        if self.lost {
            return;
        }
        self.parcel.closing = Some(Closing {
            at_us: self.since_arrival(at),
            end,
            answered,
        });
        self.parcel.alive = self.alive.take();
        self.capture.hand_over(self.parcel);
    }

    fn hand_over_part(&mut self) {
        if self.lost {
            return;
        }
        let alive = self.alive.get_or_insert_with(|| Arc::new(()));
        self.parcel.alive = Some(Arc::clone(alive));
        let (mut next, weighed) = self.capture.parcel(self.parcel.id, self.parcel.arrived);
        next.shed = self.shed;
        let full = std::mem::replace(&mut self.parcel, next);
        // One loss of an exchange is enough to count.
        self.lost = weighed == Weighed::Lost || !self.capture.hand_over(full);
    }
}

/// Reads with up to this are copied: that costs less than pinning the buffer that they lie in.
pub(in crate::record) const COPY_UP_TO: usize = 4 << 10;
/// Frames that end in one read have a mark each up to here.
const FRAMES_ONE_BY_ONE: usize = 16;
/// Longer paths are of no endpoint that is known.
const MAX_PATH: usize = 256;
/// How a simulated server's `server` header begins.
const SIMULATED: &[u8] = b"reenact-sim";

fn short(value: &[u8]) -> &[u8] {
    value.get(..128).unwrap_or(value)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn method(method: &[u8]) -> Method {
    match method {
        b"POST" => Method::Post,
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"PUT" => Method::Put,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

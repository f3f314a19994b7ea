use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, header, request, response};

use super::accounts::DropReason;
use super::capture::{Capture, Closing, End, Head, Kept, Mark, MarkKind, Opening, Parcel, Weighed};
use super::lane::Lane;
use crate::shape::Method;

/// One exchange on its way through the proxy: what the traffic path must know of it, and the tap that notes what passes.
///
/// Shared by the forwarding task and the upload that the upstream connection drives. Dropped before its end, it was the
/// client that went away (or the recorder that was stopped).
pub(super) struct Passage {
    pub(super) arrived: Instant,
    /// When bytes last moved, in either direction.
    progress: Cell<Instant>,
    client_broke: Cell<bool>,
    over: Cell<bool>,
    tap: RefCell<Option<Tap>>,
    lane: Rc<Lane>,
}

impl Passage {
    /// A request's head has been read.
    pub(super) fn begin(lane: &Rc<Lane>, request: &request::Parts) -> Rc<Self> {
        let arrived = Instant::now();
        let in_flight = lane.accounts.arrive();
        let tap = lane.capture.as_ref().map(|capture| {
            let mut tap = Tap::new(Arc::clone(capture), lane.next_id(), arrived);
            let path = request.uri.path().as_bytes();
            let path = path.get(..MAX_PATH).unwrap_or(path);
            tap.parcel.texts.extend_from_slice(path);
            tap.parcel.opening = Some(Opening {
                method: method(&request.method),
                path_len: path.len(),
                in_flight,
                probe: request.headers.contains_key(PROBE),
            });
            tap
        });
        Rc::new(Self {
            arrived,
            progress: Cell::new(arrived),
            client_broke: Cell::new(false),
            over: Cell::new(false),
            tap: RefCell::new(tap),
            lane: Rc::clone(lane),
        })
    }

    /// When bytes last moved.
    pub(super) fn progress(&self) -> Instant {
        self.progress.get()
    }

    /// The client's side broke while its request was read.
    pub(super) fn client_broke(&self) -> bool {
        self.client_broke.get()
    }

    /// Notes that reading the request's body failed.
    pub(super) fn upload_broke(&self) {
        self.client_broke.set(true);
    }

    /// A piece of the request's body passes.
    pub(super) fn upload(&self, piece: &Bytes) {
        let now = self.moved();
        self.note(|tap| tap.piece(now, piece, MarkKind::Upload));
    }

    /// The request's body is whole.
    pub(super) fn upload_end(&self) {
        let now = self.moved();
        self.note(|tap| tap.mark(now, 0, MarkKind::UploadEnd));
    }

    /// The request has been handed to an upstream connection.
    pub(super) fn sent(&self) {
        let now = self.moved();
        self.note(|tap| tap.mark(now, 0, MarkKind::Sent));
    }

    /// The response's head passes.
    pub(super) fn head(&self, head: &response::Parts) {
        let now = self.moved();
        self.note(|tap| tap.head(now, head));
    }

    /// A piece of the response's body passes.
    pub(super) fn data(&self, piece: &Bytes) {
        let now = self.moved();
        self.note(|tap| tap.piece(now, piece, MarkKind::Data));
    }

    /// It is over. Later calls say nothing new.
    pub(super) fn end(&self, end: End) {
        self.close(end, None);
    }

    /// It is over, and the recorder itself answered.
    pub(super) fn end_with_own_answer(&self, end: End, status: http::StatusCode) {
        self.close(end, Some(status.as_u16()));
    }

    fn close(&self, end: End, answered: Option<u16>) {
        if self.over.replace(true) {
            return;
        }
        let accounts = &self.lane.accounts;
        if let Some(tap) = self.tap.take() {
            tap.close(end, answered);
        } else if self.lane.capture.is_none() {
            accounts.drop_one(DropReason::Off);
        }
        accounts.leave();
    }

    fn moved(&self) -> Instant {
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
        self.end(if self.lane.is_cutting() {
            End::Cut
        } else {
            End::ClientCancelled
        });
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
        self.parcel.marks.push(Mark {
            at_us,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            kind,
        });
        match self.capture.weigh(&mut self.parcel) {
            Weighed::Fits => {}
            Weighed::Shed => self.shed = true,
            Weighed::Lost => self.lost = true,
        }
        let boil_down =
            kind == MarkKind::UploadEnd && (self.parcel.is_heavy() || self.alive.is_some());
        if self.parcel.is_full() || boil_down {
            self.hand_over_part();
        }
    }

    fn piece(&mut self, now: Instant, piece: &Bytes, kind: fn(Kept) -> MarkKind) {
        if let MarkKind::Upload(_) = kind(Kept::SizeOnly) {
            self.uploaded += piece.len() as u64;
        }
        let kept = if self.shed || self.lost || self.uploaded > self.capture.max_body {
            Kept::SizeOnly
        } else if piece.len() <= COPY_UP_TO {
            self.parcel.copies.extend_from_slice(piece);
            Kept::Copied
        } else {
            self.parcel.refer(piece.clone());
            Kept::Referenced
        };
        self.mark(now, piece.len(), kind(kept));
    }

    fn head(&mut self, now: Instant, head: &response::Parts) {
        let at_us = self.since_arrival(now);
        let text = |name| short(&head.headers, name);
        let (content_type, encoding) = (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
        self.parcel.texts.extend_from_slice(content_type);
        self.parcel.texts.extend_from_slice(encoding);
        self.parcel.head = Some(Head {
            at_us,
            status: head.status.as_u16(),
            type_len: content_type.len(),
            encoding_len: encoding.len(),
            simulated: short(&head.headers, header::SERVER).starts_with(SIMULATED),
        });
    }

    fn close(mut self, end: End, answered: Option<u16>) {
        if self.lost {
            return;
        }
        self.parcel.closing = Some(Closing {
            at_us: self.since_arrival(Instant::now()),
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

/// Pieces up to this are copied: a copy costs less than pinning the read buffer that a piece lies in, which would make
/// hyper allocate the next one.
const COPY_UP_TO: usize = 4 << 10;
/// Longer paths are of no endpoint that is known.
const MAX_PATH: usize = 256;
/// Marks a replay's probe, which is forwarded and not recorded.
const PROBE: &str = "x-reenact-probe";
/// How a simulated server's `server` header begins.
const SIMULATED: &[u8] = b"reenact-sim";

fn short(headers: &HeaderMap, name: header::HeaderName) -> &[u8] {
    let value = headers.get(name).map_or(&[][..], |value| value.as_bytes());
    value.get(..128).unwrap_or(value)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn method(method: &http::Method) -> Method {
    match *method {
        http::Method::POST => Method::Post,
        http::Method::GET => Method::Get,
        http::Method::HEAD => Method::Head,
        http::Method::PUT => Method::Put,
        http::Method::DELETE => Method::Delete,
        http::Method::OPTIONS => Method::Options,
        _ => Method::Other,
    }
}

//! The tap: what it takes of an exchange, and how it gathers that.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::capture::{Capture, Weighed};
use super::frames::FrameScanner;
use super::parcel::{Closing, End, Head, Kept, Mark, MarkKind, Opening, Parcel, Side};
use crate::anonymise::Conversation;
use crate::dialect::media_type;
use crate::net::is_simulated;
use crate::shape::Method;

/// What the tap takes of a request's head.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct Begun<'a> {
    pub(in crate::record) method: &'a [u8],
    /// Without the query.
    pub(in crate::record) path: &'a [u8],
    pub(in crate::record) content_type: &'a [u8],
    pub(in crate::record) content_encoding: &'a [u8],
    /// It asks to become a WebSocket.
    pub(in crate::record) websocket: bool,
    /// A replay's probe, which is forwarded and not recorded.
    pub(in crate::record) probe: bool,
    /// The client wants no record of it, which is forwarded as any other.
    pub(in crate::record) opts_out: bool,
    /// The conversation that its session header names.
    pub(in crate::record) conversation: Option<Conversation>,
    /// It is the first request on its client's connection.
    pub(in crate::record) new_connection: bool,
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
pub(super) struct Tap {
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
    pub(super) fn new(capture: Arc<Capture>, id: u64, arrived: Instant) -> Self {
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

    /// The request's head.
    pub(super) fn begin(&mut self, request: &Begun<'_>, in_flight: u32) {
        let path = request.path.get(..MAX_PATH).unwrap_or(request.path);
        let encoding = short(request.content_encoding);
        self.parcel.texts.extend_from_slice(path);
        self.parcel.texts.extend_from_slice(encoding);
        self.parcel.opening = Some(Opening {
            method: method(request.method),
            path_len: path.len(),
            encoding_len: encoding.len(),
            media_type: media_type(request.content_type),
            in_flight,
            probe: request.probe,
            conversation: request.conversation,
            new_connection: request.new_connection,
        });
    }

    /// Whether a part of it was lost, so that it need not be told more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Hands over what there is, unless the observer knows of the exchange: what has handed over a part is known.
    pub(super) fn speak_up(&mut self) {
        if self.alive.is_none() {
            self.hand_over_part();
        }
    }

    pub(super) fn grpc_status(&mut self, status: Option<u16>) {
        self.parcel.grpc_status = status;
    }

    fn since_arrival(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.parcel.arrived))
    }

    pub(super) fn mark(&mut self, now: Instant, len: usize, kind: MarkKind) {
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
    pub(super) fn runs(
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
    pub(super) fn frames(&mut self, now: Instant, bytes: &[u8], side: Side) {
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

    pub(super) fn head(&mut self, now: Instant, head: &HeadSeen<'_>) {
        let at_us = self.since_arrival(now);
        let (content_type, encoding) = (short(head.content_type), short(head.content_encoding));
        self.parcel.texts.extend_from_slice(content_type);
        self.parcel.texts.extend_from_slice(encoding);
        self.parcel.head = Some(Head {
            at_us,
            status: head.status,
            type_len: content_type.len(),
            encoding_len: encoding.len(),
            simulated: is_simulated(head.server),
        });
    }

    pub(super) fn close(
        mut self,
        at: Instant,
        end: End,
        answered: Option<u16>,
        waited_for_client: Duration,
    ) {
        if self.lost {
            return;
        }
        self.parcel.closing = Some(Closing {
            at_us: self.since_arrival(at),
            end,
            answered,
            reader_wait_us: match waited_for_client {
                less if less < WAIT => 0,
                waited => micros(waited),
            },
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
/// A client that was waited for less than this in all was not: so long a write may take by this machine's own doing.
const WAIT: Duration = Duration::from_millis(1);
/// Longer paths are of no endpoint that is known.
const MAX_PATH: usize = 256;

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

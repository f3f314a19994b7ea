mod finish;

pub(in crate::record) use finish::Finished;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frames::FramesSeen;
use super::reading::{Panicked, guarded, trip_over};
use crate::anonymise::{ChainKey, Conversation, Private, Sighting};
use crate::dialect::{
    Coded, Coding, Decoder, Detected, RequestSight, ResponseHead, ResponseObserver, Undecodable,
    Unparsable, detect, is_stream, model_in_path, observe_request,
};
use crate::record::tape::capture::Capture;
use crate::record::tape::ledger::{Charge, Ledger, Share};
use crate::record::tape::parcel::{Closing, Head, MarkKind, Opening, Parcel, Pieces, Side};
use crate::shape::{Endpoint, Exchange, Outcome, ResponseShape, ShapeStatus, TraceTime};

/// One exchange being put together from its parcels.
#[derive(Default)]
pub(super) struct Assembly {
    opening: Option<Opening>,
    arrived: Option<Instant>,
    /// The generation of the file that holds it as in flight; 0 where none does.
    announced: u64,
    endpoint: Option<Endpoint>,
    /// It is the endpoint's path, and others'; the request's body has yet to tell.
    unsettled: bool,
    /// The model that the path names.
    model: Option<Private>,
    /// The path, where a mirror may want it.
    path: String,
    /// A mirror has taken the request.
    mirrored: bool,
    /// How the request's body is coded.
    coded: Option<Coded>,
    /// The request's body until it is read.
    upload: Vec<u8>,
    upload_bytes: u64,
    upload_ended: bool,
    /// Why bodies cannot be read, worst first.
    trouble: Option<ShapeStatus>,
    request: Option<RequestSight>,
    sent_us: Option<u64>,
    head: Option<Head>,
    content_type: String,
    content_encoding: String,
    response: Option<ResponseObserver>,
    response_bytes: u64,
    first_byte_us: Option<u64>,
    closing: Option<Closing>,
    grpc_status: Option<u16>,
    /// A WebSocket's frames, where they are what is read.
    frames: Option<Box<FramesSeen>>,
    alive: Option<Arc<()>>,
    /// What everything here weighs on the ledger.
    charge: Option<Charge>,
}

/// What assemblies share: the recorder's bounds, and room to put a body together in, used again as large ones need fresh pages
/// of the system otherwise.
pub(super) struct Desk {
    pub(super) capture: Arc<Capture>,
    /// Whether gaps are kept one by one.
    every_gap: bool,
    spare: Vec<u8>,
}

impl Desk {
    pub(super) fn new(capture: Arc<Capture>, every_gap: bool) -> Self {
        Self {
            capture,
            every_gap,
            spare: Vec::new(),
        }
    }

    /// Keeps a body's room, within reason and a hundredth or so of the bound on memory.
    fn put_back(&mut self, mut body: Vec<u8>) {
        let most = (self.capture.table_bytes / 32).min(SPARE_UPLOAD);
        if body.capacity() > self.spare.capacity() && body.capacity() as u64 <= most {
            // What was said is not kept longer than it is needed.
            body.fill(0);
            body.clear();
            self.spare = body;
        }
    }
}

/// The room of a body of a MiB, grown by doubling.
const SPARE_UPLOAD: u64 = 2 << 20;

impl Assembly {
    /// Whether no further parcel can come.
    pub(super) fn is_orphaned(&self) -> bool {
        self.alive
            .as_ref()
            .is_none_or(|alive| Arc::strong_count(alive) == 1)
    }

    /// Takes what a parcel holds. False where there is no room for what is then known of the exchange.
    pub(super) fn take(&mut self, parcel: &mut Parcel, key: &ChainKey, desk: &mut Desk) -> bool {
        let capture = Arc::clone(&desk.capture);
        self.open(parcel, &capture);
        self.arrived = Some(parcel.arrived);
        let mut reading = parcel.read();
        let mut marks = parcel.marks.iter().peekable();
        while let Some(mark) = marks.next() {
            let len = usize::try_from(mark.len).unwrap_or(usize::MAX);
            match mark.kind {
                MarkKind::Upload(kept) => {
                    self.upload_bytes += u64::from(mark.len);
                    let last = marks
                        .peek()
                        .is_some_and(|next| next.kind == MarkKind::UploadEnd);
                    match reading.next(kept, len) {
                        Some(_) if self.trouble.is_some() || !self.is_read() => {}
                        // A body of one piece is read where it lies.
                        Some(Pieces::One(body)) if last && self.upload.is_empty() => {
                            self.read_request(body, key, &capture);
                        }
                        Some(pieces) => {
                            if self.upload.capacity() == 0 {
                                self.upload = std::mem::take(&mut desk.spare);
                            }
                            pieces.each(|bytes| self.upload.extend_from_slice(bytes));
                        }
                        None if self.upload_bytes > capture.max_body => {
                            self.is_in_trouble(ShapeStatus::TooLarge);
                        }
                        None => self.is_in_trouble(ShapeStatus::Shed),
                    }
                }
                MarkKind::UploadEnd => self.end_upload(key, desk),
                MarkKind::Sent => self.sent_us = Some(mark.at_us),
                MarkKind::Tunnelled(Side::Client) => self.upload_bytes += u64::from(mark.len),
                MarkKind::Tunnelled(Side::Upstream) => {
                    self.response_bytes += u64::from(mark.len);
                    self.first_byte_us.get_or_insert(mark.at_us);
                }
                MarkKind::Frames(..) if self.endpoint() != Endpoint::Realtime => {}
                MarkKind::Frames(side, count) => {
                    let frames = self.frames.get_or_insert_default();
                    match side {
                        Side::Client => frames.sent(count, mark.len),
                        Side::Upstream => frames.came(mark.at_us, count),
                    }
                }
                MarkKind::Data(kept) => {
                    self.response_bytes += u64::from(mark.len);
                    self.first_byte_us.get_or_insert(mark.at_us);
                    match reading.next(kept, len) {
                        Some(_) if self.response_bytes > capture.max_body && !self.is_stream() => {
                            self.is_in_trouble(ShapeStatus::TooLarge);
                        }
                        Some(pieces) => {
                            pieces.each(|bytes| self.read_response(mark.at_us, bytes, desk));
                        }
                        None => self.is_in_trouble(ShapeStatus::Shed),
                    }
                }
            }
        }
        self.alive = parcel.alive.take();
        self.grpc_status = parcel.grpc_status.or(self.grpc_status);
        if let Some(closing) = parcel.closing {
            self.end_upload(key, desk);
            self.closing = Some(closing);
            // It is let go at once.
            return true;
        }
        self.weigh(&capture.ledger, 0, Share::Bodies) || {
            self.is_in_trouble(ShapeStatus::Shed);
            self.weigh(&capture.ledger, 0, Share::All)
        }
    }

    fn open(&mut self, parcel: &Parcel, capture: &Capture) {
        let mut texts = Cursor(&parcel.texts);
        if let Some(opening) = parcel.opening {
            let path = String::from_utf8_lossy(texts.next(opening.path_len));
            let encoding = String::from_utf8_lossy(texts.next(opening.encoding_len));
            // Reading a path is a dialect's work too.
            let read = guarded(|| {
                let Detected {
                    endpoint,
                    if_body_fits,
                } = detect(&capture.dialects, opening.method, &path);
                let model = model_in_path(endpoint, &path).map(Private::new);
                (endpoint, if_body_fits, model)
            });
            let (endpoint, unsettled, model) = read.unwrap_or((Endpoint::Other, false, None));
            self.endpoint = Some(endpoint);
            self.unsettled = unsettled;
            self.model = model;
            self.coded = Some(Coded::named(&encoding));
            if capture.mirror.is_some() {
                self.path = path.into_owned();
            }
            self.opening = Some(opening);
        }
        if let Some(head) = parcel.head {
            self.content_type = String::from_utf8_lossy(texts.next(head.type_len)).into_owned();
            self.content_encoding =
                String::from_utf8_lossy(texts.next(head.encoding_len)).into_owned();
            self.head = Some(head);
        }
    }

    /// Charges what is held here, and `more`.
    fn weigh(&mut self, ledger: &Arc<Ledger>, more: usize, share: Share) -> bool {
        let held = size_of::<Self>()
            + self.upload.capacity()
            + self.content_type.capacity()
            + self.path.capacity()
            + self.content_encoding.capacity()
            + self.frames.as_ref().map_or(0, |frames| frames.held_bytes())
            + self.model.as_ref().map_or(0, Private::held_bytes)
            + self.request.as_ref().map_or(0, RequestSight::held_bytes)
            + self
                .response
                .as_ref()
                .map_or(0, ResponseObserver::held_bytes);
        let bytes = (held + more) as u64;
        match &mut self.charge {
            Some(charge) => charge.resize(bytes, share),
            None => {
                self.charge = ledger.charge(bytes, share);
                self.charge.is_some()
            }
        }
    }

    /// Whether there is room to read a body: text that holds escapes is written out, part by part.
    fn may_read(&mut self, ledger: &Arc<Ledger>, body: usize) -> bool {
        body <= READ_AT_ONCE || self.weigh(ledger, 2 * body, Share::Bodies)
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.unwrap_or(Endpoint::Other)
    }

    /// Whether a dialect reads this exchange's bodies.
    fn is_read(&self) -> bool {
        self.endpoint().is_read()
    }

    fn is_stream(&self) -> bool {
        is_stream(self.endpoint(), &self.content_type)
    }

    fn is_in_trouble(&mut self, status: ShapeStatus) {
        let worse = self
            .trouble
            .is_none_or(|now| severity(status) > severity(now));
        if worse {
            self.trouble = Some(status);
        }
        if status != ShapeStatus::Unparsable {
            self.upload = Vec::new();
            self.response = None;
        }
    }

    fn end_upload(&mut self, key: &ChainKey, desk: &mut Desk) {
        if !self.upload_ended {
            let body = std::mem::take(&mut self.upload);
            self.read_request(&body, key, &desk.capture);
            desk.put_back(body);
        }
    }

    fn read_request(&mut self, body: &[u8], key: &ChainKey, capture: &Capture) {
        self.upload_ended = true;
        if self.trouble.is_some() || !self.is_read() {
            return;
        }
        match self.coded {
            None | Some(Coded::Plain) => {
                self.read_plain(body, key, &capture.ledger);
                self.mirror(body, capture);
            }
            Some(Coded::By(coding)) => match self.decoded(body, coding, capture) {
                Ok(body) => {
                    self.read_plain(&body, key, &capture.ledger);
                    self.mirror(&body, capture);
                }
                Err(status) => self.is_in_trouble(status),
            },
            Some(Coded::Unknown) => self.is_in_trouble(ShapeStatus::Unparsable),
        }
    }

    /// Offers a request that was read to the mirror, where there is one that wants it.
    fn mirror(&mut self, body: &[u8], capture: &Capture) {
        let (Some(mirror), Some(_)) = (&capture.mirror, &self.request) else {
            return;
        };
        let is_probe = self.opening.is_some_and(|opening| opening.probe);
        if !is_probe && mirror.wants(self.endpoint(), self.conversation()) {
            self.mirrored = mirror.offer(self.endpoint(), &self.path, body);
        }
    }

    /// A coded body, undone within the bound on bodies and, piece by piece, the ledger's.
    fn decoded(
        &mut self,
        body: &[u8],
        coding: Coding,
        capture: &Capture,
    ) -> Result<Vec<u8>, ShapeStatus> {
        let mut decoder = Decoder::new(coding, capture.max_body).ok_or(ShapeStatus::Shed)?;
        let mut plain = Vec::new();
        for piece in body.chunks(DECODED_AT_ONCE) {
            let fed = guarded(|| {
                trip_over(piece);
                decoder.feed(piece, |bytes| plain.extend_from_slice(bytes))
            });
            match fed {
                Ok(Ok(())) => {}
                Ok(Err(Undecodable::Malformed)) => return Err(ShapeStatus::Unparsable),
                Ok(Err(Undecodable::TooLarge)) => return Err(ShapeStatus::TooLarge),
                Err(Panicked) => return Err(ShapeStatus::Failed),
            }
            if !self.may_read(&capture.ledger, plain.capacity()) {
                return Err(ShapeStatus::Shed);
            }
        }
        Ok(plain)
    }

    fn read_plain(&mut self, body: &[u8], key: &ChainKey, ledger: &Arc<Ledger>) {
        if !self.may_read(ledger, body.len()) {
            return self.is_in_trouble(ShapeStatus::Shed);
        }
        let endpoint = self.endpoint();
        let read = || {
            trip_over(body);
            observe_request(endpoint, body, key)
        };
        let unsettled = std::mem::take(&mut self.unsettled);
        match guarded(read) {
            Ok(Ok(sight)) => self.request = Some(sight),
            // Another server's, of which nothing is known.
            Ok(Err(_)) if unsettled => self.is_other(),
            Ok(Err(Unparsable::Body(_))) => self.is_in_trouble(ShapeStatus::Unparsable),
            Ok(Err(Unparsable::TooMany(_))) => self.is_in_trouble(ShapeStatus::TooLarge),
            Err(Panicked) => self.is_in_trouble(ShapeStatus::Failed),
        }
    }

    fn is_other(&mut self) {
        self.endpoint = Some(Endpoint::Other);
        self.response = None;
    }

    fn read_response(&mut self, at_us: u64, bytes: &[u8], desk: &Desk) {
        if !self.is_read()
            || self
                .trouble
                .is_some_and(|trouble| trouble != ShapeStatus::Unparsable)
        {
            return;
        }
        if self.response.is_none() {
            let Ok(observer) = guarded(|| self.response_observer(desk)) else {
                return self.is_in_trouble(ShapeStatus::Failed);
            };
            self.response = Some(observer);
        }
        let Some(observer) = &mut self.response else {
            return;
        };
        let read = || {
            trip_over(bytes);
            observer.data(at_us, bytes);
        };
        if guarded(read).is_err() {
            self.is_in_trouble(ShapeStatus::Failed);
        }
    }

    fn response_observer(&self, desk: &Desk) -> ResponseObserver {
        let text = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let (content_type, content_encoding) =
            (text(&self.content_type), text(&self.content_encoding));
        let head = ResponseHead {
            status: self.head.map_or(0, |head| head.status),
            content_type: content_type.as_deref(),
            content_encoding: content_encoding.as_deref(),
        };
        ResponseObserver::new(self.endpoint(), head, desk.every_gap).within(desk.capture.max_body)
    }

    /// Which file holds it as in flight.
    pub(super) fn announced(&self) -> u64 {
        self.announced
    }

    /// What is known of it at `now`, while it is in flight, for the file of `generation`; `None` where that holds it already, where
    /// it has not been in flight for `long`, and where it is not to be recorded.
    pub(super) fn announce(
        &mut self,
        generation: u64,
        now: Instant,
        long: Duration,
        epoch: Instant,
    ) -> Option<(Sighting, Option<Conversation>)> {
        let (opening, arrived) = (self.opening?, self.arrived?);
        let age = now.saturating_duration_since(arrived);
        if self.announced == generation || age < long || opening.probe {
            return None;
        }
        self.announced = generation;
        let shape = match (self.trouble, &self.request) {
            (Some(trouble), _) => trouble,
            (None, Some(_)) => ShapeStatus::Known,
            (None, None) => ShapeStatus::Generic,
        };
        let conversation = self.conversation();
        let known = self.known(self.request.clone(), None);
        let exchange = Exchange {
            in_flight: opening.in_flight,
            shape,
            request: known.shape,
            response: ResponseShape {
                status: self.head.map_or(0, |head| head.status),
                headers_us: self.head.map(|head| head.at_us),
                first_byte_us: self.first_byte_us,
                bytes: self.response_bytes,
                ..ResponseShape::default()
            },
            outcome: Outcome::InFlight { at_us: micros(age) },
            ..Exchange::bare(since(epoch, arrived), self.endpoint(), opening.method)
        };
        let sighting = Sighting {
            model: known.model.or_else(|| self.model.clone()),
            chain: known.chain,
            named: opening.conversation,
            turns: known.turns,
            prompt_tokens: known.tokens,
            ..Sighting::of(exchange)
        };
        Some((sighting, conversation))
    }

    /// Which conversation it is a turn of: by the client's own word, else by how its prompt begins.
    fn conversation(&self) -> Option<Conversation> {
        let named = self.opening.and_then(|opening| opening.conversation);
        named.or(self.request.as_ref()?.prompt.conversation)
    }
}

/// An instant as trace time.
pub(super) fn since(epoch: Instant, at: Instant) -> TraceTime {
    TraceTime::from_us(micros(at.saturating_duration_since(epoch)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A coded body is decoded so much at a time before the ledger is asked again.
const DECODED_AT_ONCE: usize = 64 << 10;
/// Bodies up to this are read without asking for room: only one is read at a time.
const READ_AT_ONCE: usize = 256 << 10;

/// Which trouble is told of when there are several: the recorder's own before the traffic's.
fn severity(status: ShapeStatus) -> u8 {
    match status {
        ShapeStatus::Failed => 4,
        ShapeStatus::Shed => 3,
        ShapeStatus::TooLarge => 2,
        ShapeStatus::Unparsable => 1,
        ShapeStatus::Known | ShapeStatus::Generic => 0,
    }
}

/// Hands out a slice from its front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn next(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at_checked(len).unwrap_or((self.0, &[]));
        self.0 = rest;
        front
    }
}

mod announce;
mod bodies;
mod desk;
mod finish;

pub(super) use self::desk::Desk;
pub(in crate::record) use self::finish::Finished;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frames::FramesSeen;
use super::pace::Pace;
use super::reading::guarded;
use crate::anonymise::{ChainKey, Conversation, Disguise, Private};
use crate::dialect::{
    Coded, Detected, RequestSight, ResponseObserver, Told, detect, is_stream, media_type,
    model_in_path,
};
use crate::pieced::Pieced;
use crate::record::mirror::Offered;
use crate::record::tape::capture::Capture;
use crate::record::tape::ledger::{Charge, Ledger, Share};
use crate::record::tape::parcel::{Closing, Head, MarkKind, Opening, Parcel, Pieces, Side};
use crate::shape::{Endpoint, MediaType, ShapeStatus, TraceTime};

/// One exchange being put together from its parcels.
#[derive(Default)]
pub(super) struct Assembly {
    opening: Option<Opening>,
    arrived: Option<Instant>,
    /// The generation of the file that holds it as in flight; 0 where none does.
    announced: u64,
    /// What files that hold it as in flight have of it that is not so.
    disguise: Disguise,
    endpoint: Option<Endpoint>,
    /// What that rests on. Where it is not the path alone, the request's body has to be read first; and where it is the body alone, the answer has
    /// to bear it out.
    told: Told,
    /// The model that the path names.
    model: Option<Private>,
    /// The path, where a mirror may want it.
    path: String,
    /// What a mirror has made of the request.
    mirrored: Offered,
    /// From the arrival to the latest piece of the request.
    upload_us: u64,
    /// How the request's body is coded.
    coded: Option<Coded>,
    /// The request's body until it is read.
    upload: Pieced<u8>,
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
    /// When pieces of an answer came that no dialect reads.
    pace: Option<Box<Pace>>,
    alive: Option<Arc<()>>,
    /// What everything here weighs on the ledger.
    charge: Option<Charge>,
}

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
                    self.upload_us = mark.at_us;
                    let last = marks
                        .peek()
                        .is_some_and(|next| next.kind == MarkKind::UploadEnd);
                    match reading.next(kept, len) {
                        Some(_) if self.trouble.is_some() || !self.request_is_read() => {}
                        // A body of one piece is read where it lies.
                        Some(Pieces::One(body)) if last && self.upload.is_empty() => {
                            self.read_at_once(body, key, &capture);
                        }
                        Some(pieces) => {
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
                        Side::Client => {
                            frames.sent(mark.at_us, count, mark.len, desk.every_gap);
                        }
                        Side::Upstream => {
                            frames.came(mark.at_us, count, mark.len, desk.every_gap);
                        }
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
                            pieces.each(|bytes| self.read_response(mark.at_us, bytes, key, desk));
                        }
                        None => self.is_in_trouble(ShapeStatus::Shed),
                    }
                    if !self.is_read() {
                        let pace = self.pace.get_or_insert_default();
                        pace.beat(mark.at_us, desk.every_gap);
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
                let Detected { endpoint, told } = detect(&capture.dialects, opening.method, &path);
                let model = model_in_path(endpoint, &path).map(Private::new);
                let silent = told == Told::ByBody && opening.media_type != MediaType::Json;
                (endpoint, if silent { Told::ByPath } else { told }, model)
            });
            let (endpoint, told, model) = read.unwrap_or((Endpoint::Other, Told::ByPath, None));
            self.endpoint = Some(endpoint);
            self.told = told;
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
            + self.upload.held_bytes()
            + self.content_type.capacity()
            + self.path.capacity()
            + self.content_encoding.capacity()
            + self.frames.as_ref().map_or(0, |frames| frames.held_bytes())
            + self
                .pace
                .as_ref()
                .map_or(0, |pace| size_of::<Pace>() + pace.held_bytes())
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

    fn endpoint(&self) -> Endpoint {
        self.endpoint.unwrap_or(Endpoint::Other)
    }

    /// Whether a dialect reads this exchange's bodies.
    fn is_read(&self) -> bool {
        self.endpoint().is_read()
    }

    /// Whether the request's body is read: by a dialect, or to find out which.
    fn request_is_read(&self) -> bool {
        self.is_read() || self.told == Told::ByBody
    }

    /// Whether the body that has to tell the endpoint has not been read.
    fn awaits_body(&self) -> bool {
        self.told != Told::ByPath && self.request.is_none()
    }

    fn is_stream(&self) -> bool {
        is_stream(self.endpoint(), &self.content_type)
    }

    /// What the heads say that bodies are which no dialect reads: the request's and the answer's.
    fn media_types(&self) -> [MediaType; 2] {
        if self.is_read() {
            return [MediaType::Unsaid; 2];
        }
        let asked = self.opening.map(|opening| opening.media_type);
        let answered = self.head.map(|_| media_type(self.content_type.as_bytes()));
        [asked, answered].map(Option::unwrap_or_default)
    }

    fn is_in_trouble(&mut self, status: ShapeStatus) {
        let worse = self
            .trouble
            .is_none_or(|now| severity(status) > severity(now));
        if worse {
            self.trouble = Some(status);
        }
        if status != ShapeStatus::Unparsable {
            self.upload = Pieced::default();
            self.response = None;
        }
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

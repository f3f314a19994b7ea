//! Bodies as they are read: the request's at once, the answer's as it comes.

use std::sync::Arc;

use super::super::reading::{Panicked, guarded, trip_over};
use super::{Assembly, Desk};
use crate::anonymise::ChainKey;
use crate::dialect::{
    Coded, Coding, Decoder, ResponseHead, ResponseObserver, ResponseSight, Told, Undecodable,
    Unparsable, endpoint_of_body, observe_request,
};
use crate::pieced::Pieced;
use crate::record::mirror::Offer;
use crate::record::tape::capture::Capture;
use crate::record::tape::ledger::{Ledger, Share};
use crate::shape::{Dialect, Endpoint, ShapeStatus};

impl Assembly {
    pub(super) fn end_upload(&mut self, key: &ChainKey, desk: &mut Desk) {
        if self.upload_ended {
            return;
        }
        let upload = std::mem::take(&mut self.upload);
        // Room for it beside what is made of it, before it is there side by side.
        self.asks_to_read(upload.len(), &desk.capture);
        let body = match self.trouble {
            None => upload.into_whole(&mut desk.spare),
            Some(_) => Vec::new(),
        };
        self.read_request(&body, key, &desk.capture);
        desk.put_back(body);
    }

    /// A body that lies there whole.
    pub(super) fn read_at_once(&mut self, body: &[u8], key: &ChainKey, capture: &Capture) {
        self.asks_to_read(body.len(), capture);
        self.read_request(body, key, capture);
    }

    fn asks_to_read(&mut self, body: usize, capture: &Capture) {
        if !self.may_read(&capture.ledger, body, 0) {
            self.is_in_trouble(ShapeStatus::Shed);
        }
    }

    fn read_request(&mut self, body: &[u8], key: &ChainKey, capture: &Capture) {
        self.upload_ended = true;
        if self.trouble.is_some() || !self.request_is_read() {
            return;
        }
        match self.coded {
            None | Some(Coded::Plain) => {
                self.read_plain(body, key);
                self.mirror(body, capture);
            }
            Some(Coded::By(coding)) => match self.decoded(body, coding, capture) {
                Ok(body) => {
                    self.read_plain(&body, key);
                    self.mirror(&body, capture);
                }
                Err(status) => self.is_undecoded(status),
            },
            Some(Coded::Unknown) => self.is_undecoded(ShapeStatus::Unparsable),
        }
    }

    /// A body that cannot be read for its coding is of no dialect's form, and where that has to tell, another server's.
    fn is_undecoded(&mut self, status: ShapeStatus) {
        match std::mem::take(&mut self.told) {
            Told::IfBodyFits | Told::ByBody if status == ShapeStatus::Unparsable => self.is_other(),
            _ => self.is_in_trouble(status),
        }
    }

    /// Offers a request that was read to the mirror, where there is one that wants it. One whose answer has yet to tell what it is may
    /// generate nothing.
    fn mirror(&mut self, body: &[u8], capture: &Capture) {
        let guessed = self.told == Told::ByBody;
        let (Some(mirror), Some(_), false) = (&capture.mirror, &self.request, guessed) else {
            return;
        };
        let is_probe = self.opening.is_some_and(|opening| opening.probe);
        let (endpoint, conversation) = (self.endpoint(), self.conversation());
        if !is_probe && mirror.wants(endpoint, conversation) {
            self.mirrored = mirror.offer(&Offer {
                endpoint,
                conversation,
                path: &self.path,
                body,
                arrived: self.arrived,
                upload_us: self.upload_us,
            });
        }
    }

    fn read_plain(&mut self, body: &[u8], key: &ChainKey) {
        let told = std::mem::take(&mut self.told);
        let by_path = self.endpoint();
        let read = || {
            trip_over(body);
            let endpoint = match told {
                Told::ByPath | Told::IfBodyFits => by_path,
                Told::ByBody => endpoint_of_body(body).ok_or(Unparsable::Body(Dialect::Generic))?,
            };
            observe_request(endpoint, body, key).map(|sight| (endpoint, sight))
        };
        match guarded(read) {
            Ok(Ok((endpoint, sight))) => {
                self.endpoint = Some(endpoint);
                self.told = told;
                self.request = Some(sight);
            }
            // Another server's, of which nothing is known.
            Ok(Err(_)) if told != Told::ByPath => self.is_other(),
            Ok(Err(Unparsable::Body(_))) => self.is_in_trouble(ShapeStatus::Unparsable),
            Ok(Err(Unparsable::TooMany(_))) => self.is_in_trouble(ShapeStatus::TooLarge),
            Err(Panicked) => self.is_in_trouble(ShapeStatus::Failed),
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
        let mut plain = Pieced::default();
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
            if !self.may_read(&capture.ledger, plain.held_bytes(), body.len()) {
                return Err(ShapeStatus::Shed);
            }
        }
        Ok(plain.into_whole(&mut Vec::new()))
    }

    /// Whether there is room to read a body, with so many bytes of its coded form beside it: text that holds escapes is written out,
    /// part by part.
    pub(super) fn may_read(&mut self, ledger: &Arc<Ledger>, body: usize, coded: usize) -> bool {
        coded + body <= READ_AT_ONCE || self.weigh(ledger, coded + 2 * body, Share::Bodies)
    }

    pub(super) fn is_other(&mut self) {
        self.endpoint = Some(Endpoint::Other);
        self.told = Told::ByPath;
        self.request = None;
        self.response = None;
    }

    /// Whether an endpoint that only the request's body speaks for can be this one, by a whole answer: something was generated.
    pub(super) fn is_borne_out(&self, answer: &ResponseSight) -> bool {
        match self.head.map_or(0, |head| head.status) {
            // There is nothing here, or nothing that is asked so.
            404 | 405 => false,
            200..=299 => {
                let read = self.trouble.is_none() && !answer.encoded && !answer.too_large;
                let generated = answer.output_tokens.is_some()
                    || answer.finish.is_some()
                    || answer.token_events > 0
                    || answer.answer_bytes > 0;
                !read || generated || answer.error
            }
            _ => true,
        }
    }

    pub(super) fn read_response(&mut self, at_us: u64, bytes: &[u8], key: &ChainKey, desk: &Desk) {
        if self.told == Told::ByBody && self.awaits_body() {
            // An answer that does not wait for the question: what began unread is not read from its middle on.
            self.told = Told::ByPath;
            self.upload = Pieced::default();
        }
        if !self.is_read()
            || self
                .trouble
                .is_some_and(|trouble| trouble != ShapeStatus::Unparsable)
        {
            return;
        }
        if self.response.is_none() {
            let Ok(observer) = guarded(|| self.response_observer(key, desk)) else {
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

    fn response_observer(&self, key: &ChainKey, desk: &Desk) -> ResponseObserver {
        let text = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let (content_type, content_encoding) =
            (text(&self.content_type), text(&self.content_encoding));
        let head = ResponseHead {
            status: self.head.map_or(0, |head| head.status),
            content_type: content_type.as_deref(),
            content_encoding: content_encoding.as_deref(),
        };
        ResponseObserver::new(self.endpoint(), head, desk.every_gap)
            .within(desk.capture.max_body)
            .counting_with(key.tokenizer())
    }
}

/// A coded body is decoded so much at a time before the ledger is asked again.
const DECODED_AT_ONCE: usize = 64 << 10;
/// Bodies up to this are read without asking for room: only one is read at a time.
const READ_AT_ONCE: usize = 256 << 10;

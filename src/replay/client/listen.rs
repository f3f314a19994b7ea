use std::time::SystemTime;

use super::retry_after;
use super::talk::{Cut, Listener};
use crate::dialect::{
    AnswerReader, ResponseHead as Head, ResponseObserver, ResponseSight, tells_of_memory,
};
use crate::net::http1::ResponseHead;
use crate::net::is_simulated;
use crate::replay::synthesise::{Cancel, Prepared};
use crate::replay::{FailureKind, RequestOutcome};
use crate::shape::Endpoint;

/// Notes what an answer shows.
pub(super) struct Hearing<'a> {
    outcome: &'a mut RequestOutcome,
    endpoint: Endpoint,
    /// Token events after which the recorded client went.
    patience: u32,
    observer: Option<ResponseObserver>,
    wants_text: bool,
    text: Option<AnswerReader>,
    /// What the status says, if it is no success.
    refusal: Option<FailureKind>,
    /// Bytes of a refusal's body so far.
    drained: usize,
}

/// What an answer came to.
pub(super) struct Heard {
    pub(super) refusal: Option<FailureKind>,
    /// What its body showed, if it was no refusal.
    pub(super) sight: Option<ResponseSight>,
    pub(super) text: Option<AnswerReader>,
}

/// Bytes of an error's body that are read, so that its connection can be used again; and of a small answer.
const MOST_BYTES: usize = 1 << 20;

impl<'a> Hearing<'a> {
    pub(super) fn new(prepared: &Prepared, outcome: &'a mut RequestOutcome) -> Self {
        Self {
            outcome,
            endpoint: prepared.endpoint,
            patience: match prepared.cancel {
                Some(Cancel::TokenEvents(events)) => events,
                _ => u32::MAX,
            },
            observer: None,
            wants_text: prepared.answer.is_some(),
            text: None,
            refusal: None,
            drained: 0,
        }
    }

    pub(super) fn finish(self) -> Heard {
        Heard {
            refusal: self.refusal,
            sight: self.observer.map(ResponseObserver::finish),
            text: self.text,
        }
    }

    fn has_lost_patience(&self) -> bool {
        let events = self.observer.as_ref().map(ResponseObserver::token_events);
        events.is_some_and(|events| events >= self.patience)
    }
}

impl Listener for Hearing<'_> {
    fn head(&mut self, at_us: u64, head: &ResponseHead<'_>) {
        let outcome = &mut *self.outcome;
        outcome.headers_us = Some(at_us);
        outcome.status = Some(head.status);
        outcome.simulated = is_simulated(head.server);
        self.refusal = FailureKind::of_status(head.status);
        if self.refusal.is_some() {
            outcome.retry_after_s = head
                .field("retry-after")
                .and_then(text)
                .and_then(|value| retry_after::seconds(value, SystemTime::now()));
            return;
        }
        let content_type = text(head.content_type);
        let seen = Head {
            status: head.status,
            content_type,
            content_encoding: text(head.content_encoding),
        };
        self.observer = Some(ResponseObserver::new(self.endpoint, seen, true));
        if self.wants_text {
            self.text = Some(AnswerReader::new(self.endpoint, content_type));
        }
    }

    fn data(&mut self, at_us: u64, bytes: &[u8]) {
        if self.refusal.is_some() {
            self.drained += bytes.len();
            self.outcome.out_of_memory |= tells_of_memory(bytes);
        }
        // What came with the last event that the client waited for came too late for it.
        if self.has_lost_patience() {
            return;
        }
        if let Some(observer) = &mut self.observer {
            observer.data(at_us, bytes);
        }
        if let Some(text) = &mut self.text {
            text.data(bytes);
        }
    }

    fn enough(&self) -> Option<Cut> {
        if let Some(kind) = self.refusal
            && self.drained > MOST_BYTES
        {
            return Some(Cut::Failed(kind));
        }
        self.has_lost_patience().then_some(Cut::Cancelled)
    }
}

/// A small answer, read whole.
#[derive(Default)]
pub(in crate::replay) struct Fetched {
    pub(in crate::replay) status: u16,
    pub(in crate::replay) simulated: bool,
    pub(in crate::replay) body: Vec<u8>,
}

impl Listener for Fetched {
    fn head(&mut self, _at_us: u64, head: &ResponseHead<'_>) {
        self.status = head.status;
        self.simulated = is_simulated(head.server);
    }

    fn data(&mut self, _at_us: u64, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
    }

    fn enough(&self) -> Option<Cut> {
        (self.body.len() > MOST_BYTES).then_some(Cut::Failed(FailureKind::Truncated))
    }
}

/// A field's value, where there is one that reads as text.
fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty())
}

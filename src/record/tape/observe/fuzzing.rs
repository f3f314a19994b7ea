//! See [`crate::fuzzing`].

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::assembly::{Assembly, Desk};
use crate::anonymise::{Anonymiser, ChainKey, Policy, Recordable};
use crate::record::tape::accounts::Accounts;
use crate::record::tape::capture::Capture;
use crate::record::tape::parcel::{Closing, End, Head, Kept, Mark, MarkKind, Opening, Parcel};
use crate::shape::{MediaType, Method, TraceTime};

/// One exchange's bodies, in the pieces in which they came.
pub struct Bodies<'a> {
    /// The request's path.
    pub path: &'a str,
    /// The answer's media type.
    pub content_type: &'a str,
    /// The request's body.
    pub request: Vec<&'a [u8]>,
    /// The answer's body.
    pub response: Vec<&'a [u8]>,
}

/// What is recorded of each of these exchanges, through a gate of its own, to which the second of two is no later conversation.
/// Everything happens at the same moment.
pub fn recorded(all: &[Bodies<'_>]) -> Vec<Recordable> {
    let key = ChainKey::from_bytes([3; 16]);
    let accounts = Arc::new(Accounts::default());
    let capture = Arc::new(Capture::new(MEMORY_BYTES, MAX_BODY_BYTES, accounts));
    let mut desk = Desk::new(Arc::clone(&capture), true);
    let mut finish = |bodies: &Bodies<'_>| {
        let mut assembly = Assembly::default();
        let mut parcel = opening(&capture, bodies);
        for piece in &bodies.request {
            put(&mut parcel, MarkKind::Upload, piece);
        }
        mark(&mut parcel, 0, MarkKind::UploadEnd);
        assembly.take(&mut parcel, &key, &mut desk);
        // Every piece of the answer may come in a parcel of its own.
        for piece in &bodies.response {
            let mut parcel = blank(&capture);
            put(&mut parcel, MarkKind::Data, piece);
            assembly.take(&mut parcel, &key, &mut desk);
        }
        let mut parcel = blank(&capture);
        parcel.closing = Some(Closing {
            at_us: NOW_US,
            end: End::Whole,
            answered: None,
            reader_wait_us: 0,
        });
        assembly.take(&mut parcel, &key, &mut desk);
        let at = TraceTime::from_us(0);
        assembly.finish(at, &capture.ledger).sighting
    };
    let admit = |bodies| {
        let mut gate = Anonymiser::within(Policy::default(), key.clone(), MEMORY_BYTES);
        gate.admit(finish(bodies))
    };
    all.iter().map(admit).collect()
}

fn blank(capture: &Capture) -> Box<Parcel> {
    capture.parcel(1, Instant::now()).0
}

fn opening(capture: &Capture, bodies: &Bodies<'_>) -> Box<Parcel> {
    let mut parcel = blank(capture);
    parcel.opening = Some(Opening {
        method: Method::Post,
        path_len: bodies.path.len(),
        encoding_len: 0,
        media_type: MediaType::Json,
        in_flight: 1,
        probe: false,
        conversation: None,
        new_connection: true,
    });
    parcel.head = Some(Head {
        at_us: NOW_US,
        status: 200,
        type_len: bodies.content_type.len(),
        encoding_len: 0,
        simulated: false,
    });
    parcel.texts.extend_from_slice(bodies.path.as_bytes());
    parcel
        .texts
        .extend_from_slice(bodies.content_type.as_bytes());
    parcel
}

/// Keeps a piece: every other length by reference, in two runs of a read that holds more than the piece.
fn put(parcel: &mut Parcel, kind: fn(Kept) -> MarkKind, piece: &[u8]) {
    let (len, middle) = (piece.len(), piece.len() / 2);
    let kept = if len % 2 == 0 {
        parcel.copy(piece, &[0..middle, middle..len])
    } else {
        let (front, back) = piece.split_at(middle);
        let read = [b"head", front, b"between", back, b"rest"].concat();
        let second = b"head".len() + middle + b"between".len();
        let runs = [4..4 + middle, second..second + back.len()];
        parcel.refer(Bytes::from(read), &runs)
    };
    mark(parcel, len, kind(kept));
}

fn mark(parcel: &mut Parcel, len: usize, kind: MarkKind) {
    parcel.marks.push(Mark {
        at_us: NOW_US,
        len: u32::try_from(len).unwrap_or(u32::MAX),
        kind,
    });
}

const NOW_US: u64 = 7;
const MEMORY_BYTES: u64 = 64 << 20;
const MAX_BODY_BYTES: u64 = 1 << 20;

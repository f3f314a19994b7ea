//! What the traffic path hands to the observer.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::anonymise::Conversation;
use crate::record::tape::buffers::Buffers;
use crate::record::tape::ledger::Charge;
use crate::shape::{MediaType, Method};

/// What the traffic path saw of one exchange, or of a part of it, in order. The body bytes of small pieces are copied (a
/// copy of a few hundred bytes costs less than pinning the read buffer they lie in); those of larger ones are references.
pub(in crate::record) struct Parcel {
    /// Unique in this process.
    pub(in crate::record) id: u64,
    pub(in crate::record) arrived: Instant,
    pub(in crate::record) opening: Option<Opening>,
    pub(in crate::record) head: Option<Head>,
    pub(in crate::record) marks: Vec<Mark>,
    /// The request's path and content encoding, the answer's content type and content encoding, one after another.
    pub(in crate::record) texts: Vec<u8>,
    /// Bytes of copied pieces, one after another.
    copies: Vec<u8>,
    /// Reads that are referenced, and where in them the pieces lie.
    references: Vec<Bytes>,
    runs: Vec<Range<u32>>,
    /// What the references weigh: each at least the read buffer that it pins.
    pinned: usize,
    pub(in crate::record) closing: Option<Closing>,
    /// What an answer over gRPC says of itself at its end.
    pub(in crate::record) grpc_status: Option<u16>,
    /// Held by the exchange as long as it may still send parcels, where it sends more than one.
    pub(in crate::record) alive: Option<Arc<()>>,
    pub(super) charge: Option<Charge>,
    /// Its bodies were let go, or are not to be kept.
    pub(in crate::record) shed: bool,
}

/// How an exchange began.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct Opening {
    pub(in crate::record) method: Method,
    pub(in crate::record) path_len: usize,
    pub(in crate::record) encoding_len: usize,
    /// What its head says that its body is.
    pub(in crate::record) media_type: MediaType,
    pub(in crate::record) in_flight: u32,
    pub(in crate::record) probe: bool,
    /// The conversation that the client's header names.
    pub(in crate::record) conversation: Option<Conversation>,
    /// It was the first request on its client's connection.
    pub(in crate::record) new_connection: bool,
}

/// The response's head.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct Head {
    pub(in crate::record) at_us: u64,
    pub(in crate::record) status: u16,
    pub(in crate::record) type_len: usize,
    pub(in crate::record) encoding_len: usize,
    pub(in crate::record) simulated: bool,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct Closing {
    pub(in crate::record) at_us: u64,
    pub(in crate::record) end: End,
    /// The status that the recorder itself answered with, where it did.
    pub(in crate::record) answered: Option<u16>,
    /// How long the answer waited for its client to take more of it, until then.
    pub(in crate::record) reader_wait_us: u64,
}

/// Who ended an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum End {
    /// The response was whole.
    Whole,
    /// The client went away.
    ClientCancelled,
    /// No connection to the upstream.
    Refused,
    /// The upstream broke off, or spoke no HTTP.
    Reset,
    /// The upstream was silent for too long.
    Timeout,
    /// The recorder itself stopped before the exchange was over, or refused it.
    Cut,
}

/// One thing that happened on the way, and when.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct Mark {
    pub(in crate::record) at_us: u64,
    /// Bytes of the piece.
    pub(in crate::record) len: u32,
    pub(in crate::record) kind: MarkKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum MarkKind {
    /// A piece of the request's body.
    Upload(Kept),
    /// The request's body was whole.
    UploadEnd,
    /// The request was handed to an upstream connection.
    Sent,
    /// A piece of the response's body.
    Data(Kept),
    /// Bytes of another protocol, after an upgrade.
    Tunnelled(Side),
    /// So many frames of a WebSocket, among those bytes; the piece is their payload.
    Frames(Side, u16),
}

/// Who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Side {
    Client,
    Upstream,
}

/// Where a piece's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Kept {
    Copied,
    /// In the next referenced read, in so many runs.
    Referenced {
        runs: u16,
    },
    /// Nowhere: over a bound.
    SizeOnly,
}

impl Parcel {
    pub(super) fn blank() -> Box<Self> {
        Box::new(Self {
            id: 0,
            arrived: Instant::now(),
            opening: None,
            head: None,
            marks: Vec::with_capacity(16),
            texts: Vec::with_capacity(128),
            copies: Vec::new(),
            references: Vec::new(),
            runs: Vec::new(),
            pinned: 0,
            closing: None,
            grpc_status: None,
            alive: None,
            charge: None,
            shed: false,
        })
    }

    /// Keeps the runs of a read, all of it side by side.
    pub(in crate::record) fn copy(&mut self, read: &[u8], runs: &[Range<usize>]) -> Kept {
        for run in runs {
            let bytes = read.get(run.clone()).unwrap_or_default();
            self.copies.extend_from_slice(bytes);
        }
        Kept::Copied
    }

    /// Keeps the runs of a read by reference. There are fewer than 2¹⁶, in fewer than 2³² bytes.
    pub(in crate::record) fn refer(&mut self, read: Bytes, runs: &[Range<usize>]) -> Kept {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let places = runs.iter().map(|run| place(run.start)..place(run.end));
        self.runs.extend(places);
        self.pinned += read.len().max(Buffers::SIZE);
        self.references.push(read);
        Kept::Referenced {
            runs: u16::try_from(runs.len()).unwrap_or(u16::MAX),
        }
    }

    /// Reads what the marks keep, in their order.
    pub(in crate::record) fn read(&self) -> Reading<'_> {
        Reading {
            copies: &self.copies,
            references: self.references.iter(),
            runs: &self.runs,
        }
    }

    #[cfg(test)]
    pub(super) fn holds_no_bodies(&self) -> bool {
        self.references.is_empty() && self.copies.is_empty()
    }

    /// Whether it holds as much as one may. Short exchanges travel in one parcel.
    pub(in crate::record) fn is_full(&self) -> bool {
        self.marks.len() >= MARKS
            || self.copies.len() >= COPIED_BYTES
            || self.pinned >= PINNED_BYTES
    }

    /// Whether it holds so much of a prompt that the observer should boil it down now, not when the answer is over: streams
    /// are long, and many are open.
    pub(in crate::record) fn is_heavy(&self) -> bool {
        self.copies.len() + self.pinned >= HEAVY_BYTES
    }

    /// What holding it costs.
    pub(super) fn cost(&self) -> u64 {
        (size_of::<Self>()
            + self.marks.capacity() * size_of::<Mark>()
            + self.texts.capacity()
            + self.copies.capacity()
            + self.references.capacity() * size_of::<Bytes>()
            + self.runs.capacity() * size_of::<Range<u32>>()
            + self.pinned) as u64
    }

    /// Forgets the bodies, keeps sizes and moments.
    pub(super) fn let_bodies_go(&mut self) {
        self.shed = true;
        self.copies = Vec::new();
        self.references = Vec::new();
        self.runs = Vec::new();
        self.pinned = 0;
        for mark in &mut self.marks {
            mark.kind = match mark.kind {
                MarkKind::Upload(_) => MarkKind::Upload(Kept::SizeOnly),
                MarkKind::Data(_) => MarkKind::Data(Kept::SizeOnly),
                other => other,
            };
        }
    }

    /// Forgets everything, so that it can be filled again.
    pub(super) fn wipe(&mut self) {
        self.opening = None;
        self.head = None;
        self.marks.clear();
        // What was said is not kept longer than it is needed, nor where to.
        self.texts.fill(0);
        self.texts.clear();
        self.copies.fill(0);
        self.copies.clear();
        self.references.clear();
        self.runs.clear();
        self.pinned = 0;
        self.closing = None;
        self.grpc_status = None;
        self.alive = None;
        self.charge = None;
        self.shed = false;
    }
}

/// Hands out what a parcel keeps, mark by mark.
pub(in crate::record) struct Reading<'a> {
    copies: &'a [u8],
    references: std::slice::Iter<'a, Bytes>,
    runs: &'a [Range<u32>],
}

impl<'a> Reading<'a> {
    /// The bytes of the next mark, which keeps `len` of them so; `None` where they are kept nowhere.
    pub(in crate::record) fn next(&mut self, kept: Kept, len: usize) -> Option<Pieces<'a>> {
        match kept {
            Kept::Copied => {
                let (bytes, rest) = self.copies.split_at_checked(len)?;
                self.copies = rest;
                Some(Pieces::One(bytes))
            }
            Kept::Referenced { runs } => {
                let read = self.references.next()?;
                let (runs, rest) = self.runs.split_at_checked(usize::from(runs))?;
                self.runs = rest;
                match runs {
                    [run] => Some(Pieces::One(part(read, run))),
                    _ => Some(Pieces::Many(read, runs)),
                }
            }
            Kept::SizeOnly => None,
        }
    }
}

/// The bytes of one mark.
#[derive(Clone, Copy)]
pub(in crate::record) enum Pieces<'a> {
    One(&'a [u8]),
    Many(&'a [u8], &'a [Range<u32>]),
}

impl<'a> Pieces<'a> {
    /// Hands them to `take` in order.
    pub(in crate::record) fn each(self, mut take: impl FnMut(&'a [u8])) {
        match self {
            Self::One(bytes) => take(bytes),
            Self::Many(read, runs) => runs.iter().for_each(|run| take(part(read, run))),
        }
    }
}

fn part<'a>(read: &'a [u8], run: &Range<u32>) -> &'a [u8] {
    let (Ok(start), Ok(end)) = (usize::try_from(run.start), usize::try_from(run.end)) else {
        return &[];
    };
    read.get(start..end).unwrap_or_default()
}

/// What a full parcel holds.
const MARKS: usize = 32;
const COPIED_BYTES: usize = 16 << 10;
const PINNED_BYTES: usize = 64 << 10;
const HEAVY_BYTES: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice::from_ref;

    fn read(reading: &mut Reading<'_>, kept: Kept, len: usize) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        if let Some(pieces) = reading.next(kept, len) {
            pieces.each(|bytes| found.push(bytes.to_vec()));
        }
        found
    }

    #[test]
    fn what_is_kept_is_read_back_in_order_however_it_was_kept() {
        let mut parcel = Parcel::blank();
        let whole = Bytes::from_static(b"5\r\nhello\r\n6\r\n world\r\n");
        let kept = [
            parcel.copy(b"xaybz", &[1..2, 3..4]),
            parcel.refer(whole.clone(), &[3..8, 13..19]),
            Kept::SizeOnly,
            parcel.refer(whole, from_ref(&(3..8))),
            parcel.copy(b"c", from_ref(&(0..1))),
        ];
        let mut reading = parcel.read();
        let mut next = |at: usize, len| read(&mut reading, kept[at], len);
        assert_eq!(next(0, 2), [b"ab"]);
        assert_eq!(next(1, 11), [&b"hello"[..], b" world"]);
        assert!(next(2, 9).is_empty());
        assert_eq!(next(3, 5), [b"hello"]);
        assert_eq!(next(4, 1), [b"c"]);
    }

    #[test]
    fn a_reference_weighs_the_buffer_that_it_pins() {
        let mut parcel = Parcel::blank();
        let before = parcel.cost();
        parcel.refer(Bytes::from_static(b"small"), from_ref(&(0..5)));
        assert!(parcel.cost() >= before + Buffers::SIZE as u64);
        assert!(parcel.is_heavy() && !parcel.is_full());
        parcel.wipe();
        assert!(parcel.holds_no_bodies() && parcel.cost() < before + 1024);
    }
}

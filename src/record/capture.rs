//! The way from the traffic path to the observer: a bounded lock-free queue that wakes nobody, and the ledger that bounds
//! the memory of everything behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

use super::accounts::{Accounts, DropReason};
use super::session_header::SessionHeader;
use crate::anonymise::Conversation;
use crate::shape::Method;

/// What the traffic path saw of one exchange, or of a part of it, in order. The body bytes of small pieces are copied (a
/// copy of a few hundred bytes costs less than pinning the read buffer they lie in); those of larger ones are references.
pub(super) struct Parcel {
    /// Unique in this process.
    pub(super) id: u64,
    pub(super) arrived: Instant,
    pub(super) opening: Option<Opening>,
    pub(super) head: Option<Head>,
    pub(super) marks: Vec<Mark>,
    /// Path, content type and content encoding, one after another.
    pub(super) texts: Vec<u8>,
    /// Bytes of copied pieces, one after another.
    pub(super) copies: Vec<u8>,
    /// Bytes of referenced pieces.
    pub(super) references: Vec<Bytes>,
    pub(super) closing: Option<Closing>,
    /// Held by the exchange as long as it may still send parcels, where it sends more than one.
    pub(super) alive: Option<Arc<()>>,
    pub(super) charge: Option<Charge>,
}

/// How an exchange began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) method: Method,
    pub(super) path_len: usize,
    pub(super) in_flight: u32,
    pub(super) probe: bool,
    /// The conversation that the client's header names.
    pub(super) conversation: Option<Conversation>,
}

/// The response's head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) at_us: u64,
    pub(super) status: u16,
    pub(super) type_len: usize,
    pub(super) encoding_len: usize,
    pub(super) simulated: bool,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) at_us: u64,
    pub(super) end: End,
    /// The status that the recorder itself answered with, where it did.
    pub(super) answered: Option<u16>,
}

/// Who ended an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
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
pub(super) struct Mark {
    pub(super) at_us: u64,
    /// Bytes of the piece.
    pub(super) len: u32,
    pub(super) kind: MarkKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkKind {
    /// A piece of the request's body.
    Upload(Kept),
    /// The request's body was whole.
    UploadEnd,
    /// The request was handed to an upstream connection.
    Sent,
    /// A piece of the response's body.
    Data(Kept),
}

/// Where a piece's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Copied,
    Referenced,
    /// Nowhere: over a bound.
    SizeOnly,
}

impl Parcel {
    fn blank() -> Box<Self> {
        Box::new(Self {
            id: 0,
            arrived: Instant::now(),
            opening: None,
            head: None,
            marks: Vec::with_capacity(16),
            texts: Vec::with_capacity(128),
            copies: Vec::new(),
            references: Vec::new(),
            closing: None,
            alive: None,
            charge: None,
        })
    }

    /// What holding it costs. A reference counts for at least the read buffer that it pins.
    fn cost(&self) -> u64 {
        let referenced: usize = self.references.iter().map(|r| r.len().max(PINNED)).sum();
        (size_of::<Self>()
            + self.marks.capacity() * size_of::<Mark>()
            + self.texts.capacity()
            + self.copies.capacity()
            + referenced) as u64
    }

    /// Forgets the bodies, keeps sizes and moments.
    fn let_bodies_go(&mut self) {
        self.copies = Vec::new();
        self.references = Vec::new();
        for mark in &mut self.marks {
            mark.kind = match mark.kind {
                MarkKind::Upload(_) => MarkKind::Upload(Kept::SizeOnly),
                MarkKind::Data(_) => MarkKind::Data(Kept::SizeOnly),
                other => other,
            };
        }
    }

    fn wipe(&mut self) {
        self.opening = None;
        self.head = None;
        self.marks.clear();
        self.texts.clear();
        self.copies.clear();
        self.references.clear();
        self.closing = None;
        self.alive = None;
        self.charge = None;
    }
}

/// hyper's read buffers are at least this large.
const PINNED: usize = 8 << 10;

/// What became of a parcel that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandOver {
    /// It is on its way.
    Done,
    /// It is on its way without its bodies.
    Shed,
    /// It is lost, and counted.
    Lost,
}

/// The queue, its ledger, and parcels to use again.
pub(super) struct Capture {
    queue: ArrayQueue<Box<Parcel>>,
    spare: ArrayQueue<Box<Parcel>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) max_body: u64,
    pub(super) session_header: Option<SessionHeader>,
}

impl Capture {
    /// Parcels that can wait. An observer that sleeps for its longest, 50 ms, is a few thousand behind at full load.
    const QUEUE: usize = 16 << 10;
    /// Parcels kept for use again, of at most `SPARE_BYTES` each: 4 MiB.
    const SPARES: usize = 256;
    const SPARE_BYTES: usize = 16 << 10;

    pub(super) fn new(memory: u64, max_body: u64, accounts: Arc<Accounts>) -> Self {
        Self {
            queue: ArrayQueue::new(Self::QUEUE),
            spare: ArrayQueue::new(Self::SPARES),
            ledger: Arc::new(Ledger::new(memory)),
            accounts,
            max_body,
            session_header: None,
        }
    }

    /// A parcel to fill.
    pub(super) fn parcel(&self, id: u64, arrived: Instant) -> Box<Parcel> {
        let mut parcel = self.spare.pop().unwrap_or_else(Parcel::blank);
        parcel.id = id;
        parcel.arrived = arrived;
        parcel
    }

    /// Hands a parcel to the observer. Never waits.
    pub(super) fn hand_over(&self, mut parcel: Box<Parcel>) -> HandOver {
        let mut outcome = HandOver::Done;
        parcel.charge = Ledger::charge(&self.ledger, parcel.cost(), Share::Bodies);
        if parcel.charge.is_none() {
            parcel.let_bodies_go();
            outcome = HandOver::Shed;
            parcel.charge = Ledger::charge(&self.ledger, parcel.cost(), Share::All);
            if parcel.charge.is_none() {
                self.accounts.drop_one(DropReason::Memory);
                return HandOver::Lost;
            }
        }
        match self.queue.push(parcel) {
            Ok(()) => outcome,
            Err(_) => {
                self.accounts.drop_one(DropReason::QueueFull);
                HandOver::Lost
            }
        }
    }

    /// The next parcel, for the observer.
    pub(super) fn next(&self) -> Option<Box<Parcel>> {
        self.queue.pop()
    }

    /// Gives an emptied parcel back.
    pub(super) fn recycle(&self, mut parcel: Box<Parcel>) {
        parcel.wipe();
        let bytes = parcel.copies.capacity() + parcel.marks.capacity() * size_of::<Mark>();
        if bytes <= Self::SPARE_BYTES {
            drop(self.spare.push(parcel));
        }
    }
}

/// Bytes held by everything behind the tap, against their bound.
#[derive(Debug)]
pub(super) struct Ledger {
    held: AtomicU64,
    bound: u64,
}

/// Who asks: bodies may fill seven eighths of the bound, so that exchanges without them still find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    Bodies,
    All,
}

impl Ledger {
    fn new(bound: u64) -> Self {
        Self {
            held: AtomicU64::new(0),
            bound,
        }
    }

    /// Bytes held now.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Charges `bytes` until the charge is dropped; `None` where they do not fit.
    pub(super) fn charge(ledger: &Arc<Self>, bytes: u64, share: Share) -> Option<Charge> {
        let bound = match share {
            Share::Bodies => ledger.bound - ledger.bound / 8,
            Share::All => ledger.bound,
        };
        let before = ledger.held.fetch_add(bytes, Ordering::Relaxed);
        // Made first, so that a refusal gives the bytes back.
        let charge = Charge {
            bytes,
            ledger: Arc::clone(ledger),
        };
        (before.saturating_add(bytes) <= bound).then_some(charge)
    }
}

/// Bytes of the ledger, given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: u64,
    ledger: Arc<Ledger>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel_with(capture: &Capture, bytes: usize) -> Box<Parcel> {
        let mut parcel = capture.parcel(1, Instant::now());
        parcel.references.push(Bytes::from(vec![0; bytes]));
        parcel.marks.push(Mark {
            at_us: 0,
            len: u32::try_from(bytes).unwrap(),
            kind: MarkKind::Upload(Kept::Referenced),
        });
        parcel
    }

    #[test]
    fn over_the_bound_bodies_go_first_and_exchanges_last() {
        let accounts = Arc::new(Accounts::default());
        let capture = Capture::new(16 << 10, 1 << 20, Arc::clone(&accounts));
        assert_eq!(
            capture.hand_over(parcel_with(&capture, 9000)),
            HandOver::Done
        );
        assert_eq!(
            capture.hand_over(parcel_with(&capture, 9000)),
            HandOver::Shed
        );
        let mut lost = 0;
        while capture.hand_over(parcel_with(&capture, 9000)) != HandOver::Lost {
            lost += 1;
            assert!(lost < 100);
        }
        assert_eq!(accounts.summary().dropped[&DropReason::Memory], 1);
        let whole = capture.next().unwrap();
        assert_eq!(whole.references.len(), 1);
        let shed = capture.next().unwrap();
        assert!(shed.references.is_empty());
        assert_eq!(shed.marks[0].kind, MarkKind::Upload(Kept::SizeOnly));
        assert_eq!(shed.marks[0].len, 9000);
        drop((whole, shed));
        while capture.next().is_some() {}
        assert_eq!(capture.ledger.held(), 0, "everything is given back");
    }

    #[test]
    fn a_full_queue_loses_and_counts() {
        let accounts = Arc::new(Accounts::default());
        let capture = Capture::new(1 << 30, 1 << 20, Arc::clone(&accounts));
        for _ in 0..Capture::QUEUE {
            assert_eq!(
                capture.hand_over(capture.parcel(1, Instant::now())),
                HandOver::Done
            );
        }
        assert_eq!(
            capture.hand_over(capture.parcel(1, Instant::now())),
            HandOver::Lost
        );
        assert_eq!(accounts.summary().dropped[&DropReason::QueueFull], 1);
    }
}

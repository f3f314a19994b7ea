//! The way from the traffic path to the observer: parcels, and a bounded lock-free queue that wakes nobody. A parcel weighs
//! on the ledger from the moment it is begun, so that ten thousand open exchanges count as well as a long queue.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

use crate::anonymise::Conversation;
use crate::record::tape::accounts::{Accounts, DropReason};
use crate::record::tape::ledger::{Charge, Ledger, Share};
use crate::record::tape::session_header::SessionHeader;
use crate::shape::Method;

/// What the traffic path saw of one exchange, or of a part of it, in order. The body bytes of small pieces are copied (a
/// copy of a few hundred bytes costs less than pinning the read buffer they lie in); those of larger ones are references.
pub(in crate::record) struct Parcel {
    /// Unique in this process.
    pub(in crate::record) id: u64,
    pub(in crate::record) arrived: Instant,
    pub(in crate::record) opening: Option<Opening>,
    pub(in crate::record) head: Option<Head>,
    pub(in crate::record) marks: Vec<Mark>,
    /// Path, content type and content encoding, one after another.
    pub(in crate::record) texts: Vec<u8>,
    /// Bytes of copied pieces, one after another.
    pub(in crate::record) copies: Vec<u8>,
    /// Bytes of referenced pieces.
    references: Vec<Bytes>,
    /// What the references weigh: each at least the read buffer that it pins.
    pinned: usize,
    pub(in crate::record) closing: Option<Closing>,
    /// Held by the exchange as long as it may still send parcels, where it sends more than one.
    pub(in crate::record) alive: Option<Arc<()>>,
    charge: Option<Charge>,
    /// Its bodies were let go, or are not to be kept.
    pub(in crate::record) shed: bool,
}

/// How an exchange began.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct Opening {
    pub(in crate::record) method: Method,
    pub(in crate::record) path_len: usize,
    pub(in crate::record) in_flight: u32,
    pub(in crate::record) probe: bool,
    /// The conversation that the client's header names.
    pub(in crate::record) conversation: Option<Conversation>,
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
}

/// Where a piece's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Kept {
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
            pinned: 0,
            closing: None,
            alive: None,
            charge: None,
            shed: false,
        })
    }

    /// Keeps a piece by reference.
    pub(in crate::record) fn refer(&mut self, piece: Bytes) {
        self.pinned += piece.len().max(PINNED);
        self.references.push(piece);
    }

    /// The pieces kept by reference.
    pub(in crate::record) fn references(&self) -> &[Bytes] {
        &self.references
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
    fn cost(&self) -> u64 {
        (size_of::<Self>()
            + self.marks.capacity() * size_of::<Mark>()
            + self.texts.capacity()
            + self.copies.capacity()
            + self.references.capacity() * size_of::<Bytes>()
            + self.pinned) as u64
    }

    /// Forgets the bodies, keeps sizes and moments.
    fn let_bodies_go(&mut self) {
        self.shed = true;
        self.copies = Vec::new();
        self.references = Vec::new();
        self.pinned = 0;
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
        self.pinned = 0;
        self.closing = None;
        self.alive = None;
        self.charge = None;
        self.shed = false;
    }
}

/// hyper's read buffers are at least this large.
const PINNED: usize = 8 << 10;
/// What a full parcel holds.
const MARKS: usize = 32;
const COPIED_BYTES: usize = 16 << 10;
const PINNED_BYTES: usize = 64 << 10;
const HEAVY_BYTES: usize = 8 << 10;

/// How a parcel stands with the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Weighed {
    /// There is room for it.
    Fits,
    /// There is room for it without its bodies, which are let go.
    Shed,
    /// There is no room: the exchange is lost, and counted.
    Lost,
}

/// The queue, its ledger, and parcels to use again.
pub(in crate::record) struct Capture {
    queue: ArrayQueue<Box<Parcel>>,
    spare: ArrayQueue<Box<Parcel>>,
    pub(in crate::record) ledger: Arc<Ledger>,
    pub(in crate::record) accounts: Arc<Accounts>,
    pub(in crate::record) max_body: u64,
    pub(in crate::record) session_header: Option<SessionHeader>,
    /// What the tables that number prompt blocks may take.
    pub(in crate::record) table_bytes: u64,
}

impl Capture {
    /// Parcels that can wait. An observer that sleeps for its longest, 50 ms, is a few thousand behind at full load.
    const QUEUE: usize = 16 << 10;
    /// Parcels kept for use again, of at most `SPARE_BYTES` each: half a MiB, or a sixteenth of a small bound. They are used in
    /// turn, so more of them would be cold in the cache by then, and dearer than fresh ones.
    const SPARES: u64 = 32;
    const SPARE_BYTES: u64 = 16 << 10;

    /// Of `memory`, a quarter is for the tables that number prompt blocks and a sixteenth for parcels kept for use again; the
    /// ledger has the rest.
    pub(in crate::record) fn new(memory: u64, max_body: u64, accounts: Arc<Accounts>) -> Self {
        let spares = (memory / 16 / Self::SPARE_BYTES).clamp(1, Self::SPARES);
        let table_bytes = memory / 4;
        let room = memory.saturating_sub(table_bytes + spares * Self::SPARE_BYTES);
        Self {
            queue: ArrayQueue::new(Self::QUEUE),
            spare: ArrayQueue::new(usize::try_from(spares).unwrap_or(1)),
            ledger: Ledger::new(room),
            accounts,
            max_body,
            session_header: None,
            table_bytes,
        }
    }

    /// A parcel to fill; [`Weighed::Lost`] where there is no room for another.
    pub(in crate::record) fn parcel(&self, id: u64, arrived: Instant) -> (Box<Parcel>, Weighed) {
        let mut parcel = self.spare.pop().unwrap_or_else(Parcel::blank);
        parcel.id = id;
        parcel.arrived = arrived;
        parcel.charge = self.ledger.charge(parcel.cost(), Share::All);
        let weighed = match &parcel.charge {
            Some(_) => Weighed::Fits,
            None => self.lose(),
        };
        (parcel, weighed)
    }

    /// Lets a parcel's charge follow what it holds. Touches the ledger only when the parcel has grown.
    pub(in crate::record) fn weigh(&self, parcel: &mut Parcel) -> Weighed {
        let cost = parcel.cost();
        let share = if parcel.shed {
            Share::All
        } else {
            Share::Bodies
        };
        let Some(charge) = &mut parcel.charge else {
            return Weighed::Lost;
        };
        if cost <= charge.bytes() || charge.resize(cost, share) {
            return Weighed::Fits;
        }
        parcel.let_bodies_go();
        let cost = parcel.cost();
        let fits = parcel
            .charge
            .as_mut()
            .is_some_and(|charge| charge.resize(cost, Share::All));
        if fits { Weighed::Shed } else { self.lose() }
    }

    fn lose(&self) -> Weighed {
        self.accounts.drop_one(DropReason::Memory);
        Weighed::Lost
    }

    /// Hands a parcel to the observer; false where it is lost, and counted. Never waits.
    pub(in crate::record) fn hand_over(&self, parcel: Box<Parcel>) -> bool {
        let taken = self.queue.push(parcel).is_ok();
        if !taken {
            self.accounts.drop_one(DropReason::QueueFull);
        }
        taken
    }

    /// The next parcel, for the observer.
    pub(in crate::record) fn next(&self) -> Option<Box<Parcel>> {
        self.queue.pop()
    }

    /// Gives an emptied parcel back.
    pub(in crate::record) fn recycle(&self, mut parcel: Box<Parcel>) {
        parcel.wipe();
        if parcel.cost() <= Self::SPARE_BYTES {
            drop(self.spare.push(parcel));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bound under which the ledger has 11/16 of it.
    const MEMORY: u64 = 256 << 10;

    fn capture(memory: u64) -> (Capture, Arc<Accounts>) {
        let accounts = Arc::new(Accounts::default());
        (
            Capture::new(memory, 1 << 20, Arc::clone(&accounts)),
            accounts,
        )
    }

    fn fill(capture: &Capture, parcel: &mut Parcel, bytes: usize) -> Weighed {
        parcel.refer(Bytes::from(vec![0; bytes]));
        parcel.marks.push(Mark {
            at_us: 0,
            len: u32::try_from(bytes).unwrap(),
            kind: MarkKind::Upload(Kept::Referenced),
        });
        capture.weigh(parcel)
    }

    #[test]
    fn over_the_bound_bodies_go_first_and_exchanges_last() {
        let (capture, accounts) = capture(MEMORY);
        let mut held = Vec::new();
        let mut came = Vec::new();
        loop {
            let (mut parcel, begun) = capture.parcel(1, Instant::now());
            if begun == Weighed::Lost {
                break;
            }
            let weighed = fill(&capture, &mut parcel, 9000);
            came.push(weighed);
            held.push(parcel);
            assert!(held.len() < 1000, "there is no bound");
            assert!(capture.ledger.held() <= MEMORY);
        }
        let whole = came.iter().filter(|&&came| came == Weighed::Fits).count();
        assert!(whole > 5 && came.len() > whole + 5, "{came:?}");
        assert!(
            came.iter().skip(whole).all(|&came| came == Weighed::Shed),
            "bodies that were let go make no room for others: {came:?}"
        );
        assert_eq!(accounts.summary().dropped[&DropReason::Memory], 1);
        let last = held.last().unwrap();
        assert!(last.references().is_empty());
        assert_eq!(last.marks[0].kind, MarkKind::Upload(Kept::SizeOnly));
        assert_eq!(last.marks[0].len, 9000);
        for parcel in held {
            capture.recycle(parcel);
        }
        assert_eq!(capture.ledger.held(), 0, "everything is given back");
    }

    #[test]
    fn parcels_that_are_being_filled_weigh_already() {
        let (capture, _) = capture(MEMORY);
        let (mut parcel, _) = capture.parcel(1, Instant::now());
        let empty = capture.ledger.held();
        assert!(empty >= size_of::<Parcel>() as u64);
        parcel.copies.extend_from_slice(&[0; 3000]);
        assert_eq!(capture.weigh(&mut parcel), Weighed::Fits);
        assert!(capture.ledger.held() >= empty + 3000);
        drop(parcel);
        assert_eq!(capture.ledger.held(), 0);
    }

    #[test]
    fn a_full_queue_loses_and_counts() {
        let (capture, accounts) = capture(1 << 30);
        for _ in 0..Capture::QUEUE {
            assert!(capture.hand_over(capture.parcel(1, Instant::now()).0));
        }
        assert!(!capture.hand_over(capture.parcel(1, Instant::now()).0));
        assert_eq!(accounts.summary().dropped[&DropReason::QueueFull], 1);
    }
}

//! The way from the traffic path to the observer: parcels, and a bounded lock-free queue that wakes nobody. A parcel weighs
//! on the ledger from the moment it is begun, so that ten thousand open exchanges count as well as a long queue.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_queue::ArrayQueue;

use crate::dialect::DialectRule;
use crate::record::mirror::Mirror;
use crate::record::tape::accounts::{Accounts, DropReason};
use crate::record::tape::buffers::Buffers;
use crate::record::tape::ledger::{Ledger, Share};
use crate::record::tape::parcel::Parcel;
use crate::record::tape::session_headers::SessionHeaders;

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
    pub(in crate::record) buffers: Arc<Buffers>,
    pub(in crate::record) ledger: Arc<Ledger>,
    pub(in crate::record) accounts: Arc<Accounts>,
    pub(in crate::record) max_body: u64,
    /// How requests name their conversations, where that is asked.
    pub(in crate::record) session_headers: Option<SessionHeaders>,
    /// What the operator says of a gateway's own paths.
    pub(in crate::record) dialects: Vec<DialectRule>,
    /// What the tables that number prompt blocks may take.
    pub(in crate::record) table_bytes: u64,
    /// What the room that one body is put together in may take while nobody uses it.
    pub(in crate::record) body_bytes: u64,
    /// Takes a share of the requests as well.
    pub(in crate::record) mirror: Option<Arc<Mirror>>,
}

impl Capture {
    /// Parcels that can wait. An observer that sleeps for its longest, 50 ms, is a few thousand behind at full load.
    const QUEUE: usize = 16 << 10;
    /// Parcels kept for use again, of at most `SPARE_BYTES` each: half a MiB, or a sixteenth of a small bound. They are used in
    /// turn, so more of them would be cold in the cache by then, and dearer than fresh ones.
    const SPARES: u64 = 32;
    const SPARE_BYTES: u64 = 16 << 10;

    /// Read buffers kept for use again.
    const BUFFER_BYTES: u64 = 8 << 20;
    /// The room of larger bodies is not kept.
    const BODY_BYTES: u64 = 2 << 20;

    /// Of `memory`, a quarter is for the tables that number prompt blocks, a sixteenth at most for parcels kept for use again, a
    /// sixteenth at most for read buffers, and a hundred and twenty-eighth at most for the room of one body; the ledger has the rest.
    pub(in crate::record) fn new(memory: u64, max_body: u64, accounts: Arc<Accounts>) -> Self {
        let spares = (memory / 16 / Self::SPARE_BYTES).clamp(1, Self::SPARES);
        let table_bytes = memory / 4;
        let buffer_bytes = (memory / 16).min(Self::BUFFER_BYTES);
        let body_bytes = (memory / 128).min(Self::BODY_BYTES);
        let kept = table_bytes + spares * Self::SPARE_BYTES + buffer_bytes + body_bytes;
        let room = memory.saturating_sub(kept);
        Self {
            queue: ArrayQueue::new(Self::QUEUE),
            spare: ArrayQueue::new(usize::try_from(spares).unwrap_or(1)),
            buffers: Buffers::within(buffer_bytes),
            ledger: Ledger::new(room),
            accounts,
            max_body,
            session_headers: None,
            dialects: Vec::new(),
            mirror: None,
            table_bytes,
            body_bytes,
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
    use crate::record::tape::parcel::{Kept, Mark, MarkKind};
    use bytes::Bytes;
    use std::slice::from_ref;

    /// A bound under which the ledger has three fifths of it.
    const MEMORY: u64 = 1 << 20;

    fn capture(memory: u64) -> (Capture, Arc<Accounts>) {
        let accounts = Arc::new(Accounts::default());
        (
            Capture::new(memory, 1 << 20, Arc::clone(&accounts)),
            accounts,
        )
    }

    fn fill(capture: &Capture, parcel: &mut Parcel, bytes: usize) -> Weighed {
        parcel.refer(Bytes::from(vec![0; bytes]), from_ref(&(0..bytes)));
        parcel.marks.push(Mark {
            at_us: 0,
            len: u32::try_from(bytes).unwrap(),
            kind: MarkKind::Upload(Kept::Referenced { runs: 1 }),
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
        assert!(last.holds_no_bodies());
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
        parcel.copy(&[0; 3000], from_ref(&(0..3000)));
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

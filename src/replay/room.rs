use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What may wait ready for its instant: accounts that the preparer draws on and the workers refill.
///
/// Nobody locks. A preparer that finds no room says that it sleeps, and the worker that takes what was made ahead below one half
/// wakes it: once for some hundred requests, not for each.
#[derive(Clone)]
pub(super) struct Room(Arc<Accounts>);

struct Accounts {
    /// Requests of the plan whose bytes wait at each worker.
    ahead: Vec<AtomicUsize>,
    /// Bytes of their bodies.
    bytes: AtomicUsize,
    /// Bytes of the bodies of turns that wait for the turn before.
    turn_bytes: AtomicUsize,
    asleep: AtomicBool,
}

/// Whose account a request's bytes are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// Made ahead, in the order of the plan.
    Ahead,
    /// A turn, made when it may be due soon.
    Turn,
}

impl Room {
    /// Requests made ahead for each worker.
    pub(super) const LOOK_AHEAD: usize = 1024;
    /// Bytes of bodies on each account, and one body more.
    pub(super) const BYTES: usize = 64 << 20;

    pub(super) fn new(workers: usize) -> Self {
        Self(Arc::new(Accounts {
            ahead: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            bytes: AtomicUsize::new(0),
            turn_bytes: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
        }))
    }

    /// Whether one more may be made ahead for a worker.
    pub(super) fn has_room(&self, worker: usize) -> bool {
        let ahead = self.0.ahead.get(worker);
        ahead.is_some_and(|it| it.load(Ordering::SeqCst) < Self::LOOK_AHEAD)
            && self.0.bytes.load(Ordering::SeqCst) < Self::BYTES
    }

    /// Whether a turn may be made ready whose instant is not known yet.
    pub(super) fn has_room_for_turn(&self) -> bool {
        self.0.turn_bytes.load(Ordering::SeqCst) < Self::BYTES
    }

    pub(super) fn take(&self, worker: usize, account: Account, bytes: usize) {
        match account {
            Account::Ahead => {
                if let Some(ahead) = self.0.ahead.get(worker) {
                    ahead.fetch_add(1, Ordering::SeqCst);
                }
                self.0.bytes.fetch_add(bytes, Ordering::SeqCst);
            }
            Account::Turn => {
                self.0.turn_bytes.fetch_add(bytes, Ordering::SeqCst);
            }
        }
    }

    /// A request leaves. True where that should wake the preparer, who is then taken to be awake.
    pub(super) fn give_back(&self, worker: usize, account: Account, bytes: usize) -> bool {
        let half_emptied = match account {
            Account::Ahead => {
                let before = self.0.bytes.fetch_sub(bytes, Ordering::SeqCst);
                let fewer = self.0.ahead.get(worker).is_some_and(|ahead| {
                    ahead.fetch_sub(1, Ordering::SeqCst) == Self::LOOK_AHEAD / 2 + 1
                });
                fewer || crossed(before, bytes)
            }
            Account::Turn => crossed(self.0.turn_bytes.fetch_sub(bytes, Ordering::SeqCst), bytes),
        };
        half_emptied && self.0.asleep.swap(false, Ordering::SeqCst)
    }

    /// The preparer is about to sleep because a worker's account is full. False where that is no longer so.
    pub(super) fn sleep(&self, worker: usize) -> bool {
        self.0.asleep.store(true, Ordering::SeqCst);
        // Between its look and its word the worker may have passed the half, and told nobody.
        let ahead = self.0.ahead.get(worker);
        let half_empty = ahead.is_some_and(|it| it.load(Ordering::SeqCst) <= Self::LOOK_AHEAD / 2)
            && self.0.bytes.load(Ordering::SeqCst) <= Self::BYTES / 2;
        if half_empty {
            self.0.asleep.store(false, Ordering::SeqCst);
        }
        !half_empty
    }
}

/// Whether an account of bytes has just gone below its half.
fn crossed(before: usize, bytes: usize) -> bool {
    const HALF: usize = Room::BYTES / 2;
    before > HALF && before.saturating_sub(bytes) <= HALF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_preparer_is_woken_once_at_the_half() {
        let room = Room::new(1);
        let mut made = 0;
        while room.has_room(0) {
            room.take(0, Account::Ahead, 10);
            made += 1;
        }
        assert_eq!(made, Room::LOOK_AHEAD);
        assert!(room.sleep(0));
        let woken: Vec<bool> = (0..made)
            .map(|_| room.give_back(0, Account::Ahead, 10))
            .collect();
        assert_eq!(woken.iter().filter(|&&it| it).count(), 1);
        assert!(woken[Room::LOOK_AHEAD / 2 - 1]);
        assert!(!room.sleep(0), "there is room");
    }

    #[test]
    fn bytes_are_bounded_and_one_body_more_is_let_through() {
        let room = Room::new(1);
        room.take(0, Account::Ahead, Room::BYTES - 1);
        assert!(room.has_room(0));
        room.take(0, Account::Ahead, 1 << 30);
        assert!(!room.has_room(0));
        assert!(
            room.has_room_for_turn(),
            "turns have an account of their own"
        );
        assert!(room.sleep(0));
        assert!(!room.give_back(0, Account::Turn, 0));
        assert!(!room.give_back(0, Account::Ahead, 0));
        assert!(room.give_back(0, Account::Ahead, 1 << 30 | 1 << 25));
        assert!(room.has_room(0));
    }
}

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::conversation::{Answers, Due, End, Link};
use super::room::Account;
use super::synthesise::Prepared;
use crate::dialect::AnswerText;

/// A request with its bytes, on its way to the worker that sends it.
pub(super) struct Handed {
    pub(super) prepared: Box<Prepared>,
    pub(super) due: Due,
    pub(super) account: Account,
    /// Bytes of its body on that account.
    pub(super) bytes: usize,
}

impl Handed {
    /// Whether it should have been sent some time ago.
    pub(super) fn is_behind(&self, now_us: u64) -> bool {
        self.prepared.intended_us.saturating_add(BEHIND_US) < now_us
    }
}

/// What a preparer tells a worker.
pub(super) enum Order {
    /// Send this.
    Send(Handed),
    /// A turn that was handed out without its instant has one now; where the worker knew, there is nothing to do.
    Settle {
        session: u64,
        index: u64,
        due_us: u64,
    },
}

/// What one worker has to send, and when: requests that have an instant, in the order of their instants (and of the plan, where
/// those are equal), and turns that wait for the turn before.
///
/// A connection is seen to some time before a request's instant: until then it is far, from then on near.
pub(super) struct Agenda {
    far: BinaryHeap<Entry>,
    near: BinaryHeap<Entry>,
    held: HashMap<u64, (Link, Handed)>,
    lead_us: u64,
    answers: Answers,
    made_up: u64,
}

impl Agenda {
    pub(super) fn new(lead_us: u64) -> Self {
        Self {
            far: BinaryHeap::new(),
            near: BinaryHeap::new(),
            held: HashMap::new(),
            lead_us,
            answers: Answers::default(),
            made_up: 0,
        }
    }

    pub(super) fn take_in(&mut self, order: Order) {
        match order {
            Order::Send(handed) => match handed.due {
                Due::At(due_us) => self.schedule(due_us, handed),
                Due::After(link) => {
                    self.held.insert(link.session, (link, handed));
                }
            },
            Order::Settle {
                session,
                index,
                due_us,
            } => {
                let waits = |(_, handed): &(Link, Handed)| handed.prepared.index == index;
                if self.held.get(&session).is_some_and(waits)
                    && let Some((_, handed)) = self.held.remove(&session)
                {
                    self.schedule(due_us, handed);
                }
            }
        }
    }

    /// Keeps the answer to a turn for those that repeat it.
    pub(super) fn keep_answer(&mut self, session: u64, index: u64, text: AnswerText) {
        self.answers.keep(session, index, text);
    }

    /// How many repeated answers had to be made up since the last call.
    pub(super) fn take_made_up(&mut self) -> u64 {
        std::mem::take(&mut self.made_up)
    }

    /// A turn has ended: the next, where it is held here, has its instant.
    pub(super) fn ended(&mut self, session: u64, index: u64, end: End) {
        let waits = |(link, _): &(Link, Handed)| link.after == index;
        if self.held.get(&session).is_some_and(waits)
            && let Some((link, handed)) = self.held.remove(&session)
        {
            self.schedule(link.due_us(end), handed);
        }
    }

    /// Moves what is due soon near, and has it announced; of what should have been sent before, only the next ones.
    pub(super) fn draw_near(&mut self, now_us: u64, mut announce: impl FnMut(&Prepared)) {
        let until_us = now_us.saturating_add(self.lead_us);
        while let Some(next) = self.far.peek()
            && next.due_us <= until_us
            && !self.waits(next, now_us)
            && let Some(entry) = self.far.pop()
        {
            announce(&entry.handed.prepared);
            self.near.push(entry);
        }
    }

    /// Whether it is behind, and enough that go before it are near.
    fn waits(&self, next: &Entry, now_us: u64) -> bool {
        next.handed.is_behind(now_us)
            && self.near.len() >= AT_ONCE
            && self.near.peek().is_some_and(|first| first > next)
    }

    /// The next request that is due, if any is.
    pub(super) fn due(&mut self, now_us: u64) -> Option<Handed> {
        if self.near.peek()?.due_us > now_us {
            return None;
        }
        self.near.pop().map(|entry| entry.handed)
    }

    /// When there is something to do.
    pub(super) fn next_us(&self) -> Option<u64> {
        let near = self.near.peek().map(|entry| entry.due_us);
        let far = self.far.peek();
        let far = far.map(|entry| entry.due_us.saturating_sub(self.lead_us));
        match (near, far) {
            (Some(near), Some(far)) => Some(near.min(far)),
            (near, far) => near.or(far),
        }
    }

    fn schedule(&mut self, due_us: u64, mut handed: Handed) {
        let prepared = &mut handed.prepared;
        prepared.intended_us = due_us;
        if let Some(gaps) = prepared.gaps.take() {
            let session = prepared.turn.session;
            let answer_to = |index| session.and_then(|session| self.answers.get(session, index));
            let (body, made_up) = gaps.fill(prepared.request.body(), answer_to);
            *prepared.request.body_mut() = body;
            self.made_up += made_up;
        }
        self.far.push(Entry { due_us, handed });
    }
}

/// What should have been sent longer ago than this is behind.
const BEHIND_US: u64 = 1000;
/// Of what is behind so many are announced at a time. The others find a connection that was given back meanwhile, where answers come soon:
/// for that, no more are sent in one go without a look at what has come, as long as that may bring one.
pub(super) const AT_ONCE: usize = 16;

/// Ordered so that the heap's greatest is the one to send first.
struct Entry {
    due_us: u64,
    handed: Handed,
}

impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.due_us, self.handed.prepared.index)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing::prepared;

    fn handed(index: u64, due: Due) -> Order {
        let mut prepared = prepared();
        prepared.index = index;
        Order::Send(Handed {
            prepared: Box::new(prepared),
            due,
            account: Account::Turn,
            bytes: 0,
        })
    }

    fn sent(agenda: &mut Agenda, now_us: u64) -> Vec<(u64, u64)> {
        agenda.draw_near(now_us, |_| ());
        std::iter::from_fn(|| agenda.due(now_us))
            .map(|handed| (handed.prepared.index, handed.prepared.intended_us))
            .collect()
    }

    #[test]
    fn requests_leave_by_instant_and_ties_in_the_plans_order() {
        let mut agenda = Agenda::new(0);
        for (index, due_us) in [(3, 20), (2, 10), (1, 20), (0, 30)] {
            agenda.take_in(handed(index, Due::At(due_us)));
        }
        assert_eq!(sent(&mut agenda, 25), [(2, 10), (1, 20), (3, 20)]);
        assert_eq!(agenda.next_us(), Some(30));
    }

    #[test]
    fn connections_are_seen_to_ahead_of_the_instant() {
        let mut agenda = Agenda::new(50);
        agenda.take_in(handed(0, Due::At(100)));
        assert_eq!(agenda.next_us(), Some(50));
        agenda.draw_near(49, |_| panic!("it is not due soon"));
        let mut near = 0;
        agenda.draw_near(50, |_| near += 1);
        assert_eq!(near, 1);
        assert_eq!(agenda.next_us(), Some(100));
        assert!(agenda.due(99).is_none());
        assert!(agenda.due(100).is_some());
    }

    #[test]
    fn what_is_behind_is_announced_bit_by_bit_and_leaves_in_order() {
        let mut agenda = Agenda::new(50);
        let waiting = 3 * AT_ONCE as u64;
        for index in (0..waiting).rev() {
            agenda.take_in(handed(index, Due::At(100)));
        }
        // What comes at once is no more behind than what comes alone.
        let (mut at_once, mut announced) = (Agenda::new(50), 0);
        for index in 0..waiting {
            at_once.take_in(handed(index, Due::At(100)));
        }
        at_once.draw_near(60, |_| announced += 1);
        assert_eq!(announced, waiting);
        let (mut announced, mut left) = (0, Vec::new());
        while (left.len() as u64) < waiting {
            agenda.draw_near(100 + 2 * BEHIND_US, |_| announced += 1);
            assert!(announced <= left.len() + AT_ONCE);
            let next = agenda.due(100 + 2 * BEHIND_US).unwrap();
            left.push(next.prepared.index);
        }
        assert!(left.into_iter().eq(0..waiting));
    }

    #[test]
    fn what_comes_late_does_not_wait_for_what_is_not_due() {
        let mut agenda = Agenda::new(5000);
        for index in 0..2 * AT_ONCE as u64 {
            agenda.take_in(handed(index, Due::At(10_000)));
        }
        agenda.draw_near(6000, |_| ());
        agenda.take_in(handed(100, Due::At(0)));
        agenda.draw_near(6000, |_| ());
        assert_eq!(agenda.due(6000).unwrap().prepared.index, 100);
        // Nor for what is behind, but came later in the plan.
        agenda.take_in(handed(101, Due::At(1)));
        agenda.draw_near(20_000, |_| ());
        assert_eq!(agenda.due(20_000).unwrap().prepared.index, 101);
    }

    #[test]
    fn a_turn_waits_for_the_one_before_or_for_the_preparers_word() {
        let link = Link::think(7, 0, 30, 100, 80);
        let end = End {
            at_us: 110,
            failed: false,
        };
        let mut agenda = Agenda::new(0);
        agenda.take_in(handed(5, Due::After(link)));
        assert_eq!(agenda.next_us(), None);
        agenda.ended(7, 4, end);
        assert_eq!(agenda.next_us(), None, "that was another turn");
        agenda.ended(7, 0, end);
        assert_eq!(sent(&mut agenda, 140), [(5, 140)]);
        let settle = |index| Order::Settle {
            session: 7,
            index,
            due_us: 200,
        };
        agenda.take_in(settle(5));
        assert_eq!(agenda.next_us(), None, "it has left already");
        agenda.take_in(handed(6, Due::After(link)));
        agenda.take_in(settle(6));
        assert_eq!(sent(&mut agenda, 200), [(6, 200)]);
    }
}

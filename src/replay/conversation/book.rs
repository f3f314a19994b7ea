use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::{End, Link, SessionMode, TurnAccount};
use crate::replay::plan::Turn;

/// Where every conversation of a run stands: which turn was let go last, when it is due, how it ended, and which turns wait
/// behind it. Knows neither clocks nor bytes: instants come in, and `S` is whatever stands for a waiting turn.
///
/// A turn whose predecessor is under way is handed out when it may be due soon, at the earliest thinkable; its instant is
/// settled when that one ends.
///
/// Bounded: what waits, by how far the trace is read ahead ([`Book::ahead_us`]); and of conversations where nothing waits the last
/// half million that had a turn.
pub(in crate::replay) struct Book<S> {
    mode: SessionMode,
    young: HashMap<u64, Conversation<S>>,
    old: HashMap<u64, Conversation<S>>,
    /// When to look at which turn (its index, its session): the first of those that wait in each conversation.
    needs: BinaryHeap<Reverse<(u64, u64, u64)>>,
    /// Turns that wait or were handed out without an instant.
    pending: usize,
    ahead_us: u64,
    account: TurnAccount,
}

/// Conversations after which those where nothing waits begin to be forgotten: some 30 MiB.
const GENERATION: usize = 1 << 18;

struct Conversation<S> {
    /// The turn that was let go last.
    front: Front,
    /// The next one, where it was handed out before its instant was known.
    handed: Option<(Stub, Link)>,
    waiting: VecDeque<(Stub, S)>,
}

#[derive(Clone, Copy)]
struct Front {
    index: u64,
    planned_us: u64,
    due_us: u64,
    over: Option<End>,
}

/// What is known of a turn without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replay) struct Stub {
    /// Its index in the plan.
    pub(in crate::replay) index: u64,
    /// When the trace alone would send it.
    pub(in crate::replay) planned_us: u64,
    /// How long its answer took in production.
    pub(in crate::replay) took_us: u64,
    pub(in crate::replay) turn: Turn,
}

/// What becomes of a turn that was just read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::replay) enum Read<S> {
    /// It is sent at its planned instant.
    Open(S),
    /// It waits.
    Waits,
}

/// A turn whose bytes are needed now.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::replay) struct Ready<S> {
    pub(in crate::replay) due: Due,
    pub(in crate::replay) slot: S,
}

/// When a turn is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replay) enum Due {
    /// Then.
    At(u64),
    /// When the turn before has ended.
    After(Link),
}

impl<S> Book<S> {
    pub(in crate::replay) fn new(mode: SessionMode) -> Self {
        Self {
            mode,
            young: HashMap::new(),
            old: HashMap::new(),
            needs: BinaryHeap::new(),
            pending: 0,
            ahead_us: 0,
            account: TurnAccount::default(),
        }
    }

    /// How far ahead of the clock the trace must have been read, so that no turn can be due before it is known, however fast the
    /// target: as far as a conversation has gained on the trace so far, and as its current turn took in production. Both are
    /// known when that turn is let go, and think time passes on both clocks alike.
    pub(in crate::replay) fn ahead_us(&self) -> u64 {
        self.ahead_us
    }

    /// Whether no turn waits for another.
    pub(in crate::replay) fn is_settled(&self) -> bool {
        self.pending == 0
    }

    /// How the turns came so far.
    pub(in crate::replay) fn account(&self) -> TurnAccount {
        self.account
    }

    /// The worker's key: turns of one conversation stay together.
    pub(in crate::replay) fn key(&self, turn: Turn) -> Option<u64> {
        turn.session
            .filter(|_| self.mode != SessionMode::Independent)
    }

    /// Takes in the next turn of the plan at `now_us`.
    pub(in crate::replay) fn read(&mut self, stub: Stub, slot: S, now_us: u64) -> Read<S> {
        let Some(session) = self.key(stub.turn) else {
            return Read::Open(slot);
        };
        let known = self.take(session);
        let mut conversation = match known {
            // A first turn begins anew, unless turns of the same name are still to come.
            Some(conversation) if stub.turn.number > 0 || conversation.is_busy() => conversation,
            _ => {
                self.account.unlinked += u64::from(stub.turn.number > 0);
                self.let_go(stub, stub.planned_us);
                let conversation = Conversation {
                    front: Front::new(stub, stub.planned_us),
                    handed: None,
                    waiting: VecDeque::new(),
                };
                self.keep(session, conversation);
                return Read::Open(slot);
            }
        };
        if conversation.waiting.is_empty()
            && conversation.handed.is_none()
            && let Due::At(due_us) = self.due(session, conversation.front, stub)
            && due_us < now_us
        {
            self.account.read_late += 1;
            self.ahead_us = self.ahead_us.saturating_add(now_us - due_us);
        }
        conversation.waiting.push_back((stub, slot));
        self.pending += 1;
        if conversation.waiting.len() == 1 {
            self.look(session, &conversation);
        }
        self.keep(session, conversation);
        Read::Waits
    }

    /// When a turn that waits may be needed next.
    pub(in crate::replay) fn next_need_us(&self) -> Option<u64> {
        self.needs.peek().map(|Reverse((need_us, ..))| *need_us)
    }

    /// A turn that may be due by `until_us`. `on_trust`: one whose instant is not known yet will do; otherwise it is handed out
    /// when it is.
    pub(in crate::replay) fn next(&mut self, until_us: u64, on_trust: bool) -> Option<Ready<S>> {
        while let Some(&Reverse((need_us, index, session))) = self.needs.peek() {
            if need_us > until_us {
                return None;
            }
            self.needs.pop();
            let Some(mut conversation) = self.take(session) else {
                continue;
            };
            let ready = self.ready(session, &mut conversation, index, until_us, on_trust);
            self.keep(session, conversation);
            if ready.is_some() {
                return ready;
            }
        }
        None
    }

    fn ready(
        &mut self,
        session: u64,
        conversation: &mut Conversation<S>,
        index: u64,
        until_us: u64,
        on_trust: bool,
    ) -> Option<Ready<S>> {
        let first = conversation.waiting.front().map(|(stub, _)| *stub);
        let stub = first.filter(|stub| stub.index == index && conversation.handed.is_none())?;
        let due = self.due(session, conversation.front, stub);
        match due {
            // Looked at again then.
            Due::At(due_us) if due_us > until_us => return None,
            Due::After(_) if !on_trust => return None,
            _ => {}
        }
        let (_, slot) = conversation.waiting.pop_front()?;
        match due {
            Due::At(due_us) => {
                self.pending -= 1;
                self.advance(session, conversation, stub, due_us);
            }
            Due::After(link) => conversation.handed = Some((stub, link)),
        }
        Some(Ready { due, slot })
    }

    /// A turn has ended. Where the next was handed out already: its index, and when it is due.
    pub(in crate::replay) fn ended(
        &mut self,
        session: u64,
        index: u64,
        end: End,
    ) -> Option<(u64, u64)> {
        let mut conversation = self.take(session)?;
        let mut settled = None;
        // Others are older: turns that overlapped. Nothing waits for them.
        if conversation.front.index == index {
            conversation.front.over = Some(end);
            if let Some((stub, link)) = conversation.handed.take() {
                let due_us = link.due_us(end);
                self.pending -= 1;
                self.advance(session, &mut conversation, stub, due_us);
                settled = Some((stub.index, due_us));
            } else {
                self.look(session, &conversation);
            }
        }
        self.keep(session, conversation);
        settled
    }

    /// Moves on to a turn that has its instant.
    fn advance(
        &mut self,
        session: u64,
        conversation: &mut Conversation<S>,
        stub: Stub,
        due_us: u64,
    ) {
        self.let_go(stub, due_us);
        conversation.front = Front::new(stub, due_us);
        self.look(session, conversation);
    }

    fn let_go(&mut self, stub: Stub, due_us: u64) {
        let gain_us = stub.planned_us.saturating_sub(due_us);
        if self.mode == SessionMode::Linked {
            let ahead_us = gain_us.saturating_add(stub.took_us);
            self.ahead_us = self.ahead_us.max(ahead_us);
        }
        if stub.turn.number > 0 {
            let slip_us = due_us.saturating_sub(stub.planned_us);
            let account = &mut self.account;
            account.turns += 1;
            account.slipped += u64::from(slip_us > 0);
            account.slip_us = account.slip_us.saturating_add(slip_us);
            account.slip_max_us = account.slip_max_us.max(slip_us);
            account.gain_us = account.gain_us.saturating_add(gain_us);
        }
    }

    /// Notes when the first waiting turn is to be looked at.
    fn look(&mut self, session: u64, conversation: &Conversation<S>) {
        let Some((stub, _)) = conversation.waiting.front() else {
            return;
        };
        if conversation.handed.is_some() {
            return;
        }
        let need_us = match self.due(session, conversation.front, *stub) {
            Due::At(due_us) => due_us,
            Due::After(link) => link.earliest_us(conversation.front.due_us),
        };
        self.needs.push(Reverse((need_us, stub.index, session)));
    }

    /// When the turn after `front` is due.
    fn due(&self, session: u64, front: Front, stub: Stub) -> Due {
        let distance_us = stub.planned_us.saturating_sub(front.planned_us);
        let link = match (stub.turn.think_us, self.mode) {
            // It came while the turn before was still open: at its recorded distance from that one, which moves the whole
            // conversation along.
            (None, SessionMode::Linked) => {
                return Due::At(front.due_us.saturating_add(distance_us));
            }
            (None, _) => return Due::At(stub.planned_us.max(front.due_us)),
            (Some(think_us), SessionMode::Linked) => {
                Link::think(session, front.index, think_us, front.due_us, distance_us)
            }
            (Some(_), _) => Link::until(session, front.index, stub.planned_us),
        };
        match front.over {
            Some(end) => Due::At(link.due_us(end)),
            None => Due::After(link),
        }
    }

    fn take(&mut self, session: u64) -> Option<Conversation<S>> {
        let young = self.young.remove(&session);
        young.or_else(|| self.old.remove(&session))
    }

    fn keep(&mut self, session: u64, conversation: Conversation<S>) {
        if self.young.len() >= GENERATION {
            let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            let busy = forgotten.into_iter().filter(|(_, it)| it.is_busy());
            self.old.extend(busy);
        }
        self.young.insert(session, conversation);
    }
}

impl<S> Conversation<S> {
    /// Whether turns of it are still to be sent.
    fn is_busy(&self) -> bool {
        self.handed.is_some() || !self.waiting.is_empty()
    }
}

impl Front {
    const fn new(stub: Stub, due_us: u64) -> Self {
        Self {
            index: stub.index,
            planned_us: stub.planned_us,
            due_us,
            over: None,
        }
    }
}

#[cfg(test)]
mod tests;

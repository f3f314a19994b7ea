//! Prompt chains as predictions. Most ids of a chain can be guessed: numbers are given in order of first appearance, so the
//! usual successor of an id is the next number, and where it is not, it is usually the one that followed last time. Only
//! the lengths of the runs of right guesses and what stood where a guess was wrong are written.

use crate::shape::{BlockId, SessionId};
use crate::trace::varint::{Malformed, Numbers, put, zigzag};

use super::columns::{ColumnNumbers, Columns};

/// Guesses the next id of a chain. Its memory is fixed (896 KiB) and so are its collisions: both are part of the format.
pub(super) struct Predictor {
    slots: Vec<Slot>,
    /// What followed an id in one conversation, where several things do: after a system prompt that many share comes what was
    /// said in this one.
    turns: Vec<Turn>,
    /// The conversation of this chain.
    session: Option<u32>,
    /// Slots of an earlier generation are empty.
    generation: u32,
    /// The first id of the last chain.
    head: u32,
    /// The id before, in this chain.
    previous: Option<u32>,
    /// One more than the highest id so far.
    next_new: u32,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    generation: u32,
    id: u32,
    successor: u32,
}

#[derive(Clone, Copy, Default)]
struct Turn {
    session: u32,
    slot: Slot,
}

const SLOT_BITS: u32 = 16;
const TURN_BITS: u32 = 13;

impl Predictor {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); 1 << SLOT_BITS],
            turns: vec![Turn::default(); 1 << TURN_BITS],
            session: None,
            generation: 0,
            head: 0,
            previous: None,
            next_new: 0,
        }
    }

    /// Forgets everything.
    pub(super) fn restart(&mut self, next_new: u32) {
        match self.generation.checked_add(1) {
            Some(generation) => self.generation = generation,
            None => {
                *self = Self {
                    generation: 1,
                    ..Self::new()
                }
            }
        }
        self.head = next_new;
        self.previous = None;
        self.next_new = next_new;
    }

    pub(super) fn next_new(&self) -> u32 {
        self.next_new
    }

    fn begin_chain(&mut self, session: Option<u32>) {
        self.previous = None;
        self.session = session;
    }

    #[inline]
    fn guess(&self) -> u32 {
        match self.previous {
            None => self.head,
            Some(id) => match self.slots.get(slot_of(id)) {
                Some(slot) if slot.generation == self.generation && slot.id == id => {
                    self.in_session(id).unwrap_or(slot.successor)
                }
                _ => id.wrapping_add(1),
            },
        }
    }

    /// What followed an id in this conversation.
    fn in_session(&self, id: u32) -> Option<u32> {
        let session = self.session?;
        let turn = self.turns.get(turn_of(id, session))?;
        let slot = turn.slot;
        let known = slot.generation == self.generation && slot.id == id && turn.session == session;
        known.then_some(slot.successor)
    }

    /// Learns what the next id was, after it was guessed right.
    #[inline]
    fn right(&mut self, id: u32) {
        self.previous = Some(id);
        self.next_new = self.next_new.max(id.saturating_add(1));
    }

    /// Learns what the next id of this conversation was, where it had to be told once.
    fn learn_in_session(&mut self, previous: u32, id: u32) {
        let Some(session) = self.session else { return };
        if let Some(turn) = self.turns.get_mut(turn_of(previous, session)) {
            *turn = Turn {
                session,
                slot: Slot {
                    generation: self.generation,
                    id: previous,
                    successor: id,
                },
            };
        }
    }

    /// Learns what the next id was, after the guess was wrong.
    fn wrong(&mut self, id: u32) {
        match self.previous {
            None => self.head = id,
            Some(previous) => {
                self.learn_in_session(previous, id);
                if let Some(slot) = self.slots.get_mut(slot_of(previous)) {
                    *slot = Slot {
                        generation: self.generation,
                        id: previous,
                        successor: id,
                    };
                }
            }
        }
        self.right(id);
    }
}

#[inline]
fn slot_of(id: u32) -> usize {
    (id.wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS)) as usize
}

#[inline]
fn turn_of(id: u32, session: u32) -> usize {
    let mixed = id.wrapping_mul(0x9e37_79b1) ^ session.wrapping_mul(0x85eb_ca6b);
    (mixed >> (32 - TURN_BITS)) as usize
}

/// Writes chains one after another.
pub(super) struct ChainWriter<'a> {
    predictor: &'a mut Predictor,
    hits: u64,
}

impl<'a> ChainWriter<'a> {
    pub(super) fn new(predictor: &'a mut Predictor) -> Self {
        Self { predictor, hits: 0 }
    }

    /// Writes the chain of an exchange of `session`.
    pub(super) fn chain(&mut self, out: &mut Columns, ids: &[BlockId], session: Option<SessionId>) {
        self.predictor.begin_chain(session.map(|id| id.0));
        for &BlockId(id) in ids {
            if id == self.predictor.guess() {
                self.predictor.right(id);
                self.hits += 1;
            } else {
                put(&mut out.block_hits, self.hits);
                self.hits = 0;
                // Ids are 32 bits, so the difference always fits.
                let ahead = i64::from(self.predictor.next_new) - i64::from(id);
                put(&mut out.block_misses, zigzag(ahead));
                self.predictor.wrong(id);
            }
        }
    }

    pub(super) fn finish(self, out: &mut Columns) {
        if self.hits > 0 {
            put(&mut out.block_hits, self.hits);
        }
    }
}

/// Reads chains one after another.
pub(super) struct ChainReader<'a> {
    predictor: &'a mut Predictor,
    runs: Numbers<'a>,
    misses: Numbers<'a>,
    /// Right guesses left in the open run; `None` before the first.
    hits: Option<u64>,
}

impl<'a> ChainReader<'a> {
    pub(super) fn new(predictor: &'a mut Predictor, columns: &ColumnNumbers<'a>) -> Self {
        Self {
            predictor,
            runs: columns.block_hits,
            misses: columns.block_misses,
            hits: None,
        }
    }

    /// Reads the chain of an exchange of `session`, which is none where sessions do not count for the guesses.
    pub(super) fn chain(
        &mut self,
        len: usize,
        session: Option<SessionId>,
    ) -> Result<Vec<BlockId>, Malformed> {
        let mut ids = Vec::with_capacity(len);
        self.predictor.begin_chain(session.map(|id| id.0));
        while ids.len() < len {
            match self.hits {
                None => self.hits = Some(self.runs.next()?),
                Some(0) => {
                    let ahead = super::super::varint::unzigzag(self.misses.next()?);
                    let id = i64::from(self.predictor.next_new)
                        .checked_sub(ahead)
                        .and_then(|id| u32::try_from(id).ok())
                        .ok_or(Malformed("a block id is out of range"))?;
                    self.predictor.wrong(id);
                    ids.push(BlockId(id));
                    self.hits = None;
                }
                Some(left) => {
                    let wanted = len - ids.len();
                    let run = usize::try_from(left).map_or(wanted, |left| left.min(wanted));
                    for _ in 0..run {
                        let id = self.predictor.guess();
                        self.predictor.right(id);
                        ids.push(BlockId(id));
                    }
                    self.hits = Some(left - run as u64);
                }
            }
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(chains: &[Vec<u32>]) -> Columns {
        let mut predictor = Predictor::new();
        predictor.restart(0);
        let mut columns = Columns::default();
        let mut writer = ChainWriter::new(&mut predictor);
        for chain in chains {
            let ids: Vec<_> = chain.iter().copied().map(BlockId).collect();
            writer.chain(&mut columns, &ids, session_of(&ids));
        }
        writer.finish(&mut columns);
        columns
    }

    /// Any function of the chain will do.
    fn session_of(ids: &[BlockId]) -> Option<SessionId> {
        (ids.len() % 4 != 1).then_some(SessionId(ids.len() as u32 % 3))
    }

    fn read(columns: &Columns, lens: &[(usize, Option<SessionId>)]) -> Vec<Vec<u32>> {
        let numbers = ColumnNumbers {
            block_hits: Numbers::new(&columns.block_hits),
            block_misses: Numbers::new(&columns.block_misses),
            ..ColumnNumbers::default()
        };
        let mut predictor = Predictor::new();
        predictor.restart(0);
        let mut reader = ChainReader::new(&mut predictor, &numbers);
        lens.iter()
            .map(|&(len, session)| {
                reader
                    .chain(len, session)
                    .unwrap()
                    .into_iter()
                    .map(|id| id.0)
                    .collect()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_chains_read_back(chains in prop::collection::vec(
            prop::collection::vec(prop_oneof![0..40_u32, any::<u32>(), Just(u32::MAX)], 0..20), 0..20)) {
            let lens: Vec<_> = chains.iter().map(|chain| {
                let ids: Vec<_> = chain.iter().copied().map(BlockId).collect();
                (ids.len(), session_of(&ids))
            }).collect();
            prop_assert_eq!(read(&written(&chains), &lens), chains);
        }
    }

    #[test]
    fn new_and_repeated_chains_cost_a_run() {
        let conversation: Vec<u32> = (0..1000).collect();
        let columns = written(&[conversation.clone(), conversation.clone(), conversation]);
        assert_eq!(columns.block_hits, [0xb8, 0x17], "one run of 3000");
        assert!(columns.block_misses.is_empty());
    }

    #[test]
    fn a_branch_costs_one_miss_and_is_remembered() {
        let columns = written(&[vec![0, 1, 2, 3], vec![0, 1, 4, 5], vec![0, 1, 4, 5, 6]]);
        assert_eq!(columns.block_misses, [0], "the next new id");
        assert_eq!(columns.block_hits, [6, 6]);
    }

    #[test]
    fn what_a_conversation_goes_on_with_is_remembered_beside_what_others_do() {
        let mut predictor = Predictor::new();
        predictor.restart(0);
        let mut columns = Columns::default();
        let mut writer = ChainWriter::new(&mut predictor);
        for turn in [0, 1, 0, 1, 0, 1] {
            let ids = [0, 1, 2 + 10 * turn, 3 + 10 * turn].map(BlockId);
            writer.chain(&mut columns, &ids, Some(SessionId(turn)));
        }
        writer.finish(&mut columns);
        assert_eq!(
            columns.block_misses.len(),
            2,
            "the second once, and the first once it is one of two"
        );
    }

    #[test]
    fn two_generations_of_a_predictor_do_not_mix() {
        let mut predictor = Predictor::new();
        predictor.generation = u32::MAX - 1;
        for _ in 0..4 {
            predictor.restart(10);
            predictor.right(3);
            assert_eq!(predictor.guess(), 4);
            predictor.wrong(9);
            predictor.right(3);
            assert_eq!(predictor.guess(), 9);
        }
    }
}

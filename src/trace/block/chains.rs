//! Prompt chains as predictions. Most ids of a chain can be guessed: numbers are given in order of first appearance, so the
//! usual successor of an id is the next number, and where it is not, it is usually the one that followed last time. Only
//! the lengths of the runs of right guesses and what stood where a guess was wrong are written.

use super::columns::{ColumnNumbers, Columns};
use super::predictor::Predictor;
use crate::shape::{BlockId, Exchange, SessionId};
use crate::trace::varint::{Malformed, Numbers, put, unzigzag, zigzag};

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
                let ahead = i64::from(self.predictor.next_new()) - i64::from(id);
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
                    let ahead = unzigzag(self.misses.next()?);
                    let id = i64::from(self.predictor.next_new())
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

/// Chains are written in the order in which their exchanges ended, for that is the order in which a recorder numbers them.
pub(super) fn completion_order<'a>(exchanges: impl Iterator<Item = &'a Exchange>) -> Vec<usize> {
    let ended = |exchange: &Exchange| {
        let end_us = exchange.response.end_us.unwrap_or(0);
        exchange.at.us().saturating_add(end_us)
    };
    let mut order: Vec<_> = exchanges.map(ended).zip(0..).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, place)| place).collect()
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
}

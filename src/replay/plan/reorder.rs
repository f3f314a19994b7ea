//! Requests that wait for their turn, where the plan's order is not the trace's: copies that are moved back in time, later turns of
//! conversations whose beginnings come faster.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::error::PlanError;
use super::slice::Arrival;
use crate::shape::{BlockId, Exchange};

/// A request's place in the plan's order: its instant, and among those of one instant the pass, the trace's order and the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) at_us: u64,
    pub(super) pass: u64,
    pub(super) ordinal: u64,
    pub(super) copy: u32,
}

/// A queue in the order of ranks, of bounded size.
pub(super) struct Reorder {
    waiting: BinaryHeap<Reverse<Held>>,
    bytes: usize,
    most_bytes: usize,
}

/// What may wait: some 400,000 requests.
const MOST_BYTES: usize = 256 << 20;

struct Held {
    rank: Rank,
    start: Rank,
    arrival: Arrival,
    /// The prompt's blocks as runs of successive numbers, which is what most of a chain is: (first, how many).
    runs: Vec<(u32, u32)>,
}

impl Reorder {
    pub(super) fn new() -> Self {
        Self {
            waiting: BinaryHeap::new(),
            bytes: 0,
            most_bytes: MOST_BYTES,
        }
    }

    #[cfg(test)]
    fn holding_at_most(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            ..Self::new()
        }
    }

    /// # Errors
    /// When too much waits already.
    pub(super) fn push(
        &mut self,
        rank: Rank,
        start: Rank,
        mut arrival: Arrival,
    ) -> Result<(), PlanError> {
        let blocks = std::mem::take(&mut arrival.exchange.request.blocks);
        let held = Held {
            rank,
            start,
            arrival,
            runs: runs(&blocks),
        };
        self.bytes += held.bytes();
        if self.bytes > self.most_bytes {
            return Err(PlanError::TooManyHeld {
                most_bytes: self.most_bytes,
            });
        }
        self.waiting.push(Reverse(held));
        Ok(())
    }

    /// The first in the plan's order, if it comes at `until_us` or before; with the rank of its conversation's first turn.
    pub(super) fn pop(&mut self, until_us: u64) -> Option<(Rank, Rank, Arrival)> {
        if self.waiting.peek()?.0.rank.at_us > until_us {
            return None;
        }
        let Reverse(held) = self.waiting.pop()?;
        self.bytes -= held.bytes();
        let Held {
            rank,
            start,
            mut arrival,
            runs,
        } = held;
        let blocks = runs
            .iter()
            .flat_map(|&(first, count)| first..=first + (count - 1));
        arrival.exchange.request.blocks = blocks.map(BlockId).collect();
        Some((rank, start, arrival))
    }
}

impl Held {
    /// What it takes in memory, near enough.
    fn bytes(&self) -> usize {
        size_of::<Self>() - size_of::<Exchange>()
            + self.arrival.exchange.held_bytes()
            + size_of_val(&self.runs[..])
    }
}

fn runs(blocks: &[BlockId]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &BlockId(id) in blocks {
        match runs.last_mut() {
            Some((first, count)) if first.checked_add(*count) == Some(id) => *count += 1,
            _ => runs.push((id, 1)),
        }
    }
    runs.shrink_to_fit();
    runs
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::plan::options::PlanOptions;
    use crate::replay::plan::slice::Slice;
    use crate::replay::testing::exchange;
    use proptest::prelude::*;

    fn arrival(at_us: u64, blocks: &[u32]) -> (Rank, Arrival) {
        let mut exchange = exchange(at_us);
        exchange.request.blocks = blocks.iter().copied().map(BlockId).collect();
        let mut slice = Slice::new([Ok(exchange)].into_iter(), &PlanOptions::default());
        let arrival = slice.next().unwrap().unwrap();
        let rank = Rank {
            at_us,
            pass: 0,
            ordinal: 0,
            copy: 0,
        };
        (rank, arrival)
    }

    #[test]
    fn more_than_may_be_held_is_an_error_that_says_what_to_do() {
        let mut reorder = Reorder::holding_at_most(4 << 10);
        let full = (0..100).find_map(|at| {
            let (rank, arrival) = arrival(at, &[]);
            reorder.push(rank, rank, arrival).err()
        });
        let error = full.unwrap();
        assert!(matches!(error, PlanError::TooManyHeld { most_bytes: 4096 }));
        assert!(error.hint().unwrap().contains("--copy-shift"));
    }

    proptest! {
        #[test]
        fn what_waited_comes_whole_and_in_order(held in prop::collection::vec((0_u64..100, prop::collection::vec(0_u32..10, 0..10)), 0..40)) {
            let mut reorder = Reorder::new();
            for (at_us, blocks) in &held {
                let (rank, arrival) = arrival(*at_us, blocks);
                reorder.push(rank, rank, arrival).unwrap();
            }
            let mut expected = held;
            expected.sort_by_key(|(at_us, _)| *at_us);
            let mut given: Vec<(u64, Vec<u32>)> = Vec::new();
            for until_us in [30, 60, u64::MAX] {
                while let Some((rank, _, arrival)) = reorder.pop(until_us) {
                    prop_assert!(rank.at_us <= until_us);
                    let blocks = arrival.exchange.request.blocks.iter().map(|block| block.0).collect();
                    given.push((rank.at_us, blocks));
                }
            }
            prop_assert_eq!(reorder.bytes, 0);
            given.sort();
            expected.sort();
            prop_assert_eq!(given, expected);
        }

        #[test]
        fn chains_survive_packing(ids in prop::collection::vec(prop_oneof![0_u32..50, Just(u32::MAX), Just(u32::MAX - 1)], 0..60)) {
            let blocks: Vec<BlockId> = ids.iter().copied().map(BlockId).collect();
            let unpacked: Vec<u32> = runs(&blocks).iter().flat_map(|&(first, count)| first..=first + (count - 1)).collect();
            prop_assert_eq!(unpacked, ids);
        }
    }
}

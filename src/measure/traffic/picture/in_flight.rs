use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Exchanges open at once, as a level that steps up at arrivals and down at ends. Arrivals come in order; ends wait in a heap.
#[derive(Debug, Default)]
pub(super) struct OpenExchanges {
    ends_us: BinaryHeap<Reverse<u64>>,
    /// Opened when the heap was full: they count as open from then on.
    lasting: u64,
}

/// Ends that are remembered, in 1 MiB.
const MOST: usize = 1 << 17;

impl OpenExchanges {
    /// How many are open.
    pub(super) fn level(&self) -> u64 {
        self.ends_us.len() as u64 + self.lasting
    }

    /// The next end at or before `at_us`, taken off the level.
    pub(super) fn close_next(&mut self, at_us: u64) -> Option<u64> {
        let &Reverse(end_us) = self.ends_us.peek()?;
        if end_us > at_us {
            return None;
        }
        self.ends_us.pop();
        Some(end_us)
    }

    /// One more, until `end_us`.
    pub(super) fn open(&mut self, end_us: u64) {
        if self.ends_us.len() < MOST {
            self.ends_us.push(Reverse(end_us));
        } else {
            self.lasting += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_close_in_the_order_of_their_ends() {
        let mut open = OpenExchanges::default();
        open.open(30);
        open.open(10);
        assert_eq!(open.level(), 2);
        assert_eq!(open.close_next(5), None);
        assert_eq!(open.close_next(30), Some(10));
        assert_eq!(open.close_next(30), Some(30));
        assert_eq!((open.close_next(99), open.level()), (None, 0));
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_forgotten() {
        let mut open = OpenExchanges::default();
        (0..MOST as u64 + 10).for_each(|end_us| open.open(end_us));
        assert_eq!(open.ends_us.len(), MOST);
        assert_eq!(open.level(), MOST as u64 + 10);
    }
}

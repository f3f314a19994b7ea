use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::row::{Row, RowError};
use crate::shape::TraceTime;

/// Moves times of the wall clock to the trace's own, which begins with the earliest row.
///
/// Sources that write a request when it ends have the earliest not always first. So rows are held back, and time begins with
/// the earliest of the first of them; a row that comes out even later than that is malformed.
pub(in crate::interop) struct Window {
    held: BinaryHeap<Reverse<Held>>,
    /// What the held rows weigh, by [`Row::weight`].
    weight: usize,
    wall_clock: bool,
    epoch_us: Option<u64>,
    number: u64,
}

/// How many rows are held back at most: about a minute of very busy traffic.
const ROWS: usize = 8192;

/// What they may weigh before fewer are held: some 64 MB. One row always may.
const WEIGHT: usize = 1 << 23;

impl Window {
    pub(in crate::interop) fn new(wall_clock: bool) -> Self {
        Self {
            held: BinaryHeap::new(),
            weight: 0,
            wall_clock,
            epoch_us: (!wall_clock).then_some(0),
            number: 0,
        }
    }

    /// Takes a row in.
    pub(in crate::interop) fn hold(&mut self, row: Row) {
        let number = self.number;
        self.number += 1;
        self.weight += row.weight();
        self.held.push(Reverse(Held { number, row }));
    }

    /// Whether a row must go out before another comes in.
    pub(in crate::interop) fn is_full(&self) -> bool {
        match self.wall_clock {
            true => self.held.len() > ROWS || (self.held.len() > 1 && self.weight > WEIGHT),
            false => !self.held.is_empty(),
        }
    }

    /// Gives out the earliest row that is left.
    pub(in crate::interop) fn take(&mut self) -> Option<Result<Row, RowError>> {
        let Reverse(Held { mut row, .. }) = self.held.pop()?;
        self.weight -= row.weight();
        let at_us = row.exchange.at.us();
        let epoch_us = *self.epoch_us.get_or_insert(at_us);
        Some(match at_us.checked_sub(epoch_us) {
            Some(us) => {
                row.exchange.at = TraceTime::from_us(us);
                Ok(row)
            }
            None => Err(RowError::Bad {
                line: row.line,
                reason: format!(
                    "it is earlier than where time begins, which is the earliest of the first {ROWS} rows (of fewer where they are large)"
                ),
            }),
        })
    }
}

struct Held {
    number: u64,
    row: Row,
}

impl Held {
    fn key(&self) -> (u64, u64) {
        (self.row.exchange.at.us(), self.number)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
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
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::input::Told;

    fn row(at_us: u64) -> Row {
        Told {
            at_us,
            ..Told::default()
        }
        .into()
    }

    fn out(window: &mut Window, times: impl IntoIterator<Item = u64>) -> Vec<Option<u64>> {
        let mut rows = Vec::new();
        for at_us in times {
            window.hold(row(at_us));
            while window.is_full() {
                rows.extend(window.take());
            }
        }
        rows.extend(std::iter::from_fn(|| window.take()));
        rows.into_iter()
            .map(|row| row.ok().map(|row| row.exchange.at.us()))
            .collect()
    }

    #[test]
    fn time_begins_with_the_earliest_of_the_first_rows() {
        let times = out(&mut Window::new(true), [1_000_005, 1_000_000, 1_000_009]);
        assert_eq!(times, [Some(0), Some(5), Some(9)]);
    }

    #[test]
    fn a_row_that_comes_out_too_late_is_malformed() {
        let size = ROWS as u64;
        let times = out(&mut Window::new(true), (10..=10 + size).chain([3]));
        assert_eq!(times.iter().filter(|time| time.is_none()).count(), 1);
        assert_eq!(times.len() as u64, size + 2);
    }

    #[test]
    fn a_relative_clock_is_left_alone() {
        assert_eq!(out(&mut Window::new(false), [7, 3]), [Some(7), Some(3)]);
    }

    #[test]
    fn of_large_rows_fewer_are_held() {
        let mut window = Window::new(true);
        for at_us in 0..100 {
            let mut large = row(at_us);
            large.exchange.request.blocks = vec![crate::shape::BlockId(0); WEIGHT / 4];
            window.hold(large);
            while window.is_full() {
                assert!(window.take().is_some());
            }
            assert!(window.held.len() <= 4 && !window.held.is_empty());
        }
    }
}

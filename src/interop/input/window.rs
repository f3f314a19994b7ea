use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::row::{Row, RowError};
use crate::shape::TraceTime;

/// Moves times of the wall clock to the trace's own, which begins with the earliest row.
///
/// Sources that write a request when it ends have the earliest not always first. So this many rows are held back, and time
/// begins with the earliest of the first of them; a row that comes out even later than that is malformed.
pub(in crate::interop) struct Window {
    held: BinaryHeap<Reverse<Held>>,
    size: usize,
    epoch_us: Option<u64>,
    number: u64,
}

/// How many rows are held back: about a minute of very busy traffic, and at most some ten megabytes.
const SIZE: usize = 8192;

impl Window {
    pub(in crate::interop) fn new(wall_clock: bool) -> Self {
        Self {
            held: BinaryHeap::new(),
            size: if wall_clock { SIZE } else { 0 },
            epoch_us: (!wall_clock).then_some(0),
            number: 0,
        }
    }

    /// Takes a row in, and may give one out.
    pub(in crate::interop) fn pass(&mut self, row: Row) -> Option<Result<Row, RowError>> {
        if self.size == 0 {
            return Some(Ok(row));
        }
        let number = self.number;
        self.number += 1;
        self.held.push(Reverse(Held { number, row }));
        if self.held.len() > self.size {
            return self.take();
        }
        None
    }

    /// Gives out the earliest row that is left.
    pub(in crate::interop) fn take(&mut self) -> Option<Result<Row, RowError>> {
        let Reverse(Held { mut row, .. }) = self.held.pop()?;
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
                    "it is earlier than all of the first {SIZE} rows, where time begins"
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
        let mut rows: Vec<_> = times
            .into_iter()
            .filter_map(|at_us| window.pass(row(at_us)))
            .collect();
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
        let size = SIZE as u64;
        let times = out(&mut Window::new(true), (10..=10 + size).chain([3]));
        assert_eq!(times.iter().filter(|time| time.is_none()).count(), 1);
        assert_eq!(times.len() as u64, size + 2);
    }

    #[test]
    fn a_relative_clock_is_left_alone() {
        assert_eq!(out(&mut Window::new(false), [7, 3]), [Some(7), Some(3)]);
    }
}

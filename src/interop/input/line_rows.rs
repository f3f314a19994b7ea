use std::collections::VecDeque;

use super::lines::Lines;
use super::row::{About, Row, RowError, Rows};
use crate::interop::blocks::Blocks;

/// A format in which every line stands for itself.
pub(in crate::interop) trait LineFormat {
    /// The requests that a line tells of: one, or several, or none where it is about something else.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String>;

    /// What holds for the whole file, as far as the lines read so far tell.
    fn about(&self) -> About;

    /// Blocks of which the lines show what one covers, where the format does not say it.
    fn blocks(&mut self) -> Option<&mut Blocks> {
        None
    }
}

/// The rows of such a format.
pub(in crate::interop) struct LineRows<F> {
    lines: Lines,
    format: F,
    ready: VecDeque<Row>,
}

impl<F> LineRows<F> {
    pub(in crate::interop) fn new(lines: Lines, format: F) -> Self {
        Self {
            lines,
            format,
            ready: VecDeque::new(),
        }
    }
}

impl<F: LineFormat> Rows for LineRows<F> {
    fn next_row(&mut self) -> Option<Result<Row, RowError>> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                let line = self.lines.number();
                return Some(Ok(Row { line, ..row }));
            }
            let read = match self.lines.next()? {
                Ok(line) => self.format.read(line, &mut self.ready),
                Err(error) => return Some(Err(error)),
            };
            if let Err(reason) = read {
                // A line is taken whole or not at all.
                self.ready.clear();
                return Some(Err(RowError::Bad {
                    line: self.lines.number(),
                    reason,
                }));
            }
        }
    }

    fn about(&self) -> About {
        self.format.about()
    }

    fn blocks(&mut self) -> Option<&mut Blocks> {
        self.format.blocks()
    }
}

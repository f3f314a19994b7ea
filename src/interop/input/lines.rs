use std::io::{self, BufRead};

use super::row::RowError;

/// The longest line that is read.
const MAX_LINE: usize = 16 << 20;

/// Lines of a text, one at a time, each of bounded length: a longer one is passed over, without being held, and is a malformed
/// row. Blank lines do not count as rows; a byte order mark is no part of the first line.
pub(in crate::interop) struct Lines {
    reader: Box<dyn BufRead>,
    number: u64,
    text: Vec<u8>,
    max: usize,
}

impl Lines {
    pub(in crate::interop) fn new(reader: Box<dyn BufRead>) -> Self {
        Self {
            reader,
            number: 0,
            text: Vec::new(),
            max: MAX_LINE,
        }
    }

    /// Reads the next line that is not blank; `None` at the end.
    pub(in crate::interop) fn next(&mut self) -> Option<Result<&[u8], RowError>> {
        loop {
            self.text.clear();
            match self.take_line() {
                Ok(Took::End) => return None,
                Ok(Took::TooLong) => {
                    return Some(Err(RowError::Bad {
                        line: self.number,
                        reason: format!("longer than {} MiB", self.max >> 20),
                    }));
                }
                Ok(Took::Line) if self.line().is_empty() => {}
                Ok(Took::Line) => return Some(Ok(self.line())),
                Err(error) => return Some(Err(RowError::Io(error))),
            }
        }
    }

    /// The number of the line last read, counted from 1.
    pub(in crate::interop) fn number(&self) -> u64 {
        self.number
    }

    /// Everything from the line last read to the end, as one text of at most `limit` bytes; `None` where there is more.
    pub(in crate::interop) fn rest(&mut self, limit: usize) -> Result<Option<Vec<u8>>, RowError> {
        let mut text = std::mem::take(&mut self.text);
        while text.len() <= limit {
            let chunk = self.reader.fill_buf().map_err(RowError::Io)?;
            let taken = chunk.len();
            if taken == 0 {
                return Ok(Some(text));
            }
            text.extend_from_slice(chunk);
            self.reader.consume(taken);
        }
        Ok(None)
    }

    /// The line without its end, or the mark at the file's beginning.
    fn line(&self) -> &[u8] {
        let text = self.text.as_slice();
        let text = match self.number {
            1 => text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
            _ => text,
        };
        text.trim_ascii()
    }

    fn take_line(&mut self) -> io::Result<Took> {
        let mut too_long = false;
        let mut any = false;
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break;
            }
            if !any {
                self.number += 1;
                any = true;
            }
            let end = memchr::memchr(b'\n', chunk);
            let taken = end.map_or(chunk.len(), |end| end + 1);
            if self.text.len() + taken > self.max {
                too_long = true;
            }
            if too_long {
                self.text = Vec::new();
            } else {
                self.text
                    .extend_from_slice(chunk.get(..taken).unwrap_or_default());
            }
            self.reader.consume(taken);
            if end.is_some() {
                break;
            }
        }
        Ok(match (any, too_long) {
            (false, _) => Took::End,
            (true, true) => Took::TooLong,
            (true, false) => Took::Line,
        })
    }
}

enum Took {
    Line,
    TooLong,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, max: usize) -> Vec<Result<String, u64>> {
        let mut lines = Lines {
            max,
            ..Lines::new(Box::new(io::BufReader::with_capacity(
                7,
                io::Cursor::new(text.to_owned()),
            )))
        };
        let mut read = Vec::new();
        while let Some(line) = lines.next() {
            read.push(match line {
                Ok(line) => Ok(String::from_utf8(line.to_vec()).unwrap()),
                Err(RowError::Bad { line, .. }) => Err(line),
                Err(_) => unreachable!(),
            });
        }
        read
    }

    #[test]
    fn a_line_too_long_is_one_malformed_row_and_the_next_is_read() {
        let long = "x".repeat(30);
        let read = lines(&format!("\u{feff}one\r\n\n{long}\nfour\n{long}"), 20);
        assert_eq!(
            read,
            [Ok("one".to_owned()), Err(3), Ok("four".to_owned()), Err(5)]
        );
    }

    #[test]
    fn the_rest_is_bounded() {
        let open = || Lines::new(Box::new(io::Cursor::new("{\n1\n}\n".to_owned())));
        let mut short = open();
        short.next().unwrap().ok().unwrap();
        assert_eq!(short.rest(100).ok().unwrap(), Some(b"{\n1\n}\n".to_vec()));
        let mut long = open();
        long.next().unwrap().ok().unwrap();
        assert_eq!(long.rest(3).ok().unwrap(), None);
    }
}

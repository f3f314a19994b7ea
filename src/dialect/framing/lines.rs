//! Newline-delimited JSON, split from pieces cut anywhere.

use memchr::memchr;

use super::sse::{Event, MAX_EVENT, empty};

/// Splits a byte stream into lines that are not blank. Holds at most one line, up to [`MAX_EVENT`].
#[derive(Default)]
pub(in crate::dialect) struct LineSplitter {
    /// The unfinished line.
    line: Vec<u8>,
    /// It is larger than is kept.
    oversize: bool,
}

impl LineSplitter {
    /// Takes the next piece and hands on every line that it completes.
    pub(in crate::dialect) fn feed(&mut self, piece: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        let mut rest = piece;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if self.line.is_empty() && !self.oversize {
                hand_on(line, line.len() > MAX_EVENT, &mut on_event);
            } else {
                self.grow(line);
                hand_on(&self.line, self.oversize, &mut on_event);
                empty(&mut self.line);
                self.oversize = false;
            }
        }
        self.grow(rest);
    }

    /// Hands on a line that the stream's end left without its line feed.
    pub(in crate::dialect) fn finish(&mut self, on_event: impl FnMut(Event<'_>)) {
        self.feed(b"\n", on_event);
    }

    /// Bytes that it holds.
    pub(in crate::dialect) fn held_bytes(&self) -> usize {
        self.line.capacity()
    }

    fn grow(&mut self, part: &[u8]) {
        self.oversize |= self.line.len() + part.len() > MAX_EVENT;
        if !self.oversize {
            self.line.extend_from_slice(part);
        }
    }
}

fn hand_on(line: &[u8], oversize: bool, on_event: &mut impl FnMut(Event<'_>)) {
    if oversize || !line.trim_ascii().is_empty() {
        on_event(Event {
            name: b"",
            data: (!oversize).then_some(line),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut splitter = LineSplitter::default();
        let mut seen = Vec::new();
        let mut note = |event: Event<'_>| seen.push(event.data.map(<[u8]>::to_vec));
        for piece in pieces {
            splitter.feed(piece, &mut note);
        }
        splitter.finish(&mut note);
        seen
    }

    #[test]
    fn lines_are_split_and_blank_ones_passed_over() {
        let seen = lines(&[b"{\"a\":1}\r\n\n {\"b\":", b"2}\n  \n{}"]);
        let seen: Vec<_> = seen
            .iter()
            .map(|line| line.as_deref().unwrap().trim_ascii())
            .collect();
        assert_eq!(seen, [&b"{\"a\":1}"[..], b"{\"b\":2}", b"{}"]);
    }

    #[test]
    fn an_enormous_line_is_counted_and_not_kept() {
        let mut enormous = vec![b'x'; MAX_EVENT + 1];
        enormous.extend_from_slice(b"\n{}\n");
        for cut in [0, 1, MAX_EVENT, MAX_EVENT + 1, enormous.len()] {
            let (head, tail) = enormous.split_at(cut);
            assert_eq!(
                lines(&[head, tail]),
                [None, Some(b"{}".to_vec())],
                "cut at {cut}"
            );
        }
    }

    proptest! {
        #[test]
        fn cuts_never_matter(
            stream in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), any::<u8>()], 0..80),
            step in 1..20_usize,
        ) {
            let pieces: Vec<&[u8]> = stream.chunks(step).collect();
            prop_assert_eq!(lines(&pieces), lines(&[&stream]));
        }
    }
}

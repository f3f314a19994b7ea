//! Server-sent events, split as the WHATWG specification says, from pieces cut anywhere.

use memchr::memchr2;

/// Splits a byte stream into events. Holds at most one event's data, up to [`MAX_EVENT`].
#[derive(Default)]
pub(in crate::dialect) struct SseSplitter {
    /// The unfinished line, where it began in an earlier piece.
    line: Vec<u8>,
    /// The unfinished event's data lines, joined by line feeds.
    data: Vec<u8>,
    has_data: bool,
    name: Vec<u8>,
    /// The open event is larger than is kept.
    oversize: bool,
    /// The last piece ended in CR: a LF that follows is part of the same line end.
    skip_lf: bool,
    /// How much of a byte order mark the stream has begun with; `None` once that is settled.
    bom: Option<usize>,
    begun: bool,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dialect) struct Event<'a> {
    /// Its type; empty for the default one.
    pub(in crate::dialect) name: &'a [u8],
    /// Its data; `None` where it was larger than is kept.
    pub(in crate::dialect) data: Option<&'a [u8]>,
}

impl SseSplitter {
    /// Takes the next piece and hands on every event that it completes.
    pub(in crate::dialect) fn feed(&mut self, piece: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        let mut rest = self.past_bom(piece);
        if self.skip_lf && !rest.is_empty() {
            self.skip_lf = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        // Data of the open event that lies whole in this piece, so that it need not be copied.
        let mut here: Option<&[u8]> = None;
        while let Some(end) = memchr2(b'\r', b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = match after {
                [b'\r', b'\n', tail @ ..] | [_, tail @ ..] => tail,
                [] => after,
            };
            if after == b"\r" {
                self.skip_lf = true;
            }
            if self.line.is_empty() {
                self.take_line(line, &mut here, &mut on_event);
            } else {
                self.grow_line(line);
                let whole = std::mem::take(&mut self.line);
                let mut none = None;
                self.keep(&mut here);
                self.take_line(&whole, &mut none, &mut on_event);
                self.keep(&mut none);
                self.line = whole;
                empty(&mut self.line);
            }
        }
        self.grow_line(rest);
        self.keep(&mut here);
    }

    /// Bytes that it holds.
    pub(in crate::dialect) fn held_bytes(&self) -> usize {
        self.line.capacity() + self.data.capacity() + self.name.capacity()
    }

    /// Hands on an event that the stream's end left without its blank line.
    pub(in crate::dialect) fn finish(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        self.feed(b"\n\n", &mut on_event);
    }

    fn past_bom<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        if self.begun {
            return piece;
        }
        let mut matched = self.bom.unwrap_or(0);
        for (at, byte) in piece.iter().enumerate() {
            if BOM.get(matched) == Some(byte) {
                matched += 1;
                if matched == BOM.len() {
                    self.begun = true;
                    return piece.get(at + 1..).unwrap_or_default();
                }
            } else {
                self.begun = true;
                // What looked like a mark was the start of a line.
                let earlier = self.bom.unwrap_or(0);
                self.line
                    .extend_from_slice(BOM.get(..earlier).unwrap_or_default());
                return piece;
            }
        }
        self.bom = Some(matched);
        &[]
    }

    /// Keeps as much of a line as shows that its data is too large, and no more.
    fn grow_line(&mut self, part: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line
            .extend_from_slice(part.get(..room).unwrap_or(part));
    }

    fn take_line<'a>(
        &mut self,
        line: &'a [u8],
        here: &mut Option<&'a [u8]>,
        on_event: &mut impl FnMut(Event<'_>),
    ) {
        if line.is_empty() {
            self.dispatch(here, on_event);
            return;
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(0) => return,
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" if !self.has_data && here.is_none() => {
                self.oversize = value.len() > MAX_EVENT;
                *here = Some(value);
            }
            b"data" => {
                self.keep(here);
                if self.data.len() + value.len() < MAX_EVENT {
                    self.data.push(b'\n');
                    self.data.extend_from_slice(value);
                } else {
                    self.oversize = true;
                }
            }
            b"event" => {
                self.name.clear();
                self.name
                    .extend_from_slice(value.get(..MAX_NAME.min(value.len())).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn keep(&mut self, here: &mut Option<&[u8]>) {
        if let Some(data) = here.take() {
            self.has_data = true;
            if !self.oversize {
                self.data.extend_from_slice(data);
            }
        }
    }

    fn dispatch(&mut self, here: &mut Option<&[u8]>, on_event: &mut impl FnMut(Event<'_>)) {
        if self.has_data || here.is_some() {
            let data = here.take().unwrap_or(&self.data);
            on_event(Event {
                name: &self.name,
                data: (!self.oversize).then_some(data),
            });
        }
        empty(&mut self.data);
        self.name.clear();
        self.has_data = false;
        self.oversize = false;
    }
}

/// Empties a buffer. The room of everyday events is kept; that of a large one is not, as streams are many and long.
pub(in crate::dialect) fn empty(buffer: &mut Vec<u8>) {
    if buffer.capacity() > EVERYDAY {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

const EVERYDAY: usize = 4 << 10;
/// Data of one event that is kept; a larger event is counted, not read.
pub(in crate::dialect) const MAX_EVENT: usize = 1 << 20;
/// A line of data that was cut here is longer than [`MAX_EVENT`], whatever precedes its value.
const MAX_LINE: usize = MAX_EVENT + 16;
/// Every event type of every dialect is shorter.
const MAX_NAME: usize = 128;
const BOM: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Seen = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn events(pieces: &[&[u8]]) -> Seen {
        let mut splitter = SseSplitter::default();
        let mut seen = Vec::new();
        let mut note =
            |event: Event<'_>| seen.push((event.name.to_vec(), event.data.map(<[u8]>::to_vec)));
        for piece in pieces {
            splitter.feed(piece, &mut note);
        }
        splitter.finish(&mut note);
        seen
    }

    const STREAM: &[u8] =
        b"\xef\xbb\xbf: hello\n\nevent: start\r\ndata: one\r\n\r\ndata:two\rdata: and\r\r\
        id: 7\nretry: 10\ndata\n\nevent: gone\n\n: ping\ndata: caf\xc3\xa9 :x\n\ndata: unfinished";

    #[test]
    fn events_are_split_wherever_the_stream_is_cut() {
        let whole = events(&[STREAM]);
        let expected: Vec<(&[u8], &[u8])> = vec![
            (b"start", b"one"),
            (b"", b"two\nand"),
            (b"", b""),
            (b"", b"caf\xc3\xa9 :x"),
            (b"", b"unfinished"),
        ];
        assert_eq!(whole.len(), expected.len());
        for ((name, data), (expected_name, expected_data)) in whole.iter().zip(expected) {
            assert_eq!(
                (name.as_slice(), data.as_deref()),
                (expected_name, Some(expected_data))
            );
        }
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            assert_eq!(events(&[head, tail]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(events(&bytes), whole);
    }

    #[test]
    fn an_enormous_event_is_counted_and_not_kept() {
        let enormous = vec![b'x'; MAX_EVENT + 10];
        let seen = events(&[b"data: ", &enormous, b"\n\ndata: small\n\n"]);
        assert_eq!(seen, [(vec![], None), (vec![], Some(b"small".to_vec()))]);
    }

    #[test]
    fn an_enormous_event_counts_once_wherever_it_is_cut() {
        let mut stream = b"data: first\n\ndata: ".to_vec();
        stream.resize(stream.len() + MAX_EVENT + 1, b'x');
        stream.extend_from_slice(b"data: y\n\ndata: last\n\n");
        let sizes = |pieces: &[&[u8]]| -> Vec<Option<usize>> {
            let seen = events(pieces).into_iter();
            seen.map(|(_, data)| data.map(|data| data.len())).collect()
        };
        let expected = [Some(5), None, Some(4)];
        let cuts = [
            0,
            14,
            20,
            100,
            stream.len() - 23,
            stream.len() - 16,
            stream.len(),
        ];
        for cut in cuts {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(sizes(&[head, tail]), expected, "cut at {cut}");
        }
        let pieces: Vec<&[u8]> = stream.chunks(MAX_EVENT / 3).collect();
        assert_eq!(sizes(&pieces), expected);
    }

    proptest! {
        #[test]
        fn cuts_never_matter(
            stream in prop::collection::vec(
                prop_oneof![
                    Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'd'),
                    Just(b'a'), Just(b't'), any::<u8>()
                ],
                0..120,
            ),
            step in 1..20_usize,
        ) {
            let pieces: Vec<&[u8]> = stream.chunks(step).collect();
            prop_assert_eq!(events(&pieces), events(&[&stream]));
        }
    }
}

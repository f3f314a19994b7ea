//! A JSON array that arrives in pieces, element by element: how Gemini streams where nobody asks for events.

use super::sse::{Event, MAX_EVENT, empty};

/// Splits a JSON array into its elements, as each is whole. What is no array is one element. Holds at most one, up to
/// [`MAX_EVENT`].
#[derive(Default)]
pub(in crate::dialect) struct ArraySplitter {
    element: Vec<u8>,
    oversize: bool,
    /// Brackets that are open inside the element.
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl ArraySplitter {
    /// Takes the next piece and hands on every element that it completes.
    pub(in crate::dialect) fn feed(&mut self, piece: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        for &byte in piece {
            if self.depth == 0 && byte != b'{' {
                // Brackets, commas and blanks between the elements, which are objects.
                continue;
            }
            if self.element.len() < MAX_EVENT {
                self.element.push(byte);
            } else {
                self.oversize = true;
            }
            if self.in_string {
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        on_event(Event {
                            name: b"",
                            data: (!self.oversize).then_some(&self.element),
                        });
                        empty(&mut self.element);
                        self.oversize = false;
                    }
                }
                _ => {}
            }
        }
    }

    /// Hands on an element that the stream's end cut off.
    pub(in crate::dialect) fn finish(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        if self.depth > 0 {
            on_event(Event {
                name: b"",
                data: None,
            });
        }
    }

    /// Bytes that it holds.
    pub(in crate::dialect) fn held_bytes(&self) -> usize {
        self.element.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn elements(pieces: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut splitter = ArraySplitter::default();
        let mut seen = Vec::new();
        let mut note = |event: Event<'_>| seen.push(event.data.map(<[u8]>::to_vec));
        for piece in pieces {
            splitter.feed(piece, &mut note);
        }
        splitter.finish(&mut note);
        seen
    }

    #[test]
    fn elements_are_handed_on_as_they_end() {
        let stream: &[u8] = b"[{\"a\":\"}]\\\\\\\"{\"}\n,\r\n{\"b\":[{},{}]}]\n";
        let expected = [
            Some(b"{\"a\":\"}]\\\\\\\"{\"}".to_vec()),
            Some(b"{\"b\":[{},{}]}".to_vec()),
        ];
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(elements(&[head, tail]), expected, "cut at {cut}");
        }
        assert_eq!(elements(&[b"{\"error\":{}}"]).len(), 1, "no array");
        assert_eq!(elements(&[b"[{\"a\":1"]), [None], "cut off");
    }

    #[test]
    fn an_enormous_element_is_counted_and_not_kept() {
        let text = "x".repeat(MAX_EVENT);
        let stream = format!("[{{\"a\":\"{text}\"}},{{}}]");
        assert_eq!(elements(&[stream.as_bytes()]), [None, Some(b"{}".to_vec())]);
    }

    proptest! {
        #[test]
        fn any_bytes_can_come_in_any_pieces(stream in "[\\[\\]{},\"\\\\a ]{0,60}", step in 1..9_usize) {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(step).collect();
            prop_assert_eq!(elements(&pieces), elements(&[stream.as_bytes()]));
        }
    }
}

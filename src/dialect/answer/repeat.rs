//! Most events of a stream are the one before with another text. Such an event is known by what stands around its text, and
//! is not read as JSON again.

use super::tally::Carried;

/// What an event carried that did nothing but carry one text, whose string holds no escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct Plain<'a> {
    /// The text, where it lies in the event's data.
    pub(in crate::dialect) text: &'a str,
    pub(in crate::dialect) carried: Carried,
    /// It is of the answer that a next turn would repeat.
    pub(in crate::dialect) repeatable: bool,
}

/// The latest event of that kind.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Repeat {
    carried: Option<Carried>,
    repeatable: bool,
    name: Vec<u8>,
    /// Its data without the text, which stood at `text_at`.
    around: Vec<u8>,
    text_at: usize,
}

impl Repeat {
    /// What an event carries, if it is the one before with another text. What stands around the text is then JSON that has
    /// been read before; and the text cannot leave the string it stands in, as it holds neither quotes nor escapes.
    /// With it comes how long the text is that a next turn would repeat.
    pub(in crate::dialect) fn carried(&self, name: &[u8], data: &[u8]) -> Option<(Carried, usize)> {
        let carried = self.carried?;
        let (before, after) = self.around.split_at_checked(self.text_at)?;
        let text = data.strip_prefix(before)?.strip_suffix(after)?;
        let said = if self.repeatable { text.len() } else { 0 };
        (name == self.name && is_plain_string(text)).then_some((carried, said))
    }

    /// Remembers an event that was read, or, where it was not plain, forgets.
    pub(in crate::dialect) fn remember(
        &mut self,
        name: &[u8],
        data: &[u8],
        plain: Option<Plain<'_>>,
    ) {
        self.carried = None;
        let Some(Plain {
            text,
            carried,
            repeatable,
        }) = plain
        else {
            return;
        };
        let at = text.as_ptr().addr().wrapping_sub(data.as_ptr().addr());
        let Some((before, rest)) = data.split_at_checked(at) else {
            return;
        };
        let Some(after) = rest.strip_prefix(text.as_bytes()) else {
            return;
        };
        if before.len() + after.len() > LARGEST {
            return;
        }
        self.name.clear();
        self.name.extend_from_slice(name);
        self.around.clear();
        self.around.extend_from_slice(before);
        self.around.extend_from_slice(after);
        self.text_at = at;
        self.carried = Some(carried);
        self.repeatable = repeatable;
    }

    /// Bytes that it holds.
    pub(in crate::dialect) fn held_bytes(&self) -> usize {
        self.name.capacity() + self.around.capacity()
    }
}

/// Larger frames are not remembered: streams are many.
const LARGEST: usize = 1 << 10;

/// Whether these bytes between two quotes are one string of JSON, not empty, that means what it says.
fn is_plain_string(text: &[u8]) -> bool {
    let plain = |&byte: &u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    !text.is_empty() && text.iter().all(plain) && simdutf8::basic::from_utf8(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembering(data: &str, text: &str) -> Repeat {
        let at = data.find(text).unwrap();
        let plain = Plain {
            text: &data[at..at + text.len()],
            carried: Carried::Answer,
            repeatable: true,
        };
        let mut repeat = Repeat::default();
        repeat.remember(b"delta", data.as_bytes(), Some(plain));
        repeat
    }

    #[test]
    fn an_event_is_a_repeat_if_only_its_text_differs() {
        let repeat = remembering(r#"{"a":1,"t":"one","b":2}"#, "one");
        let known = |name: &str, data: &[u8]| repeat.carried(name.as_bytes(), data).is_some();
        assert!(known("delta", br#"{"a":1,"t":"two, three","b":2}"#));
        let said = repeat.carried(b"delta", br#"{"a":1,"t":"two, three","b":2}"#);
        assert_eq!(said, Some((Carried::Answer, 10)));
        assert!(known("delta", r#"{"a":1,"t":"né","b":2}"#.as_bytes()));
        for other in [
            &br#"{"a":1,"t":"","b":2}"#[..],
            br#"{"a":2,"t":"two","b":2}"#,
            br#"{"a":1,"t":"two","b":3}"#,
            br#"{"a":1,"t":"t\u0000","b":2}"#,
            br#"{"a":1,"t":"","stop":"","b":2}"#,
            b"{\"a\":1,\"t\":\"a\nb\",\"b\":2}",
            b"{\"a\":1,\"t\":\"\xff\",\"b\":2}",
            br#"{"a":1,"t":","b":2}"#,
            b"",
        ] {
            assert!(!known("delta", other), "{}", String::from_utf8_lossy(other));
        }
        assert!(!known("other", br#"{"a":1,"t":"two","b":2}"#));
    }

    #[test]
    fn what_is_not_plain_or_too_large_is_forgotten() {
        let mut repeat = remembering(r#"{"t":"one"}"#, "one");
        repeat.remember(b"delta", b"{}", None);
        assert_eq!(repeat.carried(b"delta", br#"{"t":"one"}"#), None);
        let large = format!(r#"{{"t":"one","x":"{}"}}"#, "x".repeat(LARGEST));
        let repeat = remembering(&large, "one");
        assert_eq!(repeat.carried(b"delta", large.as_bytes()), None);
        assert_eq!(repeat.held_bytes(), 0);
        let mut repeat = Repeat::default();
        let elsewhere = Plain {
            text: "elsewhere",
            carried: Carried::Answer,
            repeatable: true,
        };
        repeat.remember(b"", br#"{"t":"one"}"#, Some(elsewhere));
        assert_eq!(repeat.carried(b"", br#"{"t":"one"}"#), None);
    }
}

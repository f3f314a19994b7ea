//! The header section of a message, read strictly: what two parsers could read differently is refused, never guessed at.
//! RFC 9112, sections 2.2 and 5.

use super::Malformed;

/// One header field as it stands on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    /// Without the white space around it.
    pub(crate) value: &'a [u8],
    /// The whole line, its CRLF included.
    pub(crate) line: &'a [u8],
}

impl Field<'_> {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Iterates over lines that each end in CRLF.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = next_line(&mut self.0)?;
        Some(read(line))
    }
}

/// Takes the next line, its end included.
pub(crate) fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
    let (line, after) = rest.split_at(end);
    *rest = after;
    Some(line)
}

fn read(line: &[u8]) -> Result<Field<'_>, Malformed> {
    let text = line.strip_suffix(b"\r\n").ok_or(Malformed::BareLineFeed)?;
    if matches!(text.first(), Some(b' ' | b'\t')) {
        return Err(Malformed::Folded);
    }
    let colon = memchr::memchr(b':', text).ok_or(Malformed::FieldName)?;
    let (name, rest) = text.split_at(colon);
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
        return Err(Malformed::FieldName);
    }
    let value = rest.get(1..).unwrap_or_default();
    if !value.iter().all(|&byte| is_text(byte)) {
        return Err(Malformed::FieldValue);
    }
    let value = trim(value);
    Ok(Field { name, value, line })
}

/// RFC 9110, 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// What a value or a reason may hold: visible characters, space, tab and bytes over 127; no other control character.
pub(crate) fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The members of a comma-separated list.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// Where a head ends, its blank line included, once all of it is there. `scanned` is how far earlier calls have looked.
///
/// # Errors
/// At the first line that ends in a bare line feed, without waiting for more.
pub(crate) fn end_of_head(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, Malformed> {
    let from = *scanned;
    for at in memchr::memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()) {
        let at = from + at;
        let line = bytes.get(..at).unwrap_or_default();
        let Some(text) = line.strip_suffix(b"\r") else {
            return Err(Malformed::BareLineFeed);
        };
        if text.ends_with(b"\n") {
            return Ok(Some(at + 1));
        }
    }
    *scanned = bytes.len();
    Ok(None)
}

/// How a message's headers say that its body is framed. RFC 9112, 6.3.
#[derive(Debug, Default)]
pub(crate) struct BodyFields {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
}

impl BodyFields {
    /// Takes note of a field, where it is about framing. Whoever sends both lengths, one of them twice, or a transfer coding
    /// by another name may mean two things at once.
    pub(crate) fn note(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        if field.is("content-length") {
            if self.length.is_some() {
                return Err(Malformed::ContentLength);
            }
            self.length = Some(length(field.value)?);
        } else if field.is("transfer-encoding") {
            if self.chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::TransferEncoding);
            }
            self.chunked = true;
        } else {
            return Ok(());
        }
        if self.chunked && self.length.is_some() {
            return Err(Malformed::BothLengths);
        }
        Ok(())
    }
}

fn length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<(String, String), Malformed> {
        let field = Fields(line.as_bytes()).next().unwrap()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(field.name), text(field.value)))
    }

    #[test]
    fn a_field_is_read_as_the_rfc_says_or_not_at_all() {
        let ok = |line| one(line).unwrap();
        assert_eq!(ok("A: b\r\n"), ("A".into(), "b".into()));
        assert_eq!(ok("x-y:\t b c \t\r\n"), ("x-y".into(), "b c".into()));
        assert_eq!(ok("A:\r\n"), ("A".into(), String::new()));
        for (line, wrong) in [
            ("A: b\n", Malformed::BareLineFeed),
            (" A: b\r\n", Malformed::Folded),
            ("\tb\r\n", Malformed::Folded),
            ("A : b\r\n", Malformed::FieldName),
            (": b\r\n", Malformed::FieldName),
            ("A b\r\n", Malformed::FieldName),
            ("A\0: b\r\n", Malformed::FieldName),
            ("A: b\0\r\n", Malformed::FieldValue),
            ("A: b\rc\r\n", Malformed::FieldValue),
            ("A: \u{7f}\r\n", Malformed::FieldValue),
        ] {
            assert_eq!(one(line), Err(wrong), "{line:?}");
        }
    }

    #[test]
    fn a_heads_end_is_found_wherever_it_is_cut() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody\n";
        let mut scanned = 0;
        for end in 0..24 {
            assert_eq!(end_of_head(&head[..end], &mut scanned), Ok(None), "{end}");
        }
        assert_eq!(end_of_head(head, &mut scanned), Ok(Some(24)));
        let bare = b"GET / HTTP/1.1\r\nA: b\nC";
        assert_eq!(end_of_head(bare, &mut 0), Err(Malformed::BareLineFeed));
    }

    #[test]
    fn a_body_has_one_length() {
        let note = |lines: &str| {
            let mut body = BodyFields::default();
            for field in Fields(lines.as_bytes()) {
                body.note(&field.unwrap())?;
            }
            Ok((body.length, body.chunked))
        };
        assert_eq!(note("Content-Length: 12\r\n"), Ok((Some(12), false)));
        assert_eq!(note("Transfer-Encoding: Chunked\r\n"), Ok((None, true)));
        for bad in ["+1", "-1", "0x1", "1,1", "1 1", "", "99999999999999999999"] {
            let wrong = note(&format!("Content-Length: {bad}\r\n"));
            assert_eq!(wrong, Err(Malformed::ContentLength), "{bad}");
        }
        for bad in [
            "xchunked",
            "gzip, chunked",
            "chunked, chunked",
            "identity",
            "",
            "chunked;q=1",
            "\"chunked\"",
        ] {
            let wrong = note(&format!("Transfer-Encoding: {bad}\r\n"));
            assert_eq!(wrong, Err(Malformed::TransferEncoding), "{bad}");
        }
        let twice = "Content-Length: 1\r\nContent-Length: 1\r\n";
        assert_eq!(note(twice), Err(Malformed::ContentLength));
        let both = "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(note(both), Err(Malformed::BothLengths));
    }
}

use super::Malformed;
use super::fields::{BodyFields, Field, Fields, is_text, next_line};
use super::framing::{Chunked, Framing};
use super::hop::HopByHop;

/// A response's head, borrowed from the bytes it was read from.
#[derive(Debug)]
pub(crate) struct ResponseHead<'a> {
    pub(crate) status: u16,
    /// From the blank before the status to the line's end.
    pub(crate) status_line: &'a [u8],
    pub(crate) fields: &'a [u8],
    pub(crate) hop: HopByHop<'a>,
    pub(crate) body: BodyFields,
    /// The upstream will answer nothing more on this connection.
    pub(crate) closes: bool,
    pub(crate) content_type: &'a [u8],
    pub(crate) content_encoding: &'a [u8],
    pub(crate) server: &'a [u8],
}

impl<'a> ResponseHead<'a> {
    /// Reads a whole head, its blank line included.
    ///
    /// # Errors
    /// When it can be read in more than one way.
    pub(crate) fn read(head: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = head.strip_suffix(b"\r\n").ok_or(Malformed::BareLineFeed)?;
        let line = next_line(&mut rest).ok_or(Malformed::FirstLine)?;
        let (old, status_line) = match line {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', after @ ..] => (false, after),
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', after @ ..] => (true, after),
            _ => return Err(Malformed::FirstLine),
        };
        let mut head = Self {
            status: read_status(status_line)?,
            status_line,
            fields: rest,
            hop: HopByHop::default(),
            body: BodyFields::default(),
            closes: old,
            content_type: b"",
            content_encoding: b"",
            server: b"",
        };
        for field in Fields(rest) {
            head.note(&field?)?;
        }
        if old && head.body.chunked {
            return Err(Malformed::TransferEncoding);
        }
        head.closes = head.hop.names("close") || old && !head.hop.names("keep-alive");
        Ok(head)
    }

    fn note(&mut self, field: &Field<'a>) -> Result<(), Malformed> {
        self.body.note(field)?;
        self.hop.note(field);
        match field.name.len() {
            6 if field.is("server") => self.server = field.value,
            12 if field.is("content-type") => self.content_type = field.value,
            16 if field.is("content-encoding") => self.content_encoding = field.value,
            _ => {}
        }
        Ok(())
    }

    /// 1xx: another head follows, but after 101.
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The value of the first field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&'a [u8]> {
        Fields(self.fields)
            .flatten()
            .find(|field| field.is(name))
            .map(|field| field.value)
    }

    /// How its body is framed. RFC 9112, 6.3.
    pub(crate) fn framing(&self, to_head: bool) -> Framing {
        if to_head || self.status < 200 || matches!(self.status, 204 | 304) {
            return Framing::NONE;
        }
        match self.body {
            BodyFields { chunked: true, .. } => Framing::Chunked(Chunked::default()),
            BodyFields { length, .. } => length.map_or(Framing::UntilClose, Framing::Length),
        }
    }
}

/// `SP 3DIGIT [SP REASON] CRLF`.
fn read_status(line: &[u8]) -> Result<u16, Malformed> {
    let text = line.strip_suffix(b"\r\n").ok_or(Malformed::BareLineFeed)?;
    match text {
        [
            b' ',
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            reason @ ..,
        ] if matches!(reason, [] | [b' ', ..]) && reason.iter().all(|&byte| is_text(byte)) => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Ok(100 * digit(a) + 10 * digit(b) + digit(c))
        }
        _ => Err(Malformed::FirstLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_framed_as_the_rfc_says() {
        let framing = |head: &str, to_head| {
            let head = format!("HTTP/1.1 {head}\r\n\r\n");
            format!(
                "{:?}",
                ResponseHead::read(head.as_bytes())
                    .unwrap()
                    .framing(to_head)
            )
        };
        assert_eq!(framing("200 OK\r\nContent-Length: 7", false), "Length(7)");
        assert_eq!(framing("200 OK\r\nContent-Length: 7", true), "Length(0)");
        assert_eq!(framing("304 X\r\nContent-Length: 7", false), "Length(0)");
        assert_eq!(framing("204 X", false), "Length(0)");
        assert_eq!(framing("100 X", false), "Length(0)");
        assert_eq!(framing("200 OK", false), "UntilClose");
        assert!(framing("200 OK\r\nTransfer-Encoding: chunked", false).starts_with("Chunked"));
    }

    #[test]
    fn what_could_split_a_response_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        ] {
            assert!(ResponseHead::read(head.as_bytes()).is_err(), "{head:?}");
        }
    }
}

//! A response's head, written for the client.

use crate::net::http1::{Field, Fields, ResponseHead};

/// How the client takes an answer, and what becomes of its connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taker {
    /// HTTP/1.0: no chunks, no interim answers.
    pub(super) old: bool,
    /// Its connection ends with this answer.
    pub(super) closes: bool,
    /// It left HTTP with this answer (101).
    pub(super) upgrades: bool,
}

impl Taker {
    /// The first word of the status line.
    pub(super) const fn version(self) -> &'static [u8] {
        if self.old { b"HTTP/1.0" } else { b"HTTP/1.1" }
    }

    /// The line that tells what becomes of the connection, where one is needed.
    pub(super) const fn connection(self) -> &'static [u8] {
        match self {
            Self { upgrades: true, .. } => b"",
            Self { closes: true, .. } => b"Connection: close\r\n",
            Self { old: true, .. } => b"Connection: keep-alive\r\n",
            _ => b"",
        }
    }
}

/// Writes a head for a client.
pub(super) fn write(head: &ResponseHead<'_>, taker: Taker, out: &mut Vec<u8>) {
    out.extend_from_slice(taker.version());
    out.extend_from_slice(head.status_line);
    if taker.old && head.body.chunked {
        let mut rest = Vec::with_capacity(head.fields.len());
        head.hop.write(head.fields, false, &mut rest);
        let unframed = |field: &Field<'_>| !field.is("transfer-encoding") && !field.is("trailer");
        for field in Fields(&rest).flatten().filter(unframed) {
            out.extend_from_slice(field.line);
        }
    } else {
        head.hop.write(head.fields, taker.upgrades, out);
    }
    out.extend_from_slice(taker.connection());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::http1::Malformed;

    const PLAIN: Taker = Taker {
        old: false,
        closes: false,
        upgrades: false,
    };

    fn forwarded(head: &str, taker: Taker) -> Result<String, Malformed> {
        let mut out = Vec::new();
        write(&ResponseHead::read(head.as_bytes())?, taker, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_need_not_change_goes_on_byte_for_byte() {
        for head in [
            "HTTP/1.1 200 OK\r\nA: 1\r\nb:2\r\nSet-Cookie: x\r\nC: 3\r\nSet-cookie: y\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 299 Gar nicht \u{fc}bel\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 \r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
        ] {
            assert_eq!(forwarded(head, PLAIN).unwrap(), head);
        }
    }

    #[test]
    fn hops_and_old_clients_get_what_is_theirs() {
        let head = "HTTP/1.1 200 OK\r\nConnection: close, X\r\nX: 1\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\nTrailer: Y\r\nA: b\r\n\r\n";
        assert_eq!(
            forwarded(head, PLAIN).unwrap(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Y\r\nA: b\r\n\r\n"
        );
        let old = Taker {
            old: true,
            closes: true,
            ..PLAIN
        };
        assert_eq!(
            forwarded(head, old).unwrap(),
            "HTTP/1.0 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"
        );
        let upgraded =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let upgrades = Taker {
            upgrades: true,
            ..PLAIN
        };
        assert_eq!(forwarded(upgraded, upgrades).unwrap(), upgraded);
    }
}

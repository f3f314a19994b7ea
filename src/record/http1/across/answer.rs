use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, response};

use crate::record::http1::response::Taker;

/// How an answer's body is framed for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is none, whatever is said of its length.
    Nothing,
    /// As long as the head says.
    Length,
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// How the body that follows this head is framed. RFC 9112, 6. `empty`: it has ended with the head.
pub(super) fn coding(parts: &response::Parts, empty: bool, to_head: bool, old: bool) -> Coding {
    let none = matches!(
        parts.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if to_head || none {
        Coding::Nothing
    } else if empty || parts.headers.contains_key(header::CONTENT_LENGTH) {
        Coding::Length
    } else if old {
        Coding::UntilClose
    } else {
        Coding::Chunked
    }
}

/// Writes a head as HTTP/1 says it.
pub(super) fn head(parts: &response::Parts, coding: Coding, taker: Taker) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(taker.version());
    out.push(b' ');
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    let reason = parts.status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    write_fields(&parts.headers, &mut out);
    if coding == Coding::Length && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    if coding == Coding::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(taker.connection());
    out.extend_from_slice(b"\r\n");
    out
}

/// A piece of the body as the client gets it.
pub(super) fn data(data: Bytes, coding: Coding) -> Bytes {
    match coding {
        Coding::Nothing => Bytes::new(),
        // A chunk of no length would be the last.
        Coding::Chunked if !data.is_empty() => {
            let mut size = String::with_capacity(10);
            // Writing to a string cannot fail.
            let _ = write!(size, "{:x}\r\n", data.len());
            Bytes::from([size.as_bytes(), &data, b"\r\n"].concat())
        }
        _ => data,
    }
}

/// Writes what ends a chunked body.
pub(super) fn write_last_chunk(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        write_fields(trailers, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    const NEW: Taker = Taker {
        old: false,
        closes: false,
        upgrades: false,
    };

    fn written(length: Option<&str>, status: u16, empty: bool, to_head: bool) -> (Coding, String) {
        let mut response = Response::builder().status(status).header("x-a", "1");
        if let Some(length) = length {
            response = response.header("content-length", length);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        let coding = coding(&parts, empty, to_head, false);
        let head = head(&parts, coding, NEW);
        (coding, String::from_utf8(head).unwrap())
    }

    #[test]
    fn a_body_is_framed_by_what_is_known_of_it() {
        assert_eq!(
            written(None, 200, false, false),
            (
                Coding::Chunked,
                "HTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n".into()
            )
        );
        assert_eq!(
            written(Some("3"), 200, false, false),
            (
                Coding::Length,
                "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 3\r\n\r\n".into()
            )
        );
        assert_eq!(
            written(None, 404, true, false),
            (
                Coding::Length,
                "HTTP/1.1 404 Not Found\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n".into()
            )
        );
        assert_eq!(written(Some("3"), 200, true, true).0, Coding::Nothing);
        assert_eq!(
            written(None, 204, true, false),
            (
                Coding::Nothing,
                "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n".into()
            )
        );
    }

    #[test]
    fn chunks_end_in_trailers() {
        let piece = |text: &'static str, coding| data(Bytes::from(text), coding);
        assert_eq!(
            piece("hello world, again", Coding::Chunked),
            "12\r\nhello world, again\r\n"
        );
        assert_eq!(piece("", Coding::Chunked), "");
        assert_eq!(piece("hello", Coding::Length), "hello");
        assert_eq!(piece("hello", Coding::Nothing), "");
        let mut trailers = HeaderMap::new();
        trailers.append("grpc-status", "0".parse().unwrap());
        let mut out = Vec::new();
        write_last_chunk(Some(&trailers), &mut out);
        write_last_chunk(None, &mut out);
        assert_eq!(out, b"0\r\ngrpc-status: 0\r\n\r\n0\r\n\r\n");
    }
}

//! A request's head: read, and written for the upstream.

use crate::net::http1::{
    BodyFields, Chunked, Field, Fields, Framing, HopByHop, Malformed, is_token, members, next_line,
};
use crate::record::front::forwarded::Stamp;
use crate::record::tape::passage::opts_out;
use crate::record::tape::session_headers::UsualName;

/// A request's head, borrowed from the bytes it was read from.
#[derive(Debug)]
pub(super) struct RequestHead<'a> {
    pub(super) method: &'a [u8],
    target: Target<'a>,
    /// HTTP/1.0.
    pub(super) old: bool,
    fields: &'a [u8],
    hop: HopByHop<'a>,
    /// The client will take no further answer on this connection, or, in HTTP/1.0, did not ask for one.
    pub(super) closes: bool,
    /// The protocol asked for, other than h2c: a server may stay with HTTP/1.1, and we do.
    pub(super) upgrades: bool,
    /// It is a WebSocket's.
    pub(super) websocket: bool,
    host: Option<&'a [u8]>,
    /// Empty where there is none.
    pub(super) content_type: &'a [u8],
    /// The same.
    pub(super) content_encoding: &'a [u8],
    /// A replay's probe.
    pub(super) probe: bool,
    /// The client wants no record of it.
    pub(super) opts_out: bool,
    /// What it calls its conversation, where it says so as usual.
    pub(super) usual_name: UsualName<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    /// A path and query, or `*`.
    Origin(&'a [u8]),
    /// `http://AUTHORITY/…`: the authority replaces the `Host` field (RFC 9112, 3.2.2).
    Absolute {
        authority: &'a [u8],
        below: &'a [u8],
    },
    /// `HOST:PORT`, for `CONNECT`.
    Authority,
}

impl<'a> RequestHead<'a> {
    /// Reads a whole head, its blank line included, and how its body is framed.
    ///
    /// # Errors
    /// When it can be read in more than one way. RFC 9112, sections 3, 5, 6 and 11.2.
    pub(super) fn read(head: &'a [u8]) -> Result<(Self, Framing), Malformed> {
        let mut rest = head.strip_suffix(b"\r\n").ok_or(Malformed::BareLineFeed)?;
        let line = next_line(&mut rest)
            .and_then(|line| line.strip_suffix(b"\r\n"))
            .ok_or(Malformed::FirstLine)?;
        let (method, target, old) = first_line(line)?;
        let mut head = Self {
            method,
            target: read_target(method, target)?,
            old,
            fields: rest,
            hop: HopByHop::default(),
            closes: false,
            upgrades: false,
            websocket: false,
            host: None,
            content_type: b"",
            content_encoding: b"",
            probe: false,
            opts_out: false,
            usual_name: UsualName::default(),
        };
        let mut body = BodyFields::default();
        for field in Fields(rest) {
            let field = field?;
            body.note(&field)?;
            head.hop.note(&field);
            match field.name.len() {
                4 if field.is("host")
                    && (head.host.replace(field.value).is_some() || !is_host(field.value)) =>
                {
                    return Err(Malformed::Host);
                }
                7 if field.is("upgrade") => {
                    head.upgrades |=
                        members(field.value).any(|one| !one.eq_ignore_ascii_case(b"h2c"));
                    head.websocket |=
                        members(field.value).any(|one| one.eq_ignore_ascii_case(b"websocket"));
                }
                12 if field.is("content-type") => head.content_type = field.value,
                15 if field.is("x-reenact-probe") => head.probe = true,
                16 if field.is("content-encoding") => head.content_encoding = field.value,
                16 if field.is("x-reenact-record") => head.opts_out |= opts_out(field.value),
                _ => head.usual_name.note(field.name, field.value),
            }
        }
        if !old && head.host.is_none() {
            return Err(Malformed::Host);
        }
        if old && body.chunked {
            return Err(Malformed::TransferEncoding);
        }
        head.upgrades &= !old && head.hop.names("upgrade");
        head.closes = head.hop.names("close") || old && !head.hop.names("keep-alive");
        let framing = match body {
            BodyFields { chunked: true, .. } => Framing::Chunked(Chunked::default()),
            BodyFields { length, .. } => Framing::Length(length.unwrap_or(0)),
        };
        Ok((head, framing))
    }

    /// The value of the first field of this name.
    pub(super) fn field(&self, name: &str) -> Option<&'a [u8]> {
        Fields(self.fields)
            .filter_map(Result::ok)
            .find(|field| field.is(name))
            .map(|field| field.value)
    }

    /// Whether the client waits for a 100 before it sends its body.
    pub(super) fn expects_continue(&self) -> bool {
        self.field("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// The path, without its query.
    pub(super) fn path(&self) -> &'a [u8] {
        let below = self.below();
        below.split(|&byte| byte == b'?').next().unwrap_or(below)
    }

    /// The authority that the target names, if it names one.
    pub(super) fn authority(&self) -> Option<&'a [u8]> {
        match self.target {
            Target::Absolute { authority, .. } => Some(authority),
            _ => None,
        }
    }

    /// The path and query, or `*`.
    pub(super) fn below(&self) -> &'a [u8] {
        match self.target {
            Target::Origin(below) | Target::Absolute { below, .. } => below,
            Target::Authority => b"",
        }
    }

    /// The lines that go on to a neighbour who frames and routes by other means than these.
    pub(super) fn lines_beyond(&self) -> Vec<u8> {
        let mut lines = Vec::with_capacity(self.fields.len());
        self.hop.write(self.fields, false, &mut lines);
        lines
    }

    /// `CONNECT` wants a tunnel to a place of the client's choice.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self.target, Target::Authority)
    }

    /// Writes the head for an upstream whose paths lie below `base` and whose name is `host`, with the forwarded headers of
    /// `stamp`.
    pub(super) fn write(&self, base: &str, host: &[u8], stamp: Option<&Stamp>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method);
        out.push(b' ');
        let below = self.below();
        if below != b"*" {
            out.extend_from_slice(base.as_bytes());
        }
        out.extend_from_slice(below);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let named = self.authority();
        if let Some(authority) = named {
            write_host(authority, out);
        }
        if named.is_none() && stamp.is_none() {
            self.hop.write(self.fields, self.upgrades, out);
        } else {
            let mut rest = Vec::with_capacity(self.fields.len());
            self.hop.write(self.fields, self.upgrades, &mut rest);
            let stays = |field: &Field<'_>| {
                !(named.is_some() && field.is("host")
                    || stamp.is_some() && Stamp::speaks_for(field.name))
            };
            for field in Fields(&rest).flatten().filter(stays) {
                out.extend_from_slice(field.line);
            }
        }
        if named.is_none() && self.host.is_none() {
            write_host(host, out);
        }
        if let Some(stamp) = stamp {
            let came = Fields(self.fields)
                .flatten()
                .map(|field| (field.name, field.value));
            for (name, value) in stamp.lines(named.or(self.host), came) {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(&value);
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn write_host(host: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"Host: ");
    out.extend_from_slice(host);
    out.extend_from_slice(b"\r\n");
}

/// `METHOD SP TARGET SP HTTP/1.x`, single spaces.
fn first_line(line: &[u8]) -> Result<(&[u8], &[u8], bool), Malformed> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (method, target, version) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(target), Some(version), None) => (method, target, version),
        _ => return Err(Malformed::FirstLine),
    };
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(Malformed::FirstLine);
    }
    // Bytes over 127 are not allowed, but sent by clients that do not escape; they mean the same to everyone.
    let visible = |&byte: &u8| byte > b' ' && byte != 0x7f;
    if target.is_empty() || !target.iter().all(visible) {
        return Err(Malformed::FirstLine);
    }
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Malformed::Version);
        }
        _ => return Err(Malformed::FirstLine),
    };
    Ok((method, target, old))
}

fn read_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, Malformed> {
    if method == b"CONNECT" {
        return Ok(Target::Authority);
    }
    if target.contains(&b'#') {
        return Err(Malformed::FirstLine);
    }
    if target.starts_with(b"/") || target == b"*" && method == b"OPTIONS" {
        return Ok(Target::Origin(target));
    }
    let lower = target.get(..8).unwrap_or(target).to_ascii_lowercase();
    let after = match &lower[..] {
        lower if lower.starts_with(b"http://") => target.get(7..),
        lower if lower.starts_with(b"https://") => target.get(8..),
        _ => None,
    };
    let after = after.ok_or(Malformed::FirstLine)?;
    let end = after
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(after.len());
    let (authority, below) = after.split_at(end);
    if authority.is_empty() || !is_host(authority) {
        return Err(Malformed::Host);
    }
    match below.first() {
        Some(b'/') => Ok(Target::Absolute { authority, below }),
        None => Ok(Target::Absolute {
            authority,
            below: b"/",
        }),
        // `http://host?query`: the path is empty, and a request line cannot say so.
        _ => Err(Malformed::FirstLine),
    }
}

/// A host with or without a port, or nothing: what RFC 3986, 3.2.2 and 3.2.3 allow, without user information.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|&byte| {
        matches!(byte,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$'
            | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=' | b':' | b'[' | b']')
            || byte >= 0x80
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(head: &str) -> Result<String, Malformed> {
        let (head, _) = RequestHead::read(head.as_bytes())?;
        let mut out = Vec::new();
        head.write("/base", b"up:80", None, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_need_not_change_goes_on_byte_for_byte() {
        let head = "POST /a?b=%41&c=//d HTTP/1.1\r\nhOST: x\r\nA: 1\r\nB:2\r\na:  3 \r\nContent-Length: 2\r\n\r\n";
        let expected = head.replacen("/a?", "/base/a?", 1);
        assert_eq!(forwarded(head), Ok(expected));
    }

    #[test]
    fn what_is_for_one_hop_stays_there() {
        let head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, X-A, Host\r\nX-A: 1\r\nKeep-Alive: 5\r\nTE: gzip, trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nB: 2\r\n\r\n";
        assert_eq!(
            forwarded(head).unwrap(),
            "GET /base/ HTTP/1.1\r\nHost: x\r\nB: 2\r\nTE: trailers\r\n\r\n"
        );
        assert!(RequestHead::read(head.as_bytes()).unwrap().0.closes);
    }

    #[test]
    fn an_upgrade_is_asked_for_again() {
        let head = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: k\r\n\r\n";
        assert_eq!(
            forwarded(head).unwrap(),
            "GET /base/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\n\r\n"
        );
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let head = "GET http://real:1/x?y HTTP/1.1\r\nHost: claimed\r\nA: b\r\n\r\n";
        assert_eq!(
            forwarded(head).unwrap(),
            "GET /base/x?y HTTP/1.1\r\nHost: real:1\r\nA: b\r\n\r\n"
        );
    }

    #[test]
    fn an_old_request_is_given_a_host() {
        assert_eq!(
            forwarded("GET /x HTTP/1.0\r\nA: b\r\n\r\n").unwrap(),
            "GET /base/x HTTP/1.1\r\nA: b\r\nHost: up:80\r\n\r\n"
        );
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for (head, wrong) in [
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET /\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", Malformed::FirstLine),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Malformed::Version),
            ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", Malformed::Version),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n", Malformed::Host),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
                Malformed::Host,
            ),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Malformed::Host),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Malformed::Host),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Malformed::Host),
            (
                "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                Malformed::Host,
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Malformed::Folded),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Malformed::Folded),
            (
                "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                Malformed::TransferEncoding,
            ),
        ] {
            assert_eq!(
                RequestHead::read(head.as_bytes()).map(|_| ()),
                Err(wrong),
                "{head:?}"
            );
        }
    }
}

//! What must change in a message's headers from one version of HTTP to the other, and nothing else. RFC 9110, section 7.6;
//! RFC 9113, section 8.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use http_body::Body;

use crate::record::front::client_io::Protocol;
use crate::record::front::forwarded::Stamp;
use crate::record::upstream::connect::Upstream;

/// Removes what is meant for one hop only: `Connection` and the headers it names, `Keep-Alive`, `Proxy-Connection`, `Upgrade`,
/// and of `TE` everything but `trailers`. `Transfer-Encoding` stays: it says how the body is framed on the next hop too,
/// and hyper frames it so. The order of the rest is kept, which `HeaderMap::remove` would not.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let named = named_by_connection(headers);
    let mut name = None;
    for (next, value) in std::mem::take(headers) {
        if next.is_some() {
            name = next;
        }
        let Some(name) = &name else { continue };
        if *name == TE {
            if accepts_trailers(&value)
                && let Entry::Vacant(entry) = headers.entry(TE)
            {
                entry.insert(HeaderValue::from_static("trailers"));
            }
        } else if !is_hop_by_hop(name) && !named.contains(name) {
            headers.append(name, value);
        }
    }
}

/// Whether the next server can only read one host in it, as two of them are read differently by different servers: one `Host` or
/// `:authority`, or both and they say the same, and no user in either. RFC 9113, 8.3.1.
pub(super) fn name_one_host(headers: &HeaderMap, authority: Option<&Authority>) -> bool {
    let mut hosts = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let host = hosts.next();
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    let differ = match (host, authority) {
        (Some(host), Some(authority)) => !host.eq_ignore_ascii_case(authority),
        _ => false,
    };
    let has_user = [host, authority]
        .into_iter()
        .flatten()
        .any(|name| name.contains(&b'@'));
    let named = host.is_some() || authority.is_some();
    named && hosts.next().is_none() && !differ && !has_user
}

/// Puts the forwarded headers in, behind the others. `authority` is the host of a request that names it in its target.
pub(super) fn stamp(headers: &mut HeaderMap, stamp: &Stamp, authority: Option<&Authority>) {
    let came = headers
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let host = authority.map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| headers.get(HOST).map(HeaderValue::as_bytes));
    let lines = stamp.lines(host, came);
    retain(headers, |name| !Stamp::speaks_for(name.as_str().as_bytes()));
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
}

/// Leaves a header out. The order of the rest is kept, which `HeaderMap::remove` would not.
pub(super) fn remove(headers: &mut HeaderMap, out: &HeaderName) {
    if headers.contains_key(out) {
        retain(headers, |name| name != out);
    }
}

fn retain(headers: &mut HeaderMap, stays: impl Fn(&HeaderName) -> bool) {
    let mut name = None;
    for (next, value) in std::mem::take(headers) {
        if next.is_some() {
            name = next;
        }
        if let Some(name) = &name
            && stays(name)
        {
            headers.append(name, value);
        }
    }
}

/// Writes where a request goes in the way of the upstream's version: in `Host` and the target, or in the pseudo-headers. `None`
/// where it names no host.
pub(super) fn address<B: Body>(
    request: &mut Request<B>,
    upstream: &Upstream,
    protocol: Protocol,
) -> Option<()> {
    let uri = request.uri();
    let authority = match uri.authority() {
        Some(authority) => authority.clone(),
        None => match request.headers().get(HOST) {
            Some(host) => {
                Authority::from_maybe_shared(bytes::Bytes::copy_from_slice(host.as_bytes())).ok()?
            }
            None => upstream.host_header().to_str().ok()?.parse().ok()?,
        },
    };
    let below = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let base = if below == "*" { "" } else { upstream.base() };
    // A request that is sent again over another connection has its base already.
    let target = match request.extensions().get::<Based>() {
        Some(_) => below.to_owned(),
        None => format!("{base}{below}"),
    };
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).ok()?);
    request.extensions_mut().insert(Based);
    match protocol {
        Protocol::Http1 => {
            let host = HeaderValue::from_str(authority.as_str()).ok()?;
            request.headers_mut().insert(HOST, host);
            join_cookies(request.headers_mut());
            frame_body(request);
            *request.version_mut() = Version::HTTP_11;
        }
        Protocol::Http2 => {
            remove(request.headers_mut(), &HOST);
            remove(request.headers_mut(), &TRANSFER_ENCODING);
            parts.scheme = Some(match upstream.is_tls() {
                true => Scheme::HTTPS,
                false => Scheme::HTTP,
            });
            parts.authority = Some(authority);
            *request.version_mut() = Version::HTTP_2;
        }
    }
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(())
}

#[derive(Clone)]
struct Based;

/// HTTP/2 may cut cookies into pieces; HTTP/1 wants them in one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, cookie);
    }
}

/// Says that a body of unknown length comes in chunks. hyper says so itself, but for methods that seldom have a body: theirs it
/// would let go.
fn frame_body<B: Body>(request: &mut Request<B>) {
    let framed = request.body().is_end_stream() || request.headers().contains_key(CONTENT_LENGTH);
    if !framed {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TE
        || *name == UPGRADE
        || *name == "keep-alive"
        || *name == "proxy-connection"
}

/// The headers that `Connection` names, less those that a message cannot do without: naming them is how a request is
/// smuggled past a proxy.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER].contains(name))
        .filter(|name| *name != "close" && *name != "keep-alive")
        .collect()
}

fn accepts_trailers(te: &HeaderValue) -> bool {
    te.as_bytes()
        .split(|&byte| byte == b',')
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Leaves out of trailers what frames, routes or is for one hop. HTTP/2 refuses to send it, and the exchange would hang.
pub(in crate::record) fn clean_trailers(trailers: &mut HeaderMap) {
    let never = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER];
    retain(trailers, |name| {
        !is_hop_by_hop(name) && !never.contains(name)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn what_is_for_one_hop_goes_and_the_rest_keeps_its_order() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "keep-alive, X-Mine"),
            ("b", "1"),
            ("x-mine", "gone"),
            ("keep-alive", "timeout=5"),
            ("c", "2"),
            ("proxy-connection", "x"),
            ("c", "3"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("d", "4"),
            ("transfer-encoding", "chunked"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(
            lines(&headers),
            [
                ("host", "a"),
                ("b", "1"),
                ("c", "2"),
                ("c", "3"),
                ("te", "trailers"),
                ("d", "4"),
                ("transfer-encoding", "chunked"),
            ]
        );
    }

    #[test]
    fn connection_cannot_name_away_what_frames_a_message() {
        let mut headers = map(&[
            (
                "connection",
                "content-length, host, transfer-encoding, gone",
            ),
            ("host", "a"),
            ("content-length", "3"),
            ("gone", "x"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(lines(&headers), [("host", "a"), ("content-length", "3")]);
    }

    #[test]
    fn trailers_neither_frame_nor_route() {
        let mut trailers = map(&[
            ("transfer-encoding", "chunked"),
            ("grpc-status", "0"),
            ("host", "b"),
            ("connection", "close"),
            ("x-sum", "1"),
            ("content-length", "5"),
        ]);
        clean_trailers(&mut trailers);
        assert_eq!(lines(&trailers), [("grpc-status", "0"), ("x-sum", "1")]);
    }

    #[test]
    fn two_hosts_are_one_too_many() {
        let one = |lines: &[(&'static str, &'static str)], authority: Option<&'static str>| {
            let authority = authority.map(Authority::from_static);
            name_one_host(&map(lines), authority.as_ref())
        };
        assert!(one(&[], Some("a:1")));
        assert!(one(&[("host", "A:1")], Some("a:1")));
        assert!(one(&[("host", "a")], None));
        assert!(!one(&[("host", "b")], Some("a")));
        assert!(!one(&[], None));
        assert!(!one(&[("host", "a"), ("host", "a")], None));
        assert!(!one(&[], Some("u@a")));
        assert!(!one(&[("host", "u@a")], None));
    }
}

//! What a proxy must change in a message's headers, and nothing else. RFC 9110, section 7.6.

use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use super::forwarded::Stamp;

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

/// Puts the forwarded headers in, behind the others.
pub(super) fn stamp(headers: &mut HeaderMap, stamp: &Stamp) {
    let came = headers
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    let lines = stamp.lines(host, came);
    let mut name = None;
    for (next, value) in std::mem::take(headers) {
        if next.is_some() {
            name = next;
        }
        if let Some(name) = &name
            && !Stamp::speaks_for(name.as_str().as_bytes())
        {
            headers.append(name, value);
        }
    }
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)) {
            headers.append(HeaderName::from_static(name), value);
        }
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

/// Whether a request asks to leave HTTP. An offer of h2c alone is not one: a server may answer in HTTP/1.1.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|token| !token.trim_ascii().eq_ignore_ascii_case(b"h2c"))
    })
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
    fn only_an_offer_of_h2c_is_not_an_upgrade() {
        assert!(!wants_upgrade(&map(&[("upgrade", "h2c")])));
        assert!(wants_upgrade(&map(&[("upgrade", "h2c, websocket")])));
        assert!(!wants_upgrade(&map(&[("host", "a")])));
    }
}

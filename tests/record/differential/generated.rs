//! Requests and answers of every kind that the recorder takes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::expected::{Body, Exchange, Line, Message};

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => 0x20..0x7f_u8, 1 => Just(b'\t'), 1 => 0x80..=0xff_u8];
    vec(byte, 0..40)
}

fn plain_line() -> impl Strategy<Value = Line> {
    let name = prop_oneof![
        "[Xx]-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}",
        prop::sample::select(vec![
            "Accept",
            "cookie",
            "Set-Cookie",
            "AUTHORIZATION",
            "Content-Type",
            "Content-Encoding",
            "Via",
            "X-Forwarded-For",
            "traceparent",
            "Trailer",
            "X-One",
        ])
        .prop_map(String::from),
    ];
    (name, value())
}

fn hop_line() -> impl Strategy<Value = Line> {
    prop::sample::select(vec![
        ("Connection", " keep-alive"),
        ("connection", "Keep-Alive, X-One"),
        ("Connection", " cookie,,Host , content-length"),
        ("CONNECTION", " Transfer-Encoding, Trailer, te"),
        ("Connection", " close"),
        ("Keep-Alive", " timeout=5"),
        ("Proxy-Connection", " keep-alive"),
        ("HTTP2-Settings", " AAMAAABkAAQAAP__"),
        ("Upgrade", " h2c"),
    ])
    .prop_map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
}

fn request_hop_line() -> impl Strategy<Value = Line> {
    let own = prop::sample::select(vec![
        ("TE", " trailers"),
        ("te", "gzip;q=0.5, Trailers"),
        ("TE", " deflate"),
        ("Upgrade", " websocket"),
        ("Connection", " upgrade"),
    ])
    .prop_map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    prop_oneof![hop_line(), own]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..64),
        1 => vec(any::<u8>(), 3000..9000),
        1 => Just(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n".to_vec()),
    ]
}

fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let extension = prop::sample::select(vec!["", ";a", ";a=\"b, c\"", ";; x =\ty"]);
    let chunk = (data(), 0..3_usize, any::<bool>(), extension);
    let trailers = vec(("X-[a-z]{1,8}", value()), 0..3);
    (vec(chunk, 0..5), trailers, "0{1,4}").prop_map(|(chunks, trailers, last)| {
        let mut bytes = Vec::new();
        for (data, zeros, upper, extension) in chunks {
            if data.is_empty() {
                continue;
            }
            let zeros = "0".repeat(zeros);
            let size = format!("{:x}", data.len());
            let size = if upper { size.to_uppercase() } else { size };
            bytes.extend_from_slice(format!("{zeros}{size}{extension}\r\n").as_bytes());
            bytes.extend_from_slice(&data);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("{last}\r\n").as_bytes());
        for (name, value) in trailers {
            bytes.extend_from_slice(format!("{name}: ").as_bytes());
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    })
}

fn body(rest: u32) -> impl Strategy<Value = Body> {
    prop_oneof![
        2 => Just(Body::None),
        3 => data().prop_map(Body::Length),
        3 => chunks().prop_map(Body::Chunked),
        rest => data().prop_map(Body::Rest),
    ]
}

/// Puts lines and framing in an order of their own.
fn with_framing(mut lines: Vec<Line>, body: &Body, at: prop::sample::Index) -> Vec<Line> {
    let framing = match body {
        Body::Length(body) => ("content-LENGTH", format!(" {}", body.len())),
        Body::Chunked(_) => ("Transfer-Encoding", "\tChunked ".to_owned()),
        Body::None | Body::Rest(_) => return lines,
    };
    let at = at.index(lines.len() + 1);
    lines.insert(at, (framing.0.into(), framing.1.into_bytes()));
    lines
}

fn request() -> impl Strategy<Value = Message> {
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "PUT", "DELETE", "M-SEARCH!"]);
    let target = prop_oneof![
        4 => "/[!$-/:;=?-Z_a-z~0-9%\\[\\]|{}^`\"<>]{0,30}",
        1 => "http://[a-z]{1,6}(:8[0-9])?/[a-z?=&/.%]{0,20}",
    ];
    let lines = vec(
        prop_oneof![4 => plain_line(), 1 => request_hop_line()],
        0..7,
    );
    let host = prop::sample::select(vec!["model.test:8000", "[::1]:80", "", "a"]);
    let old = prop::bool::weighted(0.15);
    let places = any::<(prop::sample::Index, prop::sample::Index)>();
    (method, target, lines, host, old, body(0), places).prop_map(
        |(method, target, mut lines, host, old, mut body, places)| {
            if !old || !host.is_empty() {
                let at = places.0.index(lines.len() + 1);
                lines.insert(at, ("hOst".into(), host.as_bytes().to_vec()));
            }
            if old && matches!(body, Body::Chunked(_)) {
                body = Body::None;
            }
            let version = if old { "1.0" } else { "1.1" };
            Message {
                first: format!("{method} {target} HTTP/{version}"),
                lines: with_framing(lines, &body, places.1),
                body,
            }
        },
    )
}

/// An exchange of any kind.
pub(super) fn exchange() -> impl Strategy<Value = Exchange> {
    let status = prop_oneof![
        6 => Just("200 OK"),
        1 => prop::sample::select(vec!["204 ", "304 Not Modified", "299", "599 \u{e4}  b", "418 I'm a teapot"]),
    ];
    let lines = vec(prop_oneof![5 => plain_line(), 1 => hop_line()], 0..7);
    let interim = prop::bool::weighted(0.2);
    let answer = (status, lines, body(1), any::<prop::sample::Index>());
    (request(), answer, interim).prop_map(|(request, (status, lines, body, at), interim)| {
        // An answer without a length has no end but its connection's.
        let body = match body {
            Body::None if !matches!(status, "204 " | "304 Not Modified") => {
                Body::Length(Vec::new())
            }
            Body::Rest(_) if matches!(status, "204 " | "304 Not Modified") => Body::None,
            other => other,
        };
        let answer = Message {
            first: format!("HTTP/1.1 {status}"),
            lines: with_framing(lines, &body, at),
            body,
        };
        Exchange {
            request,
            interim,
            answer,
        }
    })
}

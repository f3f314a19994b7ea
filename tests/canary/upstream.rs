//! An upstream of HTTP/1 whose answers are full of canaries, in the manner that a request asks for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use super::support::canaries::Canaries;
use super::support::codings::Coding;
use super::support::http;
use super::{chats, dialects, websocket};

/// The request header that says how it is to be answered.
pub(crate) const MANNER: &str = "X-Manner";

/// How an answer can come over any HTTP. Beside these, the name of a coding.
pub(crate) const MANNERS: &[&str] = &["plain", "refused", "failed", "redirected"];

/// How it can come over HTTP/1 only.
pub(crate) const MANNERS_OF_HTTP1: &[&str] = &["chunked", "short", "nonsense"];

/// Starts it: its URL.
pub(crate) fn start(canaries: Arc<Canaries>) -> String {
    let (url, _) = http::upstream(move |mut stream| {
        if let Some(request) = read_request(&mut stream) {
            let head = String::from_utf8_lossy(&request).into_owned();
            if head.contains("Upgrade: websocket") && manner(&head) != "refused" {
                websocket::serve(&mut stream, &canaries);
            } else {
                let _ = stream.write_all(&answer(&head, &canaries));
                if manner(&head) == "held" {
                    // Until the client has left.
                    let _ = stream.read(&mut [0]);
                }
            }
        }
    });
    url
}

/// One request, whether its body has a length or comes in chunks.
fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = http::read_request(stream)?;
    let head = String::from_utf8_lossy(&request).to_lowercase();
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        // No body here has an empty line within it but those of multipart, which come with a length.
        let (mut body, mut byte) = (Vec::new(), [0]);
        while !body.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            body.push(byte[0]);
        }
        request.extend(body);
    }
    Some(request)
}

fn manner(request: &str) -> &str {
    let name = |line: &'_ str| line[..MANNER.len().min(line.len())].eq_ignore_ascii_case(MANNER);
    let line = request.lines().find(|line| name(line));
    line.map_or("plain", |line| &line[MANNER.len() + 2..])
}

fn answer(request: &str, canaries: &Canaries) -> Vec<u8> {
    let path = request.split([' ', '?']).nth(1).unwrap();
    let (kind, body) = body(path, request.contains("\"stream\":true"), canaries);
    let manner = manner(request);
    let head = |status: &str, more: &str| {
        let head = format!(
            "HTTP/1.1 {status} @\r\nContent-Type: {kind}; charset=@\r\nServer: @\r\nX-@: @\r\nSet-Cookie: @=@\r\nX-Request-Id: @\r\n{more}Connection: close\r\n"
        );
        canaries.fill(&head)
    };
    let sized = |status: &str, more: &str, body: &[u8]| {
        let head = head(status, more);
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), length.as_bytes(), body].concat()
    };
    match manner {
        "refused" => sized("418", "WWW-Authenticate: Bearer realm=@\r\n", &body),
        "failed" => {
            let error = r#"{"error":{"message":"@","type":"@","param":"@","code":"@"},"detail":[{"loc":["@"],"msg":"@","input":"@"}],"message":"@","object":"@"}"#;
            sized("500", "", canaries.fill(error).as_bytes())
        }
        "redirected" => sized("307", "Location: https://@.example/@?@=@\r\n", &body),
        "chunked" => {
            let hints = canaries.fill("HTTP/1.1 103 @\r\nLink: <https://@>; rel=@\r\n\r\n");
            let head = head("200", "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n");
            let end = canaries.fill("\r\n0;@=@\r\nX-Sum: @\r\nX-@: @\r\n\r\n");
            let chunk = canaries.fill(&format!("{:x};@=\"@\"\r\n", body.len()));
            [hints, head, "\r\n".to_owned(), chunk]
                .concat()
                .into_bytes()
                .into_iter()
                .chain(body)
                .chain(end.into_bytes())
                .collect()
        }
        "short" | "held" => {
            // It promises more than it gives.
            let mut answer = sized("200", "", &body);
            answer.truncate(answer.len() - 9);
            answer
        }
        "nonsense" => canaries.fill("@ is no HTTP\r\n@: @\r\n\r\n@").into_bytes(),
        coding => match Coding::named(coding) {
            Some(coding) => sized("200", &coding.header(), &coding.encode(&body)),
            None => sized("200", "", &body),
        },
    }
}

/// What the path's endpoint answers: its media type, and a body.
pub(crate) fn body(path: &str, streamed: bool, canaries: &Canaries) -> (&'static str, Vec<u8>) {
    let tables = match streamed {
        true => [chats::STREAMS, dialects::STREAMS],
        false => [chats::ANSWERS, dialects::ANSWERS],
    };
    let template = tables
        .into_iter()
        .flatten()
        .find(|(route, _)| path.ends_with(route))
        .map_or("@ is not for you", |(_, body)| body);
    let kind = match (streamed, path.starts_with("/api/")) {
        (true, true) => "application/x-ndjson",
        (true, false) => "text/event-stream",
        (false, _) => "application/json",
    };
    (kind, canaries.fill(template).into_bytes())
}

//! What the recorder answers itself.

use crate::net::http1::Malformed;
use crate::record::answer::Refusal;

/// An answer of the recorder's own, whole. `to_head`: the request was `HEAD`, so its body is left out.
pub(super) fn refusal(refusal: Refusal, to_head: bool, closes: bool) -> Vec<u8> {
    let (status, name, text) = refusal.parts();
    answer(status, name, text, to_head, closes)
}

/// The answer to what is not HTTP. The connection ends with it: where the next request would begin nobody can say.
pub(super) fn malformed(malformed: Malformed) -> Vec<u8> {
    let text = "reenact: the request is not well-formed HTTP/1\n";
    answer(malformed.status(), malformed.name(), text, false, true)
}

/// The answer to a client that takes too long over its request.
pub(super) fn too_slow() -> Vec<u8> {
    let text = "reenact: the request took too long to arrive\n";
    answer(
        http::StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        text,
        false,
        true,
    )
}

fn answer(
    status: http::StatusCode,
    name: &str,
    text: &str,
    to_head: bool,
    closes: bool,
) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let connection = if closes { "Connection: close\r\n" } else { "" };
    let body = if to_head { "" } else { text };
    format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nx-reenact-error: {name}\r\nContent-Length: {}\r\n{connection}\r\n{body}",
        status.as_u16(),
        text.len(),
    )
    .into_bytes()
}

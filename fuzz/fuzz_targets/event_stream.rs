//! A stream's events are those of the WHATWG specification, and neither they nor what is observed in them depends on how the
//! stream is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::dialect::{ResponseHead, ResponseObserver, ResponseSight};
use reenact::fuzzing::events;
use reenact::shape::Endpoint;

fuzz_target!(|input: &[u8]| {
    let Some((stream, pieces)) = pieces::cut(input) else {
        return;
    };
    let whole = events(&[stream]);
    assert_eq!(whole, events(&pieces));
    assert_eq!(whole, as_the_specification_says(stream));
    for endpoint in Endpoint::ALL
        .into_iter()
        .filter(|endpoint| endpoint.is_read())
    {
        for content_type in [
            "text/event-stream",
            "application/json",
            "application/x-ndjson",
            "application/grpc",
        ] {
            let observe = |pieces: &[&[u8]]| observe(endpoint, content_type, pieces);
            assert_eq!(observe(&[stream]), observe(&pieces));
        }
    }
});

fn observe(endpoint: Endpoint, content_type: &str, pieces: &[&[u8]]) -> ResponseSight {
    let head = ResponseHead {
        status: 200,
        content_type: Some(content_type),
        content_encoding: None,
    };
    let mut observer = ResponseObserver::new(endpoint, head, true);
    for piece in pieces {
        observer.data(7, piece);
    }
    observer.finish()
}

/// Line by line, and nothing else. Differs from the specification as the recorder does: an event without data is none, one with
/// empty data is one, and the stream's end ends an event.
fn as_the_specification_says(stream: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut seen = Vec::new();
    let (mut name, mut data) = (Vec::new(), None::<Vec<u8>>);
    let mut rest = stream
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(stream)
        .to_vec();
    rest.extend_from_slice(b"\n\n");
    let mut rest = &rest[..];
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = &rest[..end];
        let ending = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + ending..];
        if line.is_empty() {
            if let Some(data) = data.take() {
                seen.push((std::mem::take(&mut name), Some(data)));
            }
            name.clear();
            continue;
        }
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            },
            // Longer names than any dialect has are cut.
            b"event" => name = value[..value.len().min(128)].to_vec(),
            _ => {}
        }
    }
    seen
}

//! A WebSocket with canaries in its frames both ways: masked, fragmented, in pings and in reasons, ended in order and broken off.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::http1::HEADERS;
use super::support::canaries::Canaries;
use super::support::frames::{
    BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, bare, masked, unfinished,
};
use super::support::wire::Wire;

/// Under it a small letter becomes a great one, which is a disguise that is searched for.
const MASK: [u8; 4] = [0x20; 4];
/// Under it nothing changes.
const NO_MASK: [u8; 4] = [0; 4];

const EVENT: &str = r#"{"type":"session.update","session":{"instructions":"@","tools":[{"name":"@"}]},"event_id":"@","audio":"@","@":"@"}"#;

/// How many exchanges it was.
pub(crate) fn exchange(url: &str, canaries: &Canaries) -> usize {
    for whole in [true, false] {
        let mut client = Wire::connect(url);
        client.send(canaries.fill(&handshake("plain")));
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let (first, last) = halves(&canaries.fill(EVENT));
        for frame in [
            masked(TEXT, NO_MASK, canaries.fill(EVENT)),
            masked(BINARY, MASK, canaries.fill(EVENT)),
            unfinished(masked(TEXT, NO_MASK, first)),
            masked(PING, NO_MASK, canaries.next()),
            masked(CONTINUATION, MASK, last),
        ] {
            // Cut within its head and within its payload.
            let (head, rest) = frame.split_at(3);
            let (middle, end) = rest.split_at(rest.len() / 2);
            for part in [head, middle, end] {
                client.send(part);
            }
        }
        if whole {
            client.send(masked(CLOSE, NO_MASK, reason(canaries)));
        } else {
            let frame = masked(TEXT, NO_MASK, canaries.fill(EVENT));
            client.send(&frame[..frame.len() - 5]);
        }
        client.finish();
        client.read_to_end();
    }
    let mut client = Wire::connect(url);
    client.send(canaries.fill(&handshake("refused")));
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 418 "), "{head}");
    3
}

/// OpenAI's clients in browsers say their key as a protocol.
fn handshake(manner: &str) -> String {
    let headers = HEADERS.replace("Connection: close", "Connection: Upgrade");
    format!(
        "GET /v1/realtime?model=@&api_key=@ HTTP/1.1\r\n{headers}X-Manner: {manner}\r\nUpgrade: websocket\r\nSec-WebSocket-Key: @\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: realtime, openai-insecure-api-key.@\r\nSec-WebSocket-Extensions: @\r\n\r\n"
    )
}

/// The other end, behind a request's head: it says all that it has and reads to the end.
pub(crate) fn serve(stream: &mut TcpStream, canaries: &Canaries) {
    let head = "HTTP/1.1 101 @\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @\r\nSec-WebSocket-Protocol: @\r\n\r\n";
    let (first, last) = halves(&canaries.fill(EVENT));
    let answer = [
        canaries.fill(head).into_bytes(),
        bare(TEXT, canaries.fill(EVENT)),
        unfinished(bare(BINARY, first)),
        bare(PONG, canaries.next()),
        bare(CONTINUATION, last),
        bare(CLOSE, reason(canaries)),
    ];
    let _ = stream.write_all(&answer.concat());
    let _ = stream.read_to_end(&mut Vec::new());
    let _ = stream.shutdown(Shutdown::Both);
}

fn reason(canaries: &Canaries) -> Vec<u8> {
    [&1000_u16.to_be_bytes(), canaries.next().as_bytes()].concat()
}

fn halves(text: &str) -> (String, String) {
    let (first, last) = text.split_at(text.len() / 2);
    (first.to_owned(), last.to_owned())
}

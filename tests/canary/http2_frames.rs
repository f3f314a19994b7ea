//! HTTP/2 frame by frame: what is malformed, and what has room for text of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use super::support::canaries::Canaries;
use super::support::http;
use super::support::wire::Wire;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS_FRAME: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const UNKNOWN: u8 = 0xbe;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Fields as they are, in no table (RFC 7541, 6.2.2).
fn literally(template: &str, canaries: &Canaries) -> Vec<u8> {
    let text = canaries.fill(template);
    let mut block = Vec::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(" = ")) {
        block.push(0);
        for part in [name, value] {
            block.push(u8::try_from(part.len()).unwrap());
            block.extend_from_slice(part.as_bytes());
        }
    }
    block
}

/// The last word of a connection, which may say why.
fn leave(canaries: &Canaries) -> Vec<u8> {
    let why = canaries.fill("@ is why");
    frame(
        GOAWAY,
        0,
        0,
        &[&[0, 0, 0, 0, 0, 0, 0, 2], why.as_bytes()].concat(),
    )
}

/// A client that says what it should not, in frames that have room for text.
pub(crate) fn go_wrong(url: &str, canaries: &Canaries) {
    let malformed =
        ":method = POST\n:scheme = http\n:authority = @\n:path = /v1/messages?@\nX-@ = @";
    let cut = ":method = POST\n:scheme = http\n:authority = @\n:path = /v1/messages?@\nx-@ = @";
    for last in [
        leave(canaries),
        frame(DATA, 0, 0, canaries.next().as_bytes()),
    ] {
        let mut client = Wire::connect(url);
        client.send(
            [
                PREFACE.to_vec(),
                frame(SETTINGS, 0, 0, &[]),
                frame(UNKNOWN, 0, 0, canaries.next().as_bytes()),
                frame(
                    HEADERS_FRAME,
                    END_HEADERS,
                    1,
                    &literally(malformed, canaries),
                ),
                frame(HEADERS_FRAME, END_HEADERS, 3, &literally(cut, canaries)),
                frame(DATA, 0, 3, canaries.fill("{\"model\":\"@\",\"@").as_bytes()),
                last,
            ]
            .concat(),
        );
        client.finish();
        client.read_to_end();
    }
}

/// Starts an upstream that begins to answer and then says why it leaves: its URL.
pub(crate) fn leaving(canaries: Arc<Canaries>) -> String {
    let (url, _) = http::upstream(move |mut stream| {
        if asked(&mut stream).is_some() {
            let head = literally(":status = 200\ncontent-type = text/@\nx-@ = @", &canaries);
            let answer = [
                frame(SETTINGS, 0, 0, &[]),
                frame(HEADERS_FRAME, END_HEADERS, 1, &head),
                frame(DATA, 0, 1, canaries.fill("data: @").as_bytes()),
                leave(&canaries),
            ];
            let _ = stream.write_all(&answer.concat());
        }
    });
    url
}

/// Reads until a request's head has come.
fn asked(stream: &mut TcpStream) -> Option<()> {
    stream.read_exact(&mut [0; PREFACE.len()]).ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).ok()?;
        if head[3] == HEADERS_FRAME {
            return Some(());
        }
    }
}

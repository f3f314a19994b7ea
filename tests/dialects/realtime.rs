//! A WebSocket under `/v1/realtime`: its frames pass, and of them only sizes and times are known.

use std::io::{Read, Write};

use serde_json::json;

use super::support::frames::{PING, PONG, TEXT, bare, masked};
use super::support::{Server, exchanges, http};

const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

const MASK: [u8; 4] = [7, 1, 9, 3];

#[test]
fn frames_are_counted_and_their_payload_is_not_looked_at() {
    let first = [bare(TEXT, "session.created"), bare(PING, "")].concat();
    let second = [bare(TEXT, "delta"), bare(TEXT, "done")].concat();
    let asked = [
        masked(TEXT, MASK, "hello"),
        masked(TEXT, MASK, "x".repeat(300)),
        masked(PONG, [0; 4], ""),
    ]
    .concat();
    let (sent, expected) = ((first.clone(), second.clone()), asked.len());
    let (upstream, _server) = http::upstream(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        // The first frame comes with the head.
        let opening = [SWITCHING.as_bytes(), &sent.0].concat();
        stream.write_all(&opening).unwrap();
        let mut came = vec![0; expected];
        stream.read_exact(&mut came).unwrap();
        stream.write_all(&sent.1).unwrap();
    });
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream, dir.path(), &["--gaps", "full"]);
    let mut client = http::connect(&recorder.url);
    let request = "GET /v1/realtime?model=gpt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let mut opening = vec![0; SWITCHING.len() + first.len()];
    client.read_exact(&mut opening).unwrap();
    assert!(opening.ends_with(&first));
    // Cut within a head and within a payload.
    let (head, rest) = asked.split_at(3);
    for part in [head, rest] {
        client.write_all(part).unwrap();
    }
    let mut closing = Vec::new();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    client.read_to_end(&mut closing).unwrap();
    assert_eq!(closing, second);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let recorded = exchanges(dir.path());
    let in_order = recorded[0].pointer("/response/gaps_in_order_us").unwrap();
    assert_eq!(
        in_order.as_array().unwrap().len(),
        2,
        "between three frames"
    );
    for (pointer, value) in [
        ("/endpoint", json!("realtime")),
        ("/method", json!("GET")),
        ("/shape", json!("known")),
        (
            "/request/messages",
            json!([{"role": "other", "bytes": 5}, {"role": "other", "bytes": 300}]),
        ),
        ("/request/bytes", json!(asked.len())),
        ("/response/events", json!(3)),
        ("/response/token_events", json!(0)),
        ("/response/bytes", json!(first.len() + second.len())),
        ("/response/status", json!(101)),
        ("/outcome/kind", json!("completed")),
    ] {
        assert_eq!(recorded[0].pointer(pointer).unwrap(), &value, "{pointer}");
    }
}

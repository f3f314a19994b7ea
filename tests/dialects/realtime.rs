//! A WebSocket under `/v1/realtime`: its frames pass, and of them only sizes and times are known.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::frames::{BINARY, PING, PONG, TEXT, bare, masked};
use super::support::{Server, exchanges, http};

const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

const REQUEST: &str = "GET /v1/realtime?model=gpt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n";

const MASK: [u8; 4] = [7, 1, 9, 3];

/// Between what a client was answered and its next frame.
const PAUSE: Duration = Duration::from_millis(30);

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
        // The first frame comes with the head.
        switch(&mut stream, &sent.0);
        let mut came = vec![0; expected];
        stream.read_exact(&mut came).unwrap();
        stream.write_all(&sent.1).unwrap();
    });
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream, dir.path(), &["--gaps", "full"]);
    let mut client = http::connect(&recorder.url);
    client.write_all(REQUEST.as_bytes()).unwrap();
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
        ("/frames/sent_gaps/buckets/0/1", json!(1)),
        ("/frames/came_sizes", json!([[0, 3]])),
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

/// Reads a request's head, and becomes a WebSocket. `first` comes with the answer's head.
fn switch(stream: &mut TcpStream, first: &[u8]) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let opening = [SWITCHING.as_bytes(), first].concat();
    stream.write_all(&opening).unwrap();
}

/// Both sides send these in turn, the client a while after what it was answered; gives what is recorded.
fn recorded(turns: &[(Vec<u8>, Vec<u8>)], options: &[&str]) -> Value {
    let script = turns.to_vec();
    let (upstream, _server) = http::upstream(move |mut stream| {
        switch(&mut stream, b"");
        for (asked, answer) in &script {
            let mut came = vec![0; asked.len()];
            stream.read_exact(&mut came).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let recorder = Server::recorder(&upstream, dir.path(), options);
    let mut client = http::connect(&recorder.url);
    client.write_all(REQUEST.as_bytes()).unwrap();
    let mut opening = vec![0; SWITCHING.len()];
    client.read_exact(&mut opening).unwrap();
    for (asked, answer) in turns {
        // What was answered has passed, and so has what it answers: the pause lies between two frames.
        std::thread::sleep(PAUSE);
        client.write_all(asked).unwrap();
        let mut came = vec![0; answer.len()];
        client.read_exact(&mut came).unwrap();
        assert!(came == *answer);
    }
    drop(client);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    exchanges(dir.path()).remove(0)
}

#[test]
fn when_the_client_sends_and_about_how_much_it_is_sent_is_kept() {
    let said = |text: &str| masked(TEXT, MASK, text);
    let sound = || bare(BINARY, "s".repeat(5_000));
    let turns = [
        (said("one"), [bare(TEXT, "delta"), sound()].concat()),
        (said("two"), [sound(), bare(TEXT, "w".repeat(900))].concat()),
        (said("three"), [bare(PONG, "p"), sound()].concat()),
    ];
    let pause_us = u64::try_from(PAUSE.as_micros()).unwrap();
    for (options, in_order) in [(&[][..], 0), (&["--gaps", "full"][..], 2)] {
        let exchange = recorded(&turns, options);
        let frames = &exchange["frames"];
        assert_eq!(frames["came_sizes"], json!([[0, 2], [4096, 3]]));
        let response = &exchange["response"];
        let first_us = frames["first_sent_us"].as_u64().unwrap();
        assert!(first_us >= response["headers_us"].as_u64().unwrap() + pause_us);
        let gaps = &frames["sent_gaps"];
        let counts = gaps["buckets"].as_array().unwrap().iter();
        assert_eq!(counts.map(|pair| pair[1].as_u64().unwrap()).sum::<u64>(), 2);
        let longest_us = gaps["longest_us"].as_u64().unwrap();
        assert!(longest_us >= pause_us, "{exchange}");
        let listed = frames
            .get("sent_gaps_in_order_us")
            .map(|list| list.as_array().unwrap());
        assert_eq!(listed.map_or(0, Vec::len), in_order);
        assert_eq!(response["events"], json!(5));
        // And nothing else.
        let keys: Vec<_> = frames.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), if in_order > 0 { 4 } else { 3 }, "{keys:?}");
    }
}

#[test]
fn rounded_lengths_are_those_of_frames_too() {
    let turns = [(masked(TEXT, MASK, "one"), bare(TEXT, "x".repeat(3_000)))];
    let exchange = recorded(&turns, &["--quantise-lengths", "8000"]);
    assert_eq!(exchange["response"]["events"], json!(8_000));
    // To 32,000 bytes.
    let sizes = &exchange["frames"]["came_sizes"];
    assert_eq!(sizes, &json!([[16_384, 8_000]]));
}

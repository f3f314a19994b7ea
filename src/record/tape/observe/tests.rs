//! Panics behind the tap, in a recorder with real sockets around it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::record::{DropReason, Options, Recorder, TraceOptions};
use crate::shape::ShapeStatus;
use crate::trace::Trace;

/// Answers with what the request's body says, after its head.
fn upstream(listener: &TcpListener, exchanges: usize) {
    let mut stream = listener.accept().unwrap().0;
    for _ in 0..exchanges {
        let request = read_message(&mut stream);
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

fn read_message(stream: &mut TcpStream) -> String {
    let mut message = String::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "ended early");
        message.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        if let Some((head, body)) = message.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            if body.len() == length.lines().next().unwrap().parse::<usize>().unwrap() {
                return message;
            }
        }
    }
}

#[test]
fn a_panic_costs_a_shape_or_an_exchange_and_nobody_notices() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(&options(&listener, dir.path())).unwrap();
    let chat = "/v1/chat/completions";
    let exchanges = [
        (chat, "{\"messages\":[]}"),
        // In a dialect.
        (chat, "{\"messages\":[],\"TRIP-UP\":1}"),
        (chat, "{\"messages\":[],\"after\":1}"),
        // In the observer itself.
        ("/TRIP-UP", "{}"),
        (chat, "{\"messages\":[],\"in the end\":1}"),
    ];
    std::thread::scope(|scope| {
        scope.spawn(|| upstream(&listener, exchanges.len()));
        let mut client = TcpStream::connect(recorder.listening()[0]).unwrap();
        for (path, body) in exchanges {
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(request.as_bytes()).unwrap();
            assert!(read_message(&mut client).ends_with(body));
        }
    });
    let summary = recorder.drain();
    assert_eq!(
        (summary.seen, summary.recorded, summary.unaccounted()),
        (5, 4, 0)
    );
    assert_eq!(summary.dropped[&DropReason::Panic], 1);
    let mut trace = Trace::open(&[dir.path().to_owned()]).unwrap();
    assert_eq!(trace.totals().dropped["panic"], 1);
    let shapes: Vec<_> = trace.exchanges().map(|read| read.unwrap().shape).collect();
    assert_eq!(
        shapes,
        [
            ShapeStatus::Known,
            ShapeStatus::Failed,
            ShapeStatus::Known,
            ShapeStatus::Known
        ]
    );
}

fn options(upstream: &TcpListener, dir: &std::path::Path) -> Options {
    let minute = Duration::from_secs(60);
    let url = format!("http://{}", upstream.local_addr().unwrap());
    Options {
        trace: Some(TraceOptions {
            capture_memory: 16 << 20,
            max_body: 1 << 20,
            every_gap: false,
            ..TraceOptions::in_dir(dir.to_owned(), "trace")
        }),
        drain_timeout: minute,
        ..Options::in_front_of(url.parse().unwrap())
    }
}

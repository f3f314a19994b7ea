//! Goodbyes and changes of mind in HTTP/2 (RFC 9113, sections 6.8 and 6.5), from a server that writes its frames by hand: which streams
//! it will not answer, and when it takes more, is up to the test.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use super::server::{end, token};
use super::*;
use crate::replay::target::HttpVersion;

/// Streams that it takes at once.
const AT_ONCE: u8 = 4;
/// Streams that it answers after its goodbye.
const KEPT: usize = 2;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The next frame: its kind, flags, stream and payload.
fn read_frame(io: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    io.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    io.read_exact(&mut payload).ok()?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], stream, payload))
}

fn answer(io: &mut TcpStream, stream: u32) {
    // `:status: 200` and the name `content-type` from the static table (RFC 7541, appendix A).
    let mut head = vec![0x88, 0x0f, 0x10];
    let value = b"text/event-stream";
    head.push(u8::try_from(value.len()).unwrap());
    head.extend(value);
    let mut frames = frame(HEADERS, END_HEADERS, stream, &head);
    let body = token() + &end(100, 1, 0);
    frames.extend(frame(DATA, END_STREAM, stream, body.as_bytes()));
    io.write_all(&frames).unwrap();
}

/// What a connection does when requests are there.
#[derive(Clone, Copy)]
enum Course {
    /// It answers each.
    Answers,
    /// When as many streams as it takes at once are there, it says which of them it has not looked at, and answers the others.
    SaysGoodbye,
    /// It takes one, and when that is there more; it answers when as many as it then takes are there.
    TakesMore,
}

/// One connection until its client goes.
fn serve(mut io: TcpStream, course: Course, seen: &mpsc::Sender<String>) {
    io.read_exact(&mut [0; 24]).unwrap();
    let takes = |streams| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, streams]);
    let at_first = match course {
        Course::TakesMore => 1,
        _ => AT_ONCE,
    };
    io.write_all(&takes(at_first)).unwrap();
    let mut bodies: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut whole = Vec::new();
    while let Some((kind, flags, stream, payload)) = read_frame(&mut io) {
        match kind {
            SETTINGS if flags & ACK == 0 => {
                io.write_all(&frame(SETTINGS, ACK, 0, &[])).unwrap();
            }
            PING if flags & ACK == 0 => {
                io.write_all(&frame(PING, ACK, 0, &payload)).unwrap();
            }
            DATA => bodies.entry(stream).or_default().extend(payload),
            _ => {}
        }
        if kind != DATA || flags & END_STREAM == 0 {
            continue;
        }
        let body = bodies.remove(&stream).unwrap();
        let _ = seen.send(String::from_utf8(body).unwrap());
        whole.push(stream);
        let all = whole.len() == usize::from(AT_ONCE);
        match course {
            Course::Answers => answer(&mut io, stream),
            Course::SaysGoodbye if all => {
                let last = whole[KEPT - 1].to_be_bytes();
                let reason = [0; 4];
                let goodbye = frame(GOAWAY, 0, 0, &[last, reason].concat());
                io.write_all(&goodbye).unwrap();
                for &stream in &whole[..KEPT] {
                    answer(&mut io, stream);
                }
            }
            Course::TakesMore if whole.len() == 1 => io.write_all(&takes(AT_ONCE)).unwrap(),
            Course::TakesMore if all => {
                for &stream in &whole {
                    answer(&mut io, stream);
                }
            }
            _ => {}
        }
    }
}

/// Listens, and has the first connection take its course; others answer.
fn listen(first: Course) -> (Target, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target {
        http: HttpVersion::Http2,
        ..target(&format!("http://{}", listener.local_addr().unwrap()))
    };
    let (sender, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for (n, io) in listener.incoming().flatten().enumerate() {
            let sender = sender.clone();
            let course = if n == 0 { first } else { Course::Answers };
            std::thread::spawn(move || serve(io, course, &sender));
        }
    });
    (target, seen)
}

#[test]
fn after_a_goodbye_no_request_is_lost_and_none_is_sent_twice() {
    const REQUESTS: usize = 10;
    let (target, seen) = listen(Course::SaysGoodbye);
    let one = RunOptions {
        connections: at_most(1),
        ..options()
    };
    // All at once: those that find no stream wait for one while the goodbye comes.
    let (outcomes, summary) = replay_at(&target, vec![exchange(0); REQUESTS], &one);
    assert_eq!(outcomes.len(), REQUESTS);
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|it| it.result != SendResult::Ok)
        .collect();
    assert_eq!(failed.len(), usize::from(AT_ONCE) - KEPT);
    for outcome in failed {
        assert_eq!(outcome.result, SendResult::Failed(FailureKind::Reset));
        assert!(outcome.sent_us.is_some());
    }
    assert_eq!(summary.evidence.connections_opened, 2);
    let mut bodies: Vec<String> = seen.try_iter().collect();
    assert_eq!(bodies.len(), REQUESTS, "each was sent once");
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), REQUESTS, "and none in another's place");
}

#[test]
fn requests_that_wait_for_a_stream_go_when_the_target_comes_to_take_more() {
    let (target, _seen) = listen(Course::TakesMore);
    let one = RunOptions {
        connections: at_most(1),
        request_timeout: Duration::from_secs(5),
        ..options()
    };
    let (outcomes, _) = replay_at(&target, vec![exchange(0); AT_ONCE.into()], &one);
    assert_eq!(outcomes.len(), usize::from(AT_ONCE));
    assert!(outcomes.iter().all(|it| it.result == SendResult::Ok));
}

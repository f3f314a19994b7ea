//! Clients that take their answers slowly, against servers that feel it.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::server::{answer, chunk, end, read_request, token};
use super::*;

/// Sends each client the same long stream, with little room of its own to send from, and tells how long its writes took.
struct Generous {
    url: String,
    wrote: mpsc::Receiver<Duration>,
}

const TOKENS: u32 = 400;
/// Bytes of an event, most of which say nothing.
const EVENT: usize = 512;
/// Bytes that the system may hold for a server at most, beyond what is asked for.
const ROOM: usize = 16 << 10;

impl Generous {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener)
            .set_send_buffer_size(ROOM / 2)
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, wrote) = mpsc::channel();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(&connection);
                    while read_request(&mut reader).is_some() {
                        let began = Instant::now();
                        if (&connection).write_all(&long_answer()).is_err() {
                            return;
                        }
                        let _ = sender.send(began.elapsed());
                    }
                });
            }
        });
        Self { url, wrote }
    }
}

fn long_answer() -> Vec<u8> {
    let mut text =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_owned();
    for _ in 0..TOKENS {
        let said = token();
        text.push_str(&said);
        text.push_str(&chunk(&format!(
            ":{}\n\n",
            " ".repeat(EVENT - said.len() - 10)
        )));
    }
    text.push_str(&end(100, TOKENS, 0));
    text.into_bytes()
}

fn slowly(bytes_per_s: u64, share: f64) -> RunOptions {
    RunOptions {
        readers: Readers::Drawn(ReadRate { bytes_per_s, share }),
        ..options()
    }
}

/// What a link of the rate needs at least for what no buffer takes.
fn at_least(bytes_per_s: u64, buffered: usize) -> Duration {
    let bytes = TOKENS as usize * EVENT - buffered;
    Duration::from_secs_f64(bytes as f64 / bytes_per_s as f64)
}

#[test]
fn what_a_slow_client_does_not_take_stalls_the_servers_writes() {
    const RATE: u64 = 256 << 10;
    let server = Generous::start();
    let (outcomes, summary) = replay(
        &server.url,
        vec![exchange(0), exchange(1000)],
        &slowly(RATE, 1.0),
    );
    for outcome in outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
        assert_eq!(outcome.output_tokens, Some(TOKENS));
        assert_eq!(outcome.token_events, TOKENS);
        let took = Duration::from_micros(outcome.end_us - outcome.sent_us.unwrap());
        assert!(took >= at_least(RATE, EVENT * 20), "{took:?}");
        // The first token is not held up, what follows is: over the whole answer.
        let first = outcome.first_token_us.unwrap();
        let rest = Duration::from_micros(outcome.last_token_us.unwrap() - first);
        assert!(rest >= at_least(RATE, EVENT * 40), "{rest:?}");
    }
    for wrote in server.wrote.iter().take(2) {
        // Loopback holds what the client's window and the server's buffer do, each at twice its size at most.
        assert!(wrote >= at_least(RATE, 100 << 10), "{wrote:?}");
    }
    assert_eq!(summary.evidence.read_slowly, 2);
    assert_eq!(summary.evidence.held_up, 2);
}

/// A request whose client took so much in so long, and was waited for all the while.
fn read_slowly(at_us: u64, bytes: u64, took: Duration) -> Exchange {
    let took_us = u64::try_from(took.as_micros()).unwrap();
    let mut exchange = exchange(at_us);
    exchange.response.first_byte_us = Some(1000);
    exchange.response.end_us = Some(1000 + took_us);
    exchange.response.bytes = bytes;
    exchange.response.reader_wait_us = Some(took_us);
    exchange
}

#[test]
fn slow_readers_of_the_trace_are_as_slow_again_and_the_others_are_not() {
    const RATE: u64 = 256 << 10;
    let bytes = u64::from(TOKENS) * EVENT as u64;
    let took = Duration::from_secs_f64(bytes as f64 / RATE as f64);
    let trace = || vec![exchange(0), read_slowly(1000, bytes, took), exchange(2000)];
    let server = Generous::start();
    let (outcomes, summary) = replay(&server.url, trace(), &options());
    assert!(outcomes.iter().all(|it| it.result == SendResult::Ok));
    let slow = outcomes.iter().find(|it| it.index == 1).unwrap();
    let first = slow.first_token_us.unwrap();
    let rest = Duration::from_micros(slow.last_token_us.unwrap() - first);
    assert!(rest >= at_least(RATE, EVENT * 40), "{rest:?}");
    let longest = server.wrote.iter().take(3).max().unwrap();
    assert!(longest >= at_least(RATE, 100 << 10), "{longest:?}");
    assert_eq!(summary.evidence.read_slowly, 1);
    assert_eq!(summary.evidence.held_up, 1);
    let fast = RunOptions {
        readers: Readers::Fast,
        ..options()
    };
    let (_, summary) = replay(&server.url, trace(), &fast);
    assert_eq!(summary.evidence.read_slowly, 0);
}

#[test]
fn who_is_no_slow_client_is_not_held_up_by_those_who_are() {
    const RATE: u64 = 128 << 10;
    let server = Generous::start();
    let rate = ReadRate {
        bytes_per_s: RATE,
        share: 0.5,
    };
    let exchanges: Vec<_> = (0..8).map(|i| exchange(i * 1000)).collect();
    let (outcomes, summary) = replay(&server.url, exchanges, &slowly(RATE, 0.5));
    let (slow, fast): (Vec<_>, Vec<_>) = outcomes
        .iter()
        .partition(|it| rate.is_of(options().seed, it.session, it.index));
    assert!(!slow.is_empty() && !fast.is_empty());
    assert_eq!(summary.evidence.read_slowly, slow.len() as u64);
    let took = |it: &RequestOutcome| it.end_us - it.sent_us.unwrap();
    let soonest = slow.iter().map(|it| took(it)).min().unwrap();
    assert!(fast.iter().all(|it| it.result == SendResult::Ok));
    // On a busy machine some may be as slow for other reasons.
    assert!(fast.iter().map(|it| took(it)).min() < Some(soonest));
}

#[test]
fn answers_that_come_no_faster_than_they_are_taken_are_not_held_up() {
    let server = Server::start(|_| vec![answer(200, "", "{}")]);
    let (_, summary) = replay(&server.url(), vec![exchange(0)], &slowly(64 << 10, 1.0));
    assert_eq!(
        (summary.evidence.read_slowly, summary.evidence.held_up),
        (1, 0)
    );
}

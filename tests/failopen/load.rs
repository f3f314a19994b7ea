//! Traffic that never stops while something goes wrong, and that is looked at byte by byte on both sides.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::support::wire::Wire;
use super::support::{PATIENCE, http};

/// A server that answers each numbered request with that number's answer, and only if the request is that number's, too.
pub fn upstream() -> String {
    http::upstream(|mut stream| {
        while let Some(request) = http::read_request(&mut stream) {
            let text = String::from_utf8(request).unwrap();
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            let number: u64 = body.split('#').nth(1).unwrap().parse().unwrap();
            let answer = if body == request_body(number, body.len()) {
                answer(number)
            } else {
                "HTTP/1.1 500 Garbled\r\nContent-Length: 0\r\n\r\n".to_owned()
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
    .0
}

/// A chat request of `size` bytes.
fn request_body(number: u64, size: usize) -> String {
    let mut body = format!(
        "{{\"model\":\"m\",\"stream\":{},\"messages\":[{{\"role\":\"user\",\"content\":\"#{number}# ",
        number % 2 == 1
    );
    let end = "\"}]}";
    while body.len() + end.len() < size {
        body.push(char::from(
            b'a' + (body.len() as u64 * 7 + number) as u8 % 26,
        ));
    }
    body + end
}

/// Plain for even numbers, a stream for odd ones.
fn answer(number: u64) -> String {
    let body = answer_body(number);
    if number.is_multiple_of(2) {
        return format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
    let mut answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_owned();
    for event in body.split_inclusive("\n\n") {
        answer += &format!("{:x}\r\n{event}\r\n", event.len());
    }
    answer + "0\r\n\r\n"
}

fn answer_body(number: u64) -> String {
    if number.is_multiple_of(2) {
        return format!(
            "{{\"choices\":[{{\"message\":{{\"content\":\"answer {number}\"}},\"finish_reason\":\"stop\"}}]}}"
        );
    }
    let event = |word: &str| {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{word} {number}\"}}}}]}}\n\n")
    };
    event("one") + &event("two") + &event("three") + "data: [DONE]\n\n"
}

/// Clients that send one request after another.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    made: AtomicU64,
    took: Mutex<Vec<Duration>>,
    /// One more has been made.
    one_more: Condvar,
}

/// How long a client of a calm load rests: a writer that gets little processor time keeps up with a hundred a second.
const REST: Duration = Duration::from_millis(10);

impl Load {
    /// `clients` clients whose requests have `size` bytes, as fast as they are answered.
    pub fn start(url: &str, clients: u64, size: usize) -> Self {
        Self::resting(url, clients, size, Duration::ZERO, "")
    }

    /// The same, slow enough that recording keeps up with it on any machine: what is lost is lost for one reason.
    pub fn calm(url: &str, clients: u64, size: usize) -> Self {
        Self::resting(url, clients, size, REST, "")
    }

    /// The same, of a client that wants nothing of it recorded.
    pub fn unrecorded(url: &str, size: usize) -> Self {
        Self::resting(url, 1, size, REST, "x-reenact-record: off\r\n")
    }

    fn resting(url: &str, clients: u64, size: usize, rest: Duration, header: &'static str) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..clients)
            .map(|client| {
                let (url, shared) = (url.to_owned(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    let mut wire = Wire::connect(&url);
                    let mut number = client << 32;
                    while !shared.stop.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        exchange(&mut wire, number, size, header);
                        let mut took = shared.took.lock().unwrap();
                        took.push(began.elapsed());
                        shared.made.fetch_add(1, Ordering::Relaxed);
                        shared.one_more.notify_all();
                        drop(took);
                        number += 1;
                        std::thread::sleep(rest);
                    }
                })
            })
            .collect();
        Self { shared, clients }
    }

    /// Exchanges made so far.
    pub fn made(&self) -> u64 {
        self.shared.made.load(Ordering::Relaxed)
    }

    /// How long exchanges took since this was last asked.
    pub fn latencies(&self) -> Latencies {
        let mut took = std::mem::take(&mut *self.shared.took.lock().unwrap());
        took.sort_unstable();
        Latencies(took)
    }

    /// Waits for so many more.
    pub fn goes_on(&self, more: u64) {
        let until = self.made() + more;
        let took = self.shared.took.lock().unwrap();
        let waits = |_: &mut Vec<Duration>| self.made() < until;
        let waited = self
            .shared
            .one_more
            .wait_timeout_while(took, PATIENCE, waits);
        assert!(!waited.unwrap().1.timed_out(), "traffic stands still");
    }

    /// Ends it: how many exchanges there were, and how long those took that nobody asked for yet. A byte that was wrong fails
    /// the test here.
    pub fn finish(mut self) -> (u64, Latencies) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        (self.made(), self.latencies())
    }
}

/// How long exchanges took, in order.
#[derive(Debug)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Of a hundred exchanges, this many took at most so long.
    pub fn of_100(&self, rank: usize) -> Duration {
        self.0[(self.0.len() * rank / 100).min(self.0.len() - 1)]
    }

    pub fn slowest(&self) -> Duration {
        self.of_100(100)
    }
}

fn exchange(wire: &mut Wire, number: u64, size: usize, header: &str) {
    let body = request_body(number, size);
    wire.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\n{header}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let (head, body) = read_answer(wire);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, answer_body(number));
}

/// An answer's head and body, whatever its framing.
pub fn read_answer(wire: &mut Wire) -> (String, String) {
    let head = wire.read_head();
    let length = head.lines().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    if let Some(length) = length {
        let body = wire.read_exact(length);
        return (head, body);
    }
    let mut body = String::new();
    loop {
        let line = wire.read_until("\r\n");
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        body += &wire.read_exact(size);
        wire.read_exact(2);
        if size == 0 {
            return (head, body);
        }
    }
}

/// Sends what nobody reads, for as long as the other side takes it.
pub fn pour(mut stream: TcpStream, piece: &[u8], bytes: u64) -> u64 {
    let mut sent = 0;
    while sent < bytes && stream.write_all(piece).is_ok() {
        sent += piece.len() as u64;
    }
    sent
}

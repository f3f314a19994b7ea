//! Promise 4: a recorder that is killed, at any moment and under load, loses nothing that it has told to be in the trace.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::support::wire::{metric, metric_reaches};
use super::support::{OK, Server, http};
use super::{Random, names};
use reenact::shape::Outcome;
use reenact::trace::{Trace, repair, verify};

#[test]
fn thirty_kills_cost_nothing_that_was_flushed() {
    survive(30, 7);
}

#[test]
#[ignore = "takes half an hour; the short one beside it runs always"]
fn five_hundred_kills_cost_nothing_that_was_flushed() {
    survive(500, 11);
}

/// Clients that go on until they are told to stop, whatever happens to the server: those whose answers come at once, and those that
/// are streamed to for up to three seconds.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

const AT_ONCE: usize = 3;
const STREAMED: usize = 4;

impl Load {
    fn on(url: &str, numbers: &Arc<AtomicU64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let clients = (0..AT_ONCE + STREAMED)
            .map(|client| {
                let (stop, sent, url) = (Arc::clone(&stop), Arc::clone(&sent), url.to_owned());
                let numbers = (client >= AT_ONCE).then(|| Arc::clone(numbers));
                std::thread::spawn(move || {
                    let mut client = http::connect(&url);
                    while !stop.load(Ordering::Relaxed) {
                        let number = numbers
                            .as_ref()
                            .map(|it| it.fetch_add(1, Ordering::Relaxed));
                        sent.fetch_add(1, Ordering::Relaxed);
                        if client.write_all(request(number).as_bytes()).is_err()
                            || !answered(&mut client, number.is_some())
                        {
                            return;
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            sent,
            clients,
        }
    }

    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        self.sent.load(Ordering::Relaxed)
    }
}

/// A chat; one with a number, which `max_tokens` tells, asks for a stream.
fn request(number: Option<u64>) -> String {
    let streamed = number.map_or(String::new(), |number| {
        format!(r#""stream":true,"max_tokens":{number},"#)
    });
    let body =
        format!(r#"{{{streamed}"model":"m","messages":[{{"role":"user","content":"hello"}}]}}"#);
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Reads an answer to its end.
fn answered(client: &mut TcpStream, streamed: bool) -> bool {
    let end: &[u8] = if streamed { b"0\r\n\r\n" } else { b"{}" };
    let (mut answer, mut read) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(end) {
        match client.read(&mut read) {
            Ok(len @ 1..) => answer.extend_from_slice(&read[..len]),
            _ => return false,
        }
    }
    true
}

/// An upstream that answers at once, and streams at a pace where a stream is asked for.
fn upstream() -> String {
    let (url, _) = http::upstream(|mut stream| {
        while let Some(request) = http::read_request(&mut stream) {
            let request = String::from_utf8_lossy(&request);
            let number = request.split_once("\"max_tokens\":").map(|(_, rest)| {
                let digits = rest.split(',').next().unwrap();
                digits.parse::<u64>().unwrap()
            });
            let written = match number {
                None => stream.write_all(OK.as_bytes()),
                Some(number) => streamed(&mut stream, number * 7 % 30),
            };
            if written.is_err() {
                return;
            }
        }
    });
    url
}

fn streamed(stream: &mut TcpStream, events: u64) -> std::io::Result<()> {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    for _ in 0..events {
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
        std::thread::sleep(Duration::from_millis(100));
    }
    stream.write_all(b"0\r\n\r\n")
}

/// Kills recorders that follow each other in one directory.
fn survive(kills: u64, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream();
    let mut random = Random(seed);
    let numbers = Arc::new(AtomicU64::new(1));
    let (mut sent, mut told) = (0, 0);
    let mut found = Found::default();
    let mut earlier = BTreeSet::new();
    for kill in 0..kills {
        // Every third rotates at each flush, so that ends and beginnings of files are hit, too.
        let rotate = if kill % 3 == 0 { "1" } else { "1GiB" };
        let arguments = ["--rotate-size", rotate, "--no-sandbox"];
        let mut recorder = Server::recorder(&upstream, dir.path(), &arguments);
        let admin = recorder.wait_for_url("admin on ");
        let load = Load::on(&recorder.url, &numbers);
        if kill % 4 != 3 {
            metric_reaches(&admin, "reenact_recorded_total", 1);
        }
        // Two of five live for so long that the file holds streams as in flight: that takes one and a half seconds, and what a
        // busy disk takes.
        let long = if kill % 5 < 2 { 1_800_000 } else { 0 };
        // What is waited for is the moment itself: any will do.
        std::thread::sleep(Duration::from_micros(long + random.below(1_100_000)));
        told += metric(&admin, "reenact_recorded_total");
        let held = streams(dir.path(), &earlier);
        recorder.signal(rustix::process::Signal::KILL);
        let (status, _) = recorder.wait();
        assert!(!status.success());
        sent += load.finish();
        let left = streams(dir.path(), &earlier);
        let lost: Vec<_> = held.iter().filter(|it| !left.contains(it)).collect();
        assert!(
            lost.is_empty(),
            "kill {kill}: the file held streams {lost:?} before it"
        );
        found.held += held.len();
        earlier = names(dir.path()).into_iter().collect();
        if kill % 10 == 9 || kill + 1 == kills {
            found = Found {
                held: found.held,
                ..check(dir.path(), told, sent)
            };
        }
    }
    let Found {
        held,
        in_flight,
        torn,
    } = found;
    eprintln!(
        "{kills} kills: {sent} sent, {told} told to be recorded, {held} streams seen in the files before, {in_flight} exchanges \
         read as in flight, {torn} files with a torn end"
    );
    assert!(
        in_flight >= kills / 5,
        "{in_flight} were in flight at {kills} kills"
    );
}

/// The streams that are in the files that are not of `earlier` recorders, each once, whether they have ended there or not.
fn streams(dir: &Path, earlier: &BTreeSet<String>) -> BTreeSet<u32> {
    let mine = names(dir)
        .into_iter()
        .filter(|name| !earlier.contains(name));
    // One may have just been begun.
    let begun = |path: &PathBuf| Trace::headers_of(std::slice::from_ref(path)).is_ok();
    let files: Vec<_> = mine.map(|name| dir.join(name)).filter(begun).collect();
    let mut streams = BTreeSet::new();
    if files.is_empty() {
        return streams;
    }
    let mut trace = Trace::open(&files).unwrap();
    for exchange in trace.exchanges() {
        let number = exchange.unwrap().request.params.max_tokens;
        assert!(
            number.is_none_or(|number| streams.insert(number)),
            "stream {number:?} is there twice"
        );
    }
    streams
}

/// What the kills have left.
#[derive(Default)]
struct Found {
    /// Streams that the files had before the kills.
    held: usize,
    in_flight: u64,
    torn: usize,
}

/// Checks all files that there are.
fn check(dir: &Path, told: u64, sent: u64) -> Found {
    let mut trace = Trace::open(&[dir.to_owned()]).unwrap();
    let (mut read, mut in_flight) = (0, 0);
    for exchange in trace.exchanges() {
        read += 1;
        in_flight += u64::from(matches!(
            exchange.unwrap().outcome,
            Outcome::InFlight { .. }
        ));
    }
    assert!(
        read - in_flight >= told,
        "{read} read of {told} told to be recorded"
    );
    assert!(read <= sent, "{read} read of {sent} sent");
    let totals = trace.totals();
    assert_eq!(
        totals.recorded,
        read - in_flight,
        "every block that is there reads"
    );
    assert_eq!(totals.seen, totals.recorded + totals.lost());
    let damage = trace.damage();
    let checks = verify(&[dir.to_owned()]).unwrap();
    let sum = |of: fn(&reenact::trace::FileCheck) -> u64| checks.iter().map(of).sum::<u64>();
    assert_eq!(sum(|check| check.exchanges), read);
    assert_eq!(sum(|check| check.in_flight), in_flight);
    assert_eq!(sum(|check| check.lost_exchanges), damage.lost_exchanges);
    let torn = checks.iter().filter(|check| !check.is_sound()).count();
    assert_eq!(torn > 0, damage.is_loss());
    for check in &checks {
        // A kill tears the end of a file and nothing before it.
        let ends = check.faults.iter().map(|fault| fault.offset + fault.bytes);
        assert!(check.faults.len() <= 1 && ends.into_iter().all(|end| end == check.bytes));
    }
    let there = tempfile::tempdir().unwrap();
    let whole = there.path().join("whole.rt");
    let copied = repair(&mut trace, &whole).unwrap();
    assert_eq!(copied.exchanges, read);
    let repaired = verify(&[whole]).unwrap().remove(0);
    assert!(repaired.is_sound() && repaired.finished && repaired.exchanges == read);
    Found {
        held: 0,
        in_flight,
        torn,
    }
}

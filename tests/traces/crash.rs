//! Promise 4: a recorder that is killed, at any moment and under load, loses nothing that it has told to be in the trace.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::support::wire::{metric, metric_reaches};
use super::support::{Server, http};
use super::{Random, upstream};
use reenact::shape::Outcome;
use reenact::trace::{Trace, repair, verify};

#[test]
fn thirty_kills_cost_nothing_that_was_flushed() {
    survive(30, 7);
}

#[test]
#[ignore = "takes a quarter of an hour; the short one beside it runs always"]
fn five_hundred_kills_cost_nothing_that_was_flushed() {
    survive(500, 11);
}

/// Clients that go on until they are told to stop, whatever happens to the server.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(url: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|_| {
                let (stop, sent, url) = (Arc::clone(&stop), Arc::clone(&sent), url.to_owned());
                std::thread::spawn(move || {
                    let mut client = http::connect(&url);
                    let request = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 61\r\n\r\n{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}] }";
                    let mut answer = [0; 4096];
                    while !stop.load(Ordering::Relaxed) {
                        sent.fetch_add(1, Ordering::Relaxed);
                        if client.write_all(request.as_bytes()).is_err()
                            || !matches!(client.read(&mut answer), Ok(1..))
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

/// Kills recorders that follow each other in one directory.
fn survive(kills: u64, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream();
    let mut random = Random(seed);
    let (mut sent, mut told, mut torn) = (0, 0, 0);
    for kill in 0..kills {
        // Every third rotates at each flush, so that ends and beginnings of files are hit, too.
        let rotate = if kill % 3 == 0 { "1" } else { "1GiB" };
        let arguments = ["--rotate-size", rotate, "--no-sandbox"];
        let mut recorder = Server::recorder(&upstream, dir.path(), &arguments);
        let admin = recorder.wait_for_url("admin on ");
        let load = Load::on(&recorder.url, 3);
        if kill % 4 != 3 {
            metric_reaches(&admin, "reenact_recorded_total", 1);
        }
        // What is waited for is the moment itself: any will do.
        std::thread::sleep(Duration::from_micros(random.below(1_100_000)));
        told += metric(&admin, "reenact_recorded_total");
        recorder.signal(rustix::process::Signal::KILL);
        let (status, _) = recorder.wait();
        assert!(!status.success());
        sent += load.finish();
        if kill % 10 == 9 || kill + 1 == kills {
            torn = check(dir.path(), told, sent);
        }
    }
    eprintln!(
        "{kills} kills: {sent} sent, {told} told to be recorded, {torn} files with a torn end"
    );
}

/// Checks all files that there are; gives the number of torn ones.
fn check(dir: &Path, told: u64, sent: u64) -> usize {
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
    torn
}

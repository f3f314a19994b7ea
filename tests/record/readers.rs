//! How long answers wait for their clients.

use std::io::{ErrorKind, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reenact::shape::{Exchange, Outcome};

use super::support::Server;
use super::support::wire::{Upstream, Wire};
use super::{Between, GET, exchanges};

/// More than all the buffers on the way hold.
const BODY: usize = 32 << 20;
/// An upstream whose writes do not go on for so long is stuck.
const STUCK: Duration = Duration::from_millis(300);

/// Begins the long answer that follows this head, and returns once it is stuck.
fn stuck(server: &Wire, head: &str) {
    let mut writer = server.writer();
    writer.set_write_timeout(Some(STUCK)).unwrap();
    writer.write_all(head.as_bytes()).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let piece = vec![b'x'; 64 << 10];
        let mut left = BODY;
        while left > 0 {
            match writer.write(&piece[..left.min(piece.len())]) {
                Ok(written) => left -= written,
                // After as long as the timeout says.
                Err(error) if error.kind() == ErrorKind::WouldBlock => drop(tell.send(())),
                Err(_) => return,
            }
        }
    });
    told.recv().unwrap();
}

fn long() -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n")
}

fn waited(exchange: &Exchange) -> Duration {
    Duration::from_micros(exchange.response.reader_wait_us.unwrap())
}

#[test]
fn an_answer_that_its_client_does_not_take_waits_for_it() {
    let between = Between::start(&[]);
    let began = Instant::now();
    let (mut client, server, _) = between.exchange(GET);
    stuck(&server, &long());
    client.read_head();
    client.skip(BODY as u64);
    let whole = began.elapsed();
    // The connection is as good as any: what a client takes as it comes waits for nobody.
    client.send(GET);
    let mut server = server;
    server.read_head();
    server.send(super::OK);
    client.read_until("hi");
    let recorded = between.finish();
    assert_eq!(recorded.len(), 2);
    assert!(
        (STUCK..whole).contains(&waited(&recorded[0])),
        "{recorded:?}"
    );
    assert_eq!(recorded[0].outcome, Outcome::Completed);
    assert_eq!(recorded[1].response.reader_wait_us, Some(0));
}

#[test]
fn an_answer_waits_as_long_as_it_lasts_for_a_client_that_leaves() {
    let between = Between::start(&[]);
    let (client, server, _) = between.exchange(GET);
    stuck(&server, &long());
    client.reset();
    let recorded = between.finish();
    let Outcome::ClientCancelled { at_us } = recorded[0].outcome else {
        panic!("{recorded:?}");
    };
    let waited = waited(&recorded[0]);
    assert!(
        waited >= STUCK && waited <= Duration::from_micros(at_us),
        "{recorded:?}"
    );
    assert!(
        recorded[0].slow_reader_bytes_per_s().is_some(),
        "{recorded:?}"
    );
}

#[test]
fn what_goes_down_a_tunnel_waits_too() {
    let between = Between::start(&[]);
    let (mut client, server, _) = between
        .exchange("GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n");
    stuck(
        &server,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
    );
    client.read_head();
    client.skip(BODY as u64);
    drop((client, server));
    let recorded = between.finish();
    assert!(waited(&recorded[0]) >= STUCK, "{recorded:?}");
}

/// A recorder whose client speaks HTTP/2, and before it one whose client speaks HTTP/1.
struct Across {
    recorders: [Server; 2],
    dirs: [tempfile::TempDir; 2],
    upstream: Upstream,
}

impl Across {
    fn start() -> Self {
        let upstream = Upstream::start();
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let over = |url: &str, dir: &tempfile::TempDir, protocol| {
            Server::recorder(url, dir.path(), &["--upstream-protocol", protocol])
        };
        let behind = over(&upstream.url(), &dirs[1], "http1");
        let before = over(&behind.url, &dirs[0], "http2");
        Self {
            recorders: [before, behind],
            dirs,
            upstream,
        }
    }

    fn finish(self) -> [Exchange; 2] {
        for recorder in self.recorders {
            let (status, log) = recorder.terminate();
            assert!(status.success(), "{log}");
        }
        self.dirs.map(|dir| exchanges(dir.path()).remove(0))
    }
}

#[test]
fn an_answer_waits_for_its_client_in_either_protocol() {
    let across = Across::start();
    let began = Instant::now();
    let mut client = Wire::connect(&across.recorders[0].url);
    client.send(GET);
    let mut server = across.upstream.accept();
    server.read_head();
    stuck(&server, &long());
    client.read_head();
    client.skip(BODY as u64);
    let whole = began.elapsed();
    for exchange in across.finish() {
        assert_eq!(exchange.response.bytes, BODY as u64);
        assert!((STUCK..whole).contains(&waited(&exchange)), "{exchange:?}");
    }
}

#[test]
fn a_stream_waits_for_nobody_in_either_protocol() {
    let across = Across::start();
    let mut client = Wire::connect(&across.recorders[0].url);
    client.send(GET);
    let mut server = across.upstream.accept();
    server.read_head();
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Each piece has its turns, between which the answer waits for the server.
    for _ in 0..20 {
        server.send("6\r\nabcdef\r\n");
        client.read_until("abcdef");
    }
    server.send("0\r\n\r\n");
    client.read_until("0\r\n\r\n");
    for exchange in across.finish() {
        assert_eq!(exchange.response.bytes, 120);
        assert_eq!(exchange.response.reader_wait_us, Some(0), "{exchange:?}");
    }
}

//! Generated exchanges, sent directly and through the recorder, in pieces cut at random: what arrives is the same to the byte,
//! but for what docs/http.md says changes. The changes are written again, from that page, in `expected`.

mod expected;
mod generated;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use self::expected::{Body, Exchange, expected_answer, expected_request, written_answer};
use self::generated::exchange;
use super::support::Server;
use super::support::http::{addr, upstream};

/// Cases; each is up to four exchanges on one connection.
const CASES: u32 = 2_000;
/// Far over what an exchange takes; a hang is then a short one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads one message from a connection by its framing, as the bytes it is.
fn read_message(from: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let text = read_line(from, &mut bytes)?;
        if text == "\r\n" {
            break;
        }
        if let Some(value) = text.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= text.starts_with("transfer-encoding:");
    }
    if chunked {
        loop {
            let text = read_line(from, &mut bytes)?;
            let size = text.split([';', '\r']).next().unwrap();
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                while read_line(from, &mut bytes)? != "\r\n" {}
                return Some(bytes);
            }
            let start = bytes.len();
            bytes.resize(start + size + 2, 0);
            from.read_exact(&mut bytes[start..]).ok()?;
        }
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    from.read_exact(&mut bytes[start..]).ok()?;
    Some(bytes)
}

/// The next line, in lower case, added to `bytes`.
fn read_line(from: &mut BufReader<TcpStream>, bytes: &mut Vec<u8>) -> Option<String> {
    let start = bytes.len();
    from.read_until(b'\n', bytes).ok()?;
    (bytes.len() > start).then(|| String::from_utf8_lossy(&bytes[start..]).to_lowercase())
}

/// Writes it in pieces.
fn write_cut(to: &mut TcpStream, bytes: &[u8], cuts: &[prop::sample::Index]) {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    at.sort_unstable();
    at.push(bytes.len());
    let mut from = 0;
    for end in at {
        // A peer that has closed shows in what was read.
        let _ = to.write_all(&bytes[from..end]);
        from = end;
    }
}

/// The next answer of the upstream, where to cut it, and whether the connection ends after it.
type Script = (Vec<u8>, Vec<prop::sample::Index>, bool);

struct Stage {
    direct: String,
    recorder: Server,
    scripts: Arc<Mutex<VecDeque<Script>>>,
    seen: mpsc::Receiver<Vec<u8>>,
}

impl Stage {
    fn set(dir: &std::path::Path) -> Self {
        let scripts = Arc::new(Mutex::new(VecDeque::<Script>::new()));
        let (sender, seen) = mpsc::channel();
        let answers = scripts.clone();
        let (direct, _) = upstream(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Some(request) = read_message(&mut reader) {
                let _ = sender.send(request);
                let Some((answer, cuts, ends)) = answers.lock().unwrap().pop_front() else {
                    return;
                };
                write_cut(&mut stream, &answer, &cuts);
                if ends {
                    return;
                }
            }
        });
        let recorder = Server::recorder(&direct, dir, &[]);
        Self {
            direct,
            recorder,
            scripts,
            seen,
        }
    }

    fn plan(&self, exchanges: &[Exchange], cuts: &[prop::sample::Index]) {
        let mut scripts = self.scripts.lock().unwrap();
        scripts.clear();
        for exchange in exchanges {
            let rest = matches!(exchange.answer.body, Body::Rest(_));
            let ends = rest || exchange.answer.connection_says("close");
            scripts.push_back((written_answer(exchange), cuts.to_vec(), ends));
        }
    }

    /// What the upstream and the client saw of one exchange without a recorder.
    fn directly(&self, exchange: &Exchange) -> (Vec<u8>, Vec<u8>) {
        self.plan(std::slice::from_ref(exchange), &[]);
        let mut stream = connect(&self.direct);
        stream.write_all(&exchange.request.bytes()).unwrap();
        let mut answer = vec![0; written_answer(exchange).len()];
        stream.read_exact(&mut answer).unwrap();
        (self.seen.recv_timeout(PATIENCE).unwrap(), answer)
    }

    fn check(
        &self,
        exchanges: &[Exchange],
        up: &[prop::sample::Index],
        down: &[prop::sample::Index],
    ) -> TestCaseResult {
        for exchange in exchanges {
            let (request, answer) = self.directly(exchange);
            prop_assert_eq!(request, exchange.request.bytes());
            prop_assert_eq!(answer, written_answer(exchange));
        }
        self.plan(exchanges, down);
        let mut stream = connect(&self.recorder.url);
        let requests: Vec<_> = exchanges
            .iter()
            .flat_map(|one| one.request.bytes())
            .collect();
        write_cut(&mut stream, &requests, up);
        let host = self.direct.strip_prefix("http://").unwrap();
        for exchange in exchanges {
            let (expected, closes) = expected_answer(exchange);
            let mut answer = vec![0; expected.len()];
            let read = read_all(&mut stream, &mut answer);
            prop_assert_eq!(text(&answer[..read]), text(&expected));
            let forwarded = self.seen.recv_timeout(PATIENCE).unwrap();
            let expected = expected_request(&exchange.request, host);
            prop_assert_eq!(text(&forwarded), text(&expected));
            if closes {
                prop_assert_eq!(read_all(&mut stream, &mut [0]), 0, "it ends");
            }
        }
        prop_assert!(self.seen.try_recv().is_err(), "nothing else was forwarded");
        Ok(())
    }
}

fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(addr(url)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads until it is full or the connection ends.
fn read_all(stream: &mut TcpStream, into: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < into.len() {
        match stream.read(&mut into[filled..]) {
            Ok(read @ 1..) => filled += read,
            _ => break,
        }
    }
    filled
}

/// Readable in a failure, and different for different bytes.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn what_arrives_is_what_was_sent_but_for_the_documented_changes() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::set(dir.path());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    let cuts = || vec(any::<prop::sample::Index>(), 0..6);
    let cases = (vec(exchange(), 1..5), cuts(), cuts());
    let sent = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&cases, |(mut exchanges, up, down)| {
            // Nothing follows an answer that ends the connection.
            let ends = |one: &Exchange| expected_answer(one).1;
            if let Some(last) = exchanges.iter().position(ends) {
                exchanges.truncate(last + 1);
            }
            sent.set(sent.get() + exchanges.len());
            stage.check(&exchanges, &up, &down)
        })
        .unwrap();
    assert!(sent.get() > CASES as usize, "some came after another");
    let (status, log) = stage.recorder.terminate();
    assert!(status.success(), "{log}");
}

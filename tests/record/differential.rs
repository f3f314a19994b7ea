//! Generated exchanges, sent directly and through the recorder, in pieces cut at random: what arrives is the same to the byte,
//! but for what docs/http.md says changes. The changes are written here again, from that page, in a few lines of their own.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use super::support::Server;
use super::support::http::{addr, upstream};

/// Cases; each is up to four exchanges on one connection.
const CASES: u32 = 2_000;
/// Far over what an exchange takes; a hang is then a short one.
const PATIENCE: Duration = Duration::from_secs(10);

type Line = (String, Vec<u8>);

#[derive(Debug, Clone)]
enum Body {
    None,
    Length(Vec<u8>),
    /// The chunks as they are written, extensions, last chunk and trailers included.
    Chunked(Vec<u8>),
    /// An answer's, until the connection ends.
    Rest(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Message {
    first: String,
    lines: Vec<Line>,
    body: Body,
}

#[derive(Debug, Clone)]
struct Exchange {
    request: Message,
    interim: bool,
    answer: Message,
}

impl Message {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.first).into_bytes();
        for (name, value) in &self.lines {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b':');
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        if let Body::Length(body) | Body::Chunked(body) | Body::Rest(body) = &self.body {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn connection_says(&self, word: &str) -> bool {
        self.lines
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
            .any(|(_, value)| list(value).any(|member| member == word))
    }
}

/// The lower-cased members of a list.
fn list(value: &[u8]) -> impl Iterator<Item = String> {
    let value = String::from_utf8_lossy(value).to_lowercase();
    let members: Vec<_> = value.split(',').map(|one| one.trim().to_owned()).collect();
    members.into_iter()
}

/// docs/http.md, "Relayed": what is left of the fields for the next hop.
fn beyond_the_hop(message: &Message, upgrades: bool) -> Vec<Line> {
    let is = |name: &str, of: &[&str]| of.iter().any(|one| name.eq_ignore_ascii_case(one));
    let stays = |(name, _): &&Line| {
        if is(name, &["upgrade"]) {
            return upgrades;
        }
        let hop = is(
            name,
            &[
                "connection",
                "keep-alive",
                "proxy-connection",
                "http2-settings",
                "te",
            ],
        );
        let needed = is(
            name,
            &["host", "content-length", "transfer-encoding", "trailer"],
        );
        !hop && (needed || !message.connection_says(&name.to_lowercase()))
    };
    let mut lines: Vec<_> = message.lines.iter().filter(stays).cloned().collect();
    let mut te = message.lines.iter().filter(|(name, _)| is(name, &["te"]));
    if te.any(|(_, value)| list(value).any(|one| one == "trailers")) {
        lines.push(("TE".into(), b" trailers".to_vec()));
    }
    if upgrades {
        lines.push(("Connection".into(), b" Upgrade".to_vec()));
    }
    lines
}

fn expected_request(request: &Message, upstream: &str) -> Vec<u8> {
    let old = request.first.ends_with("1.0");
    let asks = request.lines.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("upgrade") && list(value).any(|one| one != "h2c")
    });
    let upgrades = !old && asks && request.connection_says("upgrade");
    let mut lines = beyond_the_hop(request, upgrades);
    let parts: Vec<_> = request.first.split(' ').collect();
    let mut target = parts[1];
    let is_host = |(name, _): &Line| name.eq_ignore_ascii_case("host");
    if let Some(below) = target.strip_prefix("http://") {
        let (host, _) = below.split_once('/').unwrap();
        target = &below[host.len()..];
        lines.retain(|line| !is_host(line));
        lines.insert(0, ("Host".into(), format!(" {host}").into_bytes()));
    } else if !lines.iter().any(is_host) {
        lines.push(("Host".into(), format!(" {upstream}").into_bytes()));
    }
    let first = format!("{} {target} HTTP/1.1", parts[0]);
    let body = request.body.clone();
    Message { first, lines, body }.bytes()
}

/// The answer as the client must see it, and whether its connection ends then.
fn expected_answer(exchange: &Exchange) -> (Vec<u8>, bool) {
    let (request, answer) = (&exchange.request, &exchange.answer);
    let old = request.first.ends_with("1.0");
    let bodiless = bodiless(exchange);
    let mut lines = beyond_the_hop(answer, false);
    let mut body = answer.body.clone();
    let mut closes = request.connection_says("close")
        || old && !request.connection_says("keep-alive")
        || !bodiless && matches!(body, Body::Rest(_));
    if let (true, Body::Chunked(chunks)) = (old, &body) {
        lines.retain(|(name, _)| {
            !name.eq_ignore_ascii_case("transfer-encoding") && !name.eq_ignore_ascii_case("trailer")
        });
        closes |= !bodiless;
        body = Body::Rest(dechunked(chunks));
    }
    if closes {
        lines.push(("Connection".into(), b" close".to_vec()));
    } else if old {
        lines.push(("Connection".into(), b" keep-alive".to_vec()));
    }
    if bodiless {
        body = Body::None;
    }
    let version = if old { "HTTP/1.0" } else { "HTTP/1.1" };
    let first = format!("{version}{}", &answer.first[8..]);
    let mut bytes = Message { first, lines, body }.bytes();
    if exchange.interim && !old {
        bytes.splice(0..0, INTERIM.iter().copied());
    }
    (bytes, closes)
}

const INTERIM: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

fn bodiless(exchange: &Exchange) -> bool {
    let status = &exchange.answer.first[9..12];
    exchange.request.first.starts_with("HEAD ") || status == "204" || status == "304"
}

/// What the upstream writes.
fn written_answer(exchange: &Exchange) -> Vec<u8> {
    let mut answer = exchange.answer.clone();
    if bodiless(exchange) {
        answer.body = Body::None;
    }
    let mut bytes = answer.bytes();
    if exchange.interim {
        bytes.splice(0..0, INTERIM.iter().copied());
    }
    bytes
}

fn dechunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let end = memchr::memmem::find(chunks, b"\r\n").unwrap();
        let line = String::from_utf8_lossy(&chunks[..end]).into_owned();
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 4 + size..];
    }
}

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

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => 0x20..0x7f_u8, 1 => Just(b'\t'), 1 => 0x80..=0xff_u8];
    vec(byte, 0..40)
}

fn plain_line() -> impl Strategy<Value = Line> {
    let name = prop_oneof![
        "[Xx]-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}",
        prop::sample::select(vec![
            "Accept",
            "cookie",
            "Set-Cookie",
            "AUTHORIZATION",
            "Content-Type",
            "Content-Encoding",
            "Via",
            "X-Forwarded-For",
            "traceparent",
            "Trailer",
            "X-One",
        ])
        .prop_map(String::from),
    ];
    (name, value())
}

fn hop_line() -> impl Strategy<Value = Line> {
    prop::sample::select(vec![
        ("Connection", " keep-alive"),
        ("connection", "Keep-Alive, X-One"),
        ("Connection", " cookie,,Host , content-length"),
        ("CONNECTION", " Transfer-Encoding, Trailer, te"),
        ("Connection", " close"),
        ("Keep-Alive", " timeout=5"),
        ("Proxy-Connection", " keep-alive"),
        ("HTTP2-Settings", " AAMAAABkAAQAAP__"),
        ("Upgrade", " h2c"),
    ])
    .prop_map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
}

fn request_hop_line() -> impl Strategy<Value = Line> {
    let own = prop::sample::select(vec![
        ("TE", " trailers"),
        ("te", "gzip;q=0.5, Trailers"),
        ("TE", " deflate"),
        ("Upgrade", " websocket"),
        ("Connection", " upgrade"),
    ])
    .prop_map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    prop_oneof![hop_line(), own]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..64),
        1 => vec(any::<u8>(), 3000..9000),
        1 => Just(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n".to_vec()),
    ]
}

fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let extension = prop::sample::select(vec!["", ";a", ";a=\"b, c\"", ";; x =\ty"]);
    let chunk = (data(), 0..3_usize, any::<bool>(), extension);
    let trailers = vec(("X-[a-z]{1,8}", value()), 0..3);
    (vec(chunk, 0..5), trailers, "0{1,4}").prop_map(|(chunks, trailers, last)| {
        let mut bytes = Vec::new();
        for (data, zeros, upper, extension) in chunks {
            if data.is_empty() {
                continue;
            }
            let zeros = "0".repeat(zeros);
            let size = format!("{:x}", data.len());
            let size = if upper { size.to_uppercase() } else { size };
            bytes.extend_from_slice(format!("{zeros}{size}{extension}\r\n").as_bytes());
            bytes.extend_from_slice(&data);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("{last}\r\n").as_bytes());
        for (name, value) in trailers {
            bytes.extend_from_slice(format!("{name}: ").as_bytes());
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    })
}

fn body(rest: u32) -> impl Strategy<Value = Body> {
    prop_oneof![
        2 => Just(Body::None),
        3 => data().prop_map(Body::Length),
        3 => chunks().prop_map(Body::Chunked),
        rest => data().prop_map(Body::Rest),
    ]
}

/// Puts lines and framing in an order of their own.
fn with_framing(mut lines: Vec<Line>, body: &Body, at: prop::sample::Index) -> Vec<Line> {
    let framing = match body {
        Body::Length(body) => ("content-LENGTH", format!(" {}", body.len())),
        Body::Chunked(_) => ("Transfer-Encoding", "\tChunked ".to_owned()),
        Body::None | Body::Rest(_) => return lines,
    };
    let at = at.index(lines.len() + 1);
    lines.insert(at, (framing.0.into(), framing.1.into_bytes()));
    lines
}

fn request() -> impl Strategy<Value = Message> {
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "PUT", "DELETE", "M-SEARCH!"]);
    let target = prop_oneof![
        4 => "/[!$-/:;=?-Z_a-z~0-9%\\[\\]|{}^`\"<>]{0,30}",
        1 => "http://[a-z]{1,6}(:8[0-9])?/[a-z?=&/.%]{0,20}",
    ];
    let lines = vec(
        prop_oneof![4 => plain_line(), 1 => request_hop_line()],
        0..7,
    );
    let host = prop::sample::select(vec!["model.test:8000", "[::1]:80", "", "a"]);
    let old = prop::bool::weighted(0.15);
    let places = any::<(prop::sample::Index, prop::sample::Index)>();
    (method, target, lines, host, old, body(0), places).prop_map(
        |(method, target, mut lines, host, old, mut body, places)| {
            if !old || !host.is_empty() {
                let at = places.0.index(lines.len() + 1);
                lines.insert(at, ("hOst".into(), host.as_bytes().to_vec()));
            }
            if old && matches!(body, Body::Chunked(_)) {
                body = Body::None;
            }
            let version = if old { "1.0" } else { "1.1" };
            Message {
                first: format!("{method} {target} HTTP/{version}"),
                lines: with_framing(lines, &body, places.1),
                body,
            }
        },
    )
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let status = prop_oneof![
        6 => Just("200 OK"),
        1 => prop::sample::select(vec!["204 ", "304 Not Modified", "299", "599 \u{e4}  b", "418 I'm a teapot"]),
    ];
    let lines = vec(prop_oneof![5 => plain_line(), 1 => hop_line()], 0..7);
    let interim = prop::bool::weighted(0.2);
    let answer = (status, lines, body(1), any::<prop::sample::Index>());
    (request(), answer, interim).prop_map(|(request, (status, lines, body, at), interim)| {
        // An answer without a length has no end but its connection's.
        let body = match body {
            Body::None if !matches!(status, "204 " | "304 Not Modified") => {
                Body::Length(Vec::new())
            }
            Body::Rest(_) if matches!(status, "204 " | "304 Not Modified") => Body::None,
            other => other,
        };
        let answer = Message {
            first: format!("HTTP/1.1 {status}"),
            lines: with_framing(lines, &body, at),
            body,
        };
        Exchange {
            request,
            interim,
            answer,
        }
    })
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

//! A fast server for measuring load generators: it answers without thinking and keeps the truth about when it did.
//! `benches/replay/run` starts it and measures generators against it.
//!
//! replay_upstream PORT
//!
//! The first part of a request's path says how an answer to `"stream":true` comes; without it, it is plain JSON.
//!
//! /events  one write for each event
//! /burst   all events in one write
//! /paced   the first event after 20 to 120 ms, then one every 10 ms
//! /held    the first event after 20 to 120 ms, then one every 10 s
//!
//! There are as many events as `max_tokens` asks for. `GET /truth` gives a JSON array of what was answered since the last time,
//! four numbers each, in microseconds of one clock: when the request was whole, when its first and its last event were written,
//! and the number of events. Whole is a request when the system has its last packet: how long it lies there until a busy server comes
//! round to it is felt by whoever waits for the answer. Requests marked as probes are answered and not told.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IoSliceMut};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use memchr::memmem;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

fn main() {
    let port = std::env::args()
        .skip(1)
        .find(|arg| arg != "--bench")
        .map(|port| port.parse().unwrap());
    let Some(port) = port else {
        // `cargo bench` runs every benchmark without arguments; this one needs a script around it.
        println!("run benches/replay/run");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, serve(port));
}

const FIRST_TOKEN: Duration = Duration::from_millis(20);
const TOKEN: Duration = Duration::from_millis(10);
const HELD: Duration = Duration::from_secs(10);
/// How much longer than `FIRST_TOKEN` the wait for the first token may be.
const SPREAD_MS: u64 = 100;
const EVENTS_IF_UNASKED: usize = 100;

/// Room for as many that connect at once as a busy server's has: by default it is 128, and the next one waits a second.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(4096)
}

async fn serve(port: u16) {
    let listener = listen(port).unwrap();
    let server = Rc::new(Server {
        began: Instant::now(),
        truth: RefCell::default(),
        paced: Cell::default(),
        bursts: RefCell::default(),
    });
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        setsockopt(&stream, sockopt::ReceiveTimestampns, &true).unwrap();
        let server = Rc::clone(&server);
        tokio::task::spawn_local(async move {
            // A client may leave at any time.
            let _ = server.converse(stream).await;
        });
    }
}

struct Server {
    began: Instant,
    truth: RefCell<Vec<Told>>,
    /// Paced answers since the truth was last told.
    paced: Cell<u64>,
    /// Whole answers by their number of events.
    bursts: RefCell<HashMap<usize, Rc<[u8]>>>,
}

struct Told {
    whole_us: u128,
    first_us: u128,
    last_us: u128,
    events: usize,
}

impl Server {
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(16 << 10);
        while let Some(asked) = read_request(&mut stream, &mut buffer).await? {
            let whole_us = self.us_at(asked.whole);
            match (asked.post, asked.stream, asked.manner) {
                (false, ..) => {
                    stream.write_all(&self.other(&asked)).await?;
                    continue;
                }
                (true, false, _) => {
                    let first_us = self.now_us();
                    stream.write_all(plain(&asked).as_bytes()).await?;
                    self.tell(&asked, whole_us, first_us, first_us);
                }
                (true, true, b'b') => {
                    let burst = self.burst(&asked);
                    let first_us = self.now_us();
                    stream.write_all(&burst).await?;
                    self.tell(&asked, whole_us, first_us, first_us);
                }
                (true, true, manner) => {
                    stream.write_all(HEAD.as_bytes()).await?;
                    let mut due = tokio::time::Instant::now();
                    let gap = match manner {
                        b'p' => Some(TOKEN),
                        b'h' => Some(HELD),
                        _ => None,
                    };
                    if gap.is_some() {
                        due += FIRST_TOKEN + self.spread();
                    }
                    let (mut first_us, mut last_us) = (0, 0);
                    for event in 0..asked.events {
                        if let Some(gap) = gap {
                            tokio::time::sleep_until(due).await;
                            due += gap;
                        } else {
                            // The others' requests are read in between, as by a server that thinks.
                            tokio::task::yield_now().await;
                        }
                        last_us = self.now_us();
                        if event == 0 {
                            first_us = last_us;
                        }
                        stream.write_all(EVENT.as_bytes()).await?;
                    }
                    stream.write_all(end(&asked).as_bytes()).await?;
                    self.tell(&asked, whole_us, first_us, last_us);
                }
            }
        }
        Ok(())
    }

    fn now_us(&self) -> u128 {
        self.us_at(Instant::now())
    }

    fn us_at(&self, moment: Instant) -> u128 {
        moment.saturating_duration_since(self.began).as_micros()
    }

    /// Differs from request to request, the same in every run.
    fn spread(&self) -> Duration {
        let number = self.paced.get();
        self.paced.set(number + 1);
        Duration::from_millis((number.wrapping_mul(0x9E37_79B9) >> 7) % SPREAD_MS)
    }

    fn burst(&self, asked: &Asked) -> Rc<[u8]> {
        let mut bursts = self.bursts.borrow_mut();
        let burst = bursts.entry(asked.events).or_insert_with(|| {
            let whole = [HEAD, &EVENT.repeat(asked.events), &end(asked)].concat();
            whole.into_bytes().into()
        });
        Rc::clone(burst)
    }

    fn tell(&self, asked: &Asked, whole_us: u128, first_us: u128, last_us: u128) {
        if !asked.probe {
            self.truth.borrow_mut().push(Told {
                whole_us,
                first_us,
                last_us,
                events: asked.events,
            });
        }
    }

    fn other(&self, asked: &Asked) -> Vec<u8> {
        let body = if asked.truth {
            self.paced.set(0);
            let rows: Vec<String> = std::mem::take(&mut *self.truth.borrow_mut())
                .iter()
                .map(|told| {
                    format!(
                        "[{},{},{},{}]",
                        told.whole_us, told.first_us, told.last_us, told.events
                    )
                })
                .collect();
            format!("[{}]", rows.join(","))
        } else {
            r#"{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"bench"}]}"#.to_owned()
        };
        json(&body).into_bytes()
    }
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// A chunk with an event of the size that vLLM's have.
const EVENT: &str = concat!(
    "b5\r\n",
    r#"data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}"#,
    "\n\n\r\n"
);

/// What ends a stream: the reason, the usage, the mark.
fn end(asked: &Asked) -> String {
    let (prompt, events) = (asked.prompt_tokens, asked.events);
    let start = r#"data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":["#;
    let mut text = format!(r#"{start}{{"index":0,"delta":{{}},"finish_reason":"length"}}]}}"#);
    let _ = write!(
        text,
        "\n\n{start}],{}}}\n\ndata: [DONE]\n\n",
        usage(prompt, events)
    );
    format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
}

fn plain(asked: &Asked) -> String {
    let (prompt, events) = (asked.prompt_tokens, asked.events);
    json(&format!(
        r#"{{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1700000000,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"length"}}],{}}}"#,
        " word".repeat(events),
        usage(prompt, events)
    ))
}

fn usage(prompt: usize, output: usize) -> String {
    let total = prompt + output;
    format!(
        r#""usage":{{"prompt_tokens":{prompt},"completion_tokens":{output},"total_tokens":{total}}}"#
    )
}

fn json(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct Asked {
    post: bool,
    /// The path's first letter.
    manner: u8,
    truth: bool,
    probe: bool,
    stream: bool,
    events: usize,
    prompt_tokens: usize,
    whole: Instant,
}

/// `None` when the client has left.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let mut came = Instant::now();
    loop {
        if let Some(end) = memmem::find(buffer, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]);
            let length = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
            let whole = end + 4 + length;
            if buffer.len() >= whole {
                let body = &buffer[end + 4..whole];
                let path = head.split(' ').nth(1).unwrap_or("/");
                let asked = Asked {
                    post: head.starts_with("POST"),
                    manner: path.as_bytes().get(1).copied().unwrap_or(b'/'),
                    truth: path == "/truth",
                    probe: header(&head, "x-reenact-probe").is_some(),
                    stream: number_or_word(body, b"\"stream\"").starts_with(b"true"),
                    events: [&b"\"max_tokens\""[..], b"\"max_completion_tokens\""]
                        .iter()
                        .find_map(|key| digits(number_or_word(body, key)))
                        .unwrap_or(EVENTS_IF_UNASKED),
                    prompt_tokens: 1 + memchr::memchr_iter(b' ', body).count(),
                    whole: came,
                };
                buffer.drain(..whole);
                return Ok(Some(asked));
            }
        }
        let had = buffer.len();
        buffer.resize(had + (16 << 10), 0);
        let (bytes, lay) = read(stream, &mut buffer[had..]).await?;
        if bytes == 0 {
            return Ok(None);
        }
        buffer.truncate(had + bytes);
        let now = Instant::now();
        came = now.checked_sub(lay).unwrap_or(now);
    }
}

/// One read, and how long the last packet of what it brought lay with the system.
async fn read(stream: &TcpStream, into: &mut [u8]) -> io::Result<(usize, Duration)> {
    let receive = || {
        let mut into = [IoSliceMut::new(into)];
        let mut control = nix::cmsg_space!(TimeSpec);
        let (fd, flags) = (stream.as_raw_fd(), MsgFlags::empty());
        let read = recvmsg::<SockaddrStorage>(fd, &mut into, Some(&mut control), flags)?;
        let stamp = read.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        });
        Ok((read.bytes, stamp))
    };
    let (bytes, stamp) = stream.async_io(Interest::READABLE, receive).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let lay = stamp.and_then(|stamp| now.ok()?.checked_sub(stamp));
    Ok((bytes, lay.unwrap_or_default()))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What follows a key of JSON, whatever it is.
fn number_or_word<'a>(body: &'a [u8], key: &[u8]) -> &'a [u8] {
    let Some(at) = memmem::find(body, key) else {
        return b"";
    };
    let rest = &body[at + key.len()..];
    let start = rest
        .iter()
        .position(|byte| !matches!(byte, b':' | b' '))
        .unwrap_or(rest.len());
    &rest[start..]
}

fn digits(text: &[u8]) -> Option<usize> {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

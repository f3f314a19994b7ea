//! The two ends of the proxy benchmark: a fast upstream that answers without thinking, and a load on keep-alive connections.
//! `benches/proxy/run` starts them and measures the proxy between them.
//!
//! proxy_load upstream PORT
//! proxy_load closed PORT PATH CONNECTIONS SECONDS
//! proxy_load paced PORT PATH CONNECTIONS SECONDS RATE
//! proxy_load streams PORT /timed STREAMS SECONDS
//! proxy_load hold PORT /quiet STREAMS SECONDS
//!
//! A load prints one JSON line: requests (or events), seconds, and latency quantiles in microseconds: paced, from the intended
//! instant; streams, from the upstream's write of an event to its arrival. `hold` prints a line when all streams are open.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let Some(mode) = args.first() else {
        // `cargo bench` runs every benchmark without arguments; this one needs a script around it.
        println!("run benches/proxy/run");
        return;
    };
    let number = |at: usize| args[at].parse::<f64>().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match mode.as_str() {
        "upstream" => runtime.block_on(upstream(number(1) as u16)),
        "closed" => runtime.block_on(load(
            number(1) as u16,
            &args[2],
            number(3) as u64,
            number(4),
            None,
        )),
        "paced" => runtime.block_on(load(
            number(1) as u16,
            &args[2],
            number(3) as u64,
            number(4),
            Some(number(5)),
        )),
        "streams" => runtime.block_on(streams(
            number(1) as u16,
            &args[2],
            number(3) as usize,
            number(4),
        )),
        "hold" => runtime.block_on(hold(
            number(1) as u16,
            &args[2],
            number(3) as usize,
            number(4),
        )),
        other => panic!("no mode {other}"),
    }
}

const EVENTS: usize = 100;

async fn upstream(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(1024 - 11));
    let json = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let event = format!(
        "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"finish_reason\":null}}]}}\n\n",
        " word"
    );
    let event = format!("{:x}\r\n{event}\r\n", event.len());
    let burst = [head, &event.repeat(EVENTS), "0\r\n\r\n"].concat();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (json, event, burst) = (json.clone(), event.clone(), burst.clone());
        tokio::spawn(async move {
            let mut buffer = Vec::with_capacity(16 << 10);
            while let Some(path) = read_request(&mut stream, &mut buffer).await {
                let sent = match path {
                    b's' => {
                        let mut sent = stream.write_all(head.as_bytes()).await;
                        for _ in 0..EVENTS {
                            sent = sent.and(stream.write_all(event.as_bytes()).await);
                            tokio::task::yield_now().await;
                        }
                        sent.and(stream.write_all(b"0\r\n\r\n").await)
                    }
                    b'b' => stream.write_all(burst.as_bytes()).await,
                    b't' => timed(&mut stream, head).await,
                    b'q' => {
                        let sent = stream.write_all(head.as_bytes()).await;
                        let _ = stream.read_u8().await; // until the client leaves
                        sent
                    }
                    _ => stream.write_all(json.as_bytes()).await,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
    }
}

/// A hundred events a second that tell when they were written, until the client leaves.
async fn timed(stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    let mut tick = tokio::time::interval(EVENT_GAP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Streams that tick together would be written in one burst.
    tokio::time::sleep(EVENT_GAP.mul_f64(f64::from(now_us() as u32 % 1000) / 1000.0)).await;
    loop {
        tick.tick().await;
        let event = format!("data: {:020}\n\n", now_us());
        stream
            .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .await?;
    }
}

const EVENT_GAP: Duration = Duration::from_millis(10);

fn now_us() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_micros() as u64
}

async fn open(port: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!(
        "POST {path}/v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{{\"stream\":true}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn streams(port: u16, path: &str, count: usize, seconds: f64) {
    let ends = Instant::now() + Duration::from_secs_f64(seconds);
    let mut tasks = Vec::new();
    for _ in 0..count {
        let mut stream = open(port, path).await;
        tasks.push(tokio::spawn(async move {
            let mut latency = Histogram::<u64>::new(3).unwrap();
            let mut buffer = Vec::with_capacity(4096);
            while Instant::now() < ends {
                assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0);
                let now = now_us();
                let mut from = 0;
                while let Some(at) = memchr::memmem::find(&buffer[from..], b"data: ") {
                    let Some(stamp) = buffer.get(from + at + 6..from + at + 26) else {
                        break;
                    };
                    let stamp: u64 = std::str::from_utf8(stamp).unwrap().parse().unwrap();
                    latency.record(now.saturating_sub(stamp)).unwrap();
                    from += at + 26;
                }
                buffer.drain(..from);
            }
            latency
        }));
    }
    let mut latency = Histogram::<u64>::new(3).unwrap();
    for task in tasks {
        latency.add(task.await.unwrap()).unwrap();
    }
    report(&latency, seconds);
}

async fn hold(port: u16, path: &str, count: usize, seconds: f64) {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = open(port, path).await;
        assert_ne!(stream.read_u8().await.unwrap(), 0);
        held.push(stream);
    }
    println!("{{\"open\":{count}}}");
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// The first letter of the request's path, once the request is whole.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<u8> {
    loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..end]).ok()?;
            let path = head.split(' ').nth(1)?.as_bytes().get(1).copied()?;
            let length = header(head, "content-length").unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                buffer.drain(..end + 4 + length);
                return Some(path);
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn header(head: &str, name: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().parse().ok())?
    })
}

async fn load(port: u16, path: &str, connections: u64, seconds: f64, rate: Option<f64>) {
    let prompt = "word ".repeat((4096 - 90) / 5);
    let body = format!(
        "{{\"model\":\"m\",\"stream\":true,\"max_tokens\":100,\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}"
    );
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nauthorization: Bearer x\r\naccept: */*\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let began = Instant::now() + Duration::from_millis(200);
    let ends = began + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = (0..connections)
        .map(|index| {
            let request = request.clone();
            let gap = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut latency = Histogram::<u64>::new(3).unwrap();
                let mut buffer = Vec::with_capacity(64 << 10);
                let mut intended = began
                    + gap
                        .unwrap_or_default()
                        .mul_f64(index as f64 / connections as f64);
                while intended < ends {
                    tokio::time::sleep_until(intended.into()).await;
                    let start = if gap.is_some() {
                        intended
                    } else {
                        Instant::now()
                    };
                    stream.write_all(request.as_bytes()).await.unwrap();
                    read_answer(&mut stream, &mut buffer).await;
                    latency.record(start.elapsed().as_micros() as u64).unwrap();
                    intended = gap.map_or_else(Instant::now, |gap| intended + gap);
                }
                latency
            })
        })
        .collect();
    let mut latency = Histogram::<u64>::new(3).unwrap();
    for task in tasks {
        latency.add(task.await.unwrap()).unwrap();
    }
    report(&latency, seconds);
}

fn report(latency: &Histogram<u64>, seconds: f64) {
    println!(
        "{{\"requests\":{},\"seconds\":{seconds},\"p50_us\":{},\"p99_us\":{}}}",
        latency.len(),
        latency.value_at_quantile(0.5),
        latency.value_at_quantile(0.99)
    );
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    let mut whole = None;
    loop {
        assert_ne!(
            stream.read_buf(buffer).await.unwrap(),
            0,
            "the proxy closed the connection"
        );
        if whole.is_none()
            && let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n")
        {
            let head = std::str::from_utf8(&buffer[..end]).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            whole = Some(header(head, "content-length").map(|length| end + 4 + length));
        }
        match whole {
            Some(Some(length)) if buffer.len() >= length => return,
            Some(None) if buffer.ends_with(b"0\r\n\r\n") => return,
            _ => {}
        }
    }
}

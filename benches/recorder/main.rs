//! What recording costs the recorder's own threads: processor time for each MiB of prompt and for each event of a stream.
//!
//! `cargo bench --bench recorder [ROUNDS]` prints Markdown tables; medians of (5) rounds. The first table is the reading
//! alone, by texture of the prompt: `\n` and `\"` are frequent in code, and text with escapes must be written out to be
//! hashed. The second is the observer's and the writer's thread of a whole recorder with real sockets around it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(clippy::cast_precision_loss)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use reenact::anonymise::{Anonymiser, ChainKey, Policy, Sighting};
use reenact::dialect::{ResponseHead, ResponseObserver, observe_request};
use reenact::record::{Options, Recorder, TraceOptions};
use reenact::shape::{Endpoint, Exchange, Method, TraceTime};

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: usize = 1 << 20;

fn main() {
    let rounds = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(5);
    reading(rounds);
    recording(rounds);
}

/// Bodies of about a MiB of prompt.
fn prompts() -> [(&'static str, Endpoint, String); 5] {
    let english = "The quick brown fox jumps over the lazy dog while the band plays on and on. ";
    let code =
        "    if value == \"none\" {\n        return Err(Error::new(\"empty\", line));\n    }\n";
    let chinese = "敏捷的棕色狐狸跳过了懒惰的狗，乐队继续演奏，直到夜深人静。";
    let message = |text: &str| {
        let text = serde_json::to_string(&text.repeat(MIB / text.len())).unwrap();
        format!(
            "{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":{text}}}],\"max_tokens\":64}}"
        )
    };
    let turns = |text: &str| {
        let text = serde_json::to_string(&text.repeat(1024 / text.len())).unwrap();
        let turn = format!("{{\"role\":\"user\",\"content\":{text}}}");
        format!(
            "{{\"model\":\"m\",\"messages\":[{}]}}",
            vec![turn; 1024].join(",")
        )
    };
    [
        (
            "English, one message",
            Endpoint::ChatCompletions,
            message(english),
        ),
        (
            "English, 1,024 messages",
            Endpoint::ChatCompletions,
            turns(english),
        ),
        (
            "code (an escape every 20 bytes)",
            Endpoint::ChatCompletions,
            message(code),
        ),
        ("Chinese", Endpoint::ChatCompletions, message(chinese)),
        ("code, Anthropic", Endpoint::Messages, message(code)),
    ]
}

fn reading(rounds: usize) {
    println!("| reading a body | CPU ms per MiB | of it numbering blocks |\n|---|---|---|");
    let key = ChainKey::from_bytes([7; 16]);
    for (name, endpoint, body) in prompts() {
        let mib = body.len() as f64 / MIB as f64;
        let mut gate = Anonymiser::new(Policy::default(), 64 << 20).unwrap();
        let (mut read, mut numbered) = (Vec::new(), Vec::new());
        for _ in 0..rounds * 20 {
            let begun = thread_cpu();
            let sight = observe_request(endpoint, body.as_bytes(), &key).unwrap();
            let seen = thread_cpu();
            let recordable = gate.admit(Sighting {
                model: sight.model,
                chain: sight.prompt.chain,
                turns: sight.prompt.turns,
                ..Sighting::of(exchange())
            });
            let done = thread_cpu();
            assert!(recordable.exchange().request.blocks.len() > MIB / 100);
            read.push((done - begun).as_secs_f64() * 1e3 / mib);
            numbered.push((done - seen).as_secs_f64() * 1e3 / mib);
        }
        println!("| {name} | {:.2} | {:.2} |", median(read), median(numbered));
    }
    println!();
    let event = EVENT.as_bytes();
    let mut costs = Vec::new();
    for _ in 0..rounds {
        let head = ResponseHead {
            status: 200,
            content_type: Some("text/event-stream"),
            content_encoding: None,
        };
        let mut observer = ResponseObserver::new(Endpoint::ChatCompletions, head, false);
        let begun = thread_cpu();
        for at_us in 0..EVENTS {
            observer.data(at_us * 9000, event);
        }
        costs.push((thread_cpu() - begun).as_secs_f64() * 1e9 / EVENTS as f64);
        assert_eq!(u64::from(observer.finish().token_events), EVENTS);
    }
    println!(
        "Reading an event of {} bytes: {:.0} ns.\n",
        event.len(),
        median(costs)
    );
}

/// As vLLM writes them.
const EVENT: &str = "data: {\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\
    \"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
const EVENTS: u64 = 100_000;

fn exchange() -> Exchange {
    Exchange::bare(
        TraceTime::default(),
        Endpoint::ChatCompletions,
        Method::Post,
    )
}

/// A whole recorder: its threads' processor time, as the scheduler counts it.
fn recording(rounds: usize) {
    println!("| a whole recorder | observer | writer |\n|---|---|---|");
    let few = 20;
    for (name, _, body) in prompts().into_iter().take(4) {
        let mib = body.len() as f64 / MIB as f64 * f64::from(few);
        let request = post(&body);
        let spent = measured(rounds, || drive(&request, OK, few));
        println!(
            "| {name}: CPU ms per MiB | {:.2} | {:.2} |",
            spent.0 * 1e3 / mib,
            spent.1 * 1e3 / mib
        );
    }
    let request = post(
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
    );
    let events = 1000;
    let mut answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_owned();
    for _ in 0..events {
        answer += &format!("{:x}\r\n{EVENT}\r\n", EVENT.len());
    }
    answer += "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    let spent = measured(rounds, || drive(&request, &answer, 100));
    let each = 1e6 / f64::from(events * 100);
    println!(
        "| an event: CPU µs | {:.2} | {:.2} |",
        spent.0 * each,
        spent.1 * each
    );
    let spent = measured(rounds, || drive(&post("{\"messages\":[]}"), OK, 5000));
    println!(
        "| a small exchange: CPU µs | {:.2} | {:.2} |\n",
        spent.0 * 1e6 / 5000.0,
        spent.1 * 1e6 / 5000.0
    );
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"choices\":[]}";

fn post(body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: b\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Medians of the seconds that the observer and the writer spend.
fn measured(rounds: usize, once: impl Fn() -> (f64, f64)) -> (f64, f64) {
    let spent: Vec<_> = (0..rounds).map(|_| once()).collect();
    let of = |pick: fn(&(f64, f64)) -> f64| median(spent.iter().map(pick).collect());
    (of(|spent| spent.0), of(|spent| spent.1))
}

/// Sends a request so many times through a recorder of its own.
fn drive(request: &str, answer: &str, times: u32) -> (f64, f64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(&options(&upstream, dir.path())).unwrap();
    let mut client = TcpStream::connect(recorder.listening()[0]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().unwrap().0;
            let mut sink = vec![0; 1 << 20];
            for _ in 0..times {
                let mut got = 0;
                while got < request.len() {
                    got += stream.read(&mut sink).unwrap();
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut sink = vec![0; 1 << 20];
        for _ in 0..times {
            client.write_all(request.as_bytes()).unwrap();
            let end: &[u8] = if answer.contains("chunked") {
                b"0\r\n\r\n"
            } else {
                b"}"
            };
            loop {
                let read = client.read(&mut sink).unwrap();
                assert!(read > 0);
                if sink[..read].ends_with(end) {
                    break;
                }
            }
        }
    });
    drop(client);
    let mut spent = (0.0, 0.0);
    // All is on the disk, so both threads have done what there was to do.
    while recorder.summary().recorded < u64::from(times) {
        std::thread::sleep(Duration::from_millis(20));
    }
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let seconds = || {
            let stat = std::fs::read_to_string(path.join("schedstat")).unwrap();
            stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
        };
        match std::fs::read_to_string(path.join("comm")).unwrap().trim() {
            "reenact-observe" => spent.0 = seconds(),
            "reenact-write" => spent.1 = seconds(),
            _ => {}
        }
    }
    recorder.drain();
    spent
}

fn options(upstream: &str, dir: &std::path::Path) -> Options {
    Options {
        trace: Some(TraceOptions {
            rotate_bytes: 1 << 40,
            ..TraceOptions::in_dir(dir.to_owned(), "bench")
        }),
        drain_timeout: Duration::from_secs(5),
        ..Options::in_front_of(upstream.parse().unwrap())
    }
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap(),
        u32::try_from(now.tv_nsec).unwrap(),
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

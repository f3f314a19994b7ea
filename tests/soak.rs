//! The recorder for half an hour under thousands of streams, with clients that leave and an upstream that fails at random:
//! memory and descriptors stay flat, every whole answer is right to the byte, every exchange is accounted for.
//!
//! `cargo test --release --test soak -- --ignored --nocapture`; `REENACT_SOAK_SECONDS` (1800) and `REENACT_SOAK_STREAMS`
//! (2000) make it shorter or smaller. `target/soak.csv` has a row for each second.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss
)]

mod support;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use reenact::trace::Trace;
use support::Server;
use support::wire::{get, metric};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[test]
#[ignore = "takes half an hour"]
fn half_an_hour_of_everything_leaves_no_trace_but_the_trace() {
    let seconds = number("REENACT_SOAK_SECONDS", 1800);
    let streams = number("REENACT_SOAK_STREAMS", 2000);
    let upstream = upstream();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Server::recorder(
        &upstream,
        dir.path(),
        &[
            "--capture-memory",
            "64MiB",
            "--first-byte-timeout",
            "3s",
            "--idle-timeout",
            "3s",
            "--rotate-age",
            "60s",
        ],
    );
    let admin = recorder.wait_for_url("admin on ");
    let process = Process(recorder.pid());
    let idle_descriptors = process.idle_descriptors();

    let stop = Arc::new(AtomicBool::new(false));
    let figures = Arc::new(Figures::default());
    let clients = {
        let (stop, figures, url) = (
            Arc::clone(&stop),
            Arc::clone(&figures),
            recorder.url.clone(),
        );
        std::thread::spawn(move || clients(&url, streams, &stop, &figures))
    };
    let samples = watch(&process, &admin, seconds);
    stop.store(true, Ordering::Relaxed);
    clients.join().unwrap();
    eprintln!("{figures:?}; {} samples in target/soak.csv", samples.len());

    flat(
        "memory",
        &samples,
        |sample| sample.rss_kib as f64 / 1024.0,
        6.0,
    );
    flat(
        "descriptors",
        &samples,
        |sample| sample.descriptors as f64,
        100.0,
    );
    // Idle upstream connections are closed after --pool-idle.
    support::answered(|| match process.descriptors() {
        open if open <= idle_descriptors => Ok(()),
        open => Err(format!("{open} descriptors, {idle_descriptors} at first")),
    });
    assert_eq!(metric(&admin, "inference_in_flight"), 0);
    let (status, log) = recorder.terminate();
    assert!(
        status.success() && !log.contains("unaccounted") && !log.contains("panic"),
        "{log}"
    );
    let trace = Trace::open(&[dir.path().to_owned()]).unwrap();
    let totals = trace.totals();
    eprintln!("{totals:?}");
    assert_eq!(
        totals.seen,
        totals.recorded + totals.dropped.values().sum::<u64>()
    );
    assert_eq!(totals.recorded, trace.exchange_count());
    assert!(log.contains(&format!("seen={} ", totals.seen)), "{log}");
    // A client that leaves before its request is read is no exchange; nobody can tell of it.
    assert!(totals.seen <= figures.begun() && totals.seen >= figures.whole.load(Ordering::Relaxed));
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What came of the clients' requests.
#[derive(Debug, Default)]
struct Figures {
    whole: AtomicU64,
    left: AtomicU64,
    broken: AtomicU64,
    refused: AtomicU64,
}

impl Figures {
    fn begun(&self) -> u64 {
        [&self.whole, &self.left, &self.broken, &self.refused]
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

struct Process(u32);

struct Sample {
    rss_kib: u64,
    descriptors: usize,
}

impl Process {
    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0))
            .unwrap()
            .count()
    }

    /// As many as there are once its threads have begun.
    fn idle_descriptors(&self) -> usize {
        let mut seen = Vec::new();
        // The same as long as fifty looks take, a second.
        support::answered(|| {
            seen.push(self.descriptors());
            let (now, same) = (seen[seen.len() - 1], seen.iter().rev().take(50));
            match seen.len() > 50 && same.into_iter().all(|it| *it == now) {
                true => Ok(now),
                false => Err(format!("descriptors come and go: {seen:?}")),
            }
        })
    }

    fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }
}

/// A sample and a row of the table for each second.
fn watch(process: &Process, admin: &str, seconds: u64) -> Vec<Sample> {
    let names = [
        "reenact_seen_total",
        "reenact_recorded_total",
        "reenact_dropped_total",
        "inference_in_flight",
        "reenact_queue_bytes",
    ];
    let mut table =
        "t_s,rss_kib,descriptors,seen,recorded,dropped,in_flight,queue_bytes\n".to_owned();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/soak.csv");
    let began = Instant::now();
    let mut samples = Vec::new();
    for second in 0..seconds {
        std::thread::sleep(
            (began + Duration::from_secs(second)).saturating_duration_since(Instant::now()),
        );
        let sample = Sample {
            rss_kib: process.rss_kib(),
            descriptors: process.descriptors(),
        };
        let page = get(admin, "/metrics");
        let _ = write!(table, "{second},{},{}", sample.rss_kib, sample.descriptors);
        for name in names {
            let sum: u64 = page
                .lines()
                .filter(|line| line.starts_with(name))
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
                .sum();
            let _ = write!(table, ",{sum}");
        }
        table.push('\n');
        samples.push(sample);
        std::fs::write(path, &table).unwrap();
    }
    samples
}

/// Holds the trend after a third of the time, extrapolated over what is left of it, against `allowed`, and a tenth of the
/// mean.
fn flat(what: &str, samples: &[Sample], value: impl Fn(&Sample) -> f64, allowed: f64) {
    let values: Vec<f64> = samples[samples.len() / 3..].iter().map(value).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let middle = (n - 1.0) / 2.0;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        covariance += (at as f64 - middle) * (value - mean);
        variance += (at as f64 - middle).powi(2);
    }
    let slope = covariance / variance;
    eprintln!("{what}: mean {mean:.1}, {:+.2} in an hour", slope * 3600.0);
    let growth = slope * n;
    assert!(
        growth < allowed + mean / 10.0,
        "{what} grew by {growth:.1} from about {mean:.1}"
    );
}

/// The text of a prompt; there are 500 of them.
fn prompt(seed: u64) -> String {
    let mut dice = SmallRng::seed_from_u64(seed % 500);
    let words = ["shape ", "of ", "traffic ", "never ", "its ", "content "];
    let length = 20 << dice.random_range(0..10_u32);
    (0..length)
        .map(|_| words[dice.random_range(0..words.len())])
        .collect()
}

/// The events of answer `seed`.
fn events(seed: u64) -> impl Iterator<Item = String> {
    let mut dice = SmallRng::seed_from_u64(seed);
    let count = dice.random_range(1..40);
    (0..count)
        .map(move |at| {
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{seed} {at}\"}}}}]}}\n\n")
        })
        .chain(["data: [DONE]\n\n".to_owned()])
}

fn clients(url: &str, streams: u64, stop: &Arc<AtomicBool>, figures: &Arc<Figures>) {
    let address = url.strip_prefix("http://").unwrap().to_owned();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..streams)
            .map(|number| {
                let (address, stop, figures) =
                    (address.clone(), Arc::clone(stop), Arc::clone(figures));
                tokio::spawn(async move {
                    let mut dice = SmallRng::seed_from_u64(number);
                    tokio::time::sleep(Duration::from_millis(dice.random_range(0..5000))).await;
                    while !stop.load(Ordering::Relaxed) {
                        client(&address, &mut dice, &stop, &figures).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// One connection, and requests on it until one of them ends badly.
async fn client(address: &str, dice: &mut SmallRng, stop: &AtomicBool, figures: &Figures) {
    let Ok(stream) = TcpStream::connect(address).await else {
        tokio::time::sleep(Duration::from_millis(100)).await;
        return;
    };
    let mut stream = BufReader::new(stream);
    while !stop.load(Ordering::Relaxed) {
        let seed = dice.random::<u32>().into();
        let patience = match dice.random_range(0..10) {
            0 => Duration::from_millis(dice.random_range(0..3000)),
            _ => Duration::from_secs(60),
        };
        let count = match tokio::time::timeout(patience, request(&mut stream, seed)).await {
            Err(_) => &figures.left,
            Ok(Ok(200)) => &figures.whole,
            Ok(Ok(_)) => &figures.refused,
            Ok(Err(_)) => &figures.broken,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if !std::ptr::eq(count, &figures.whole) {
            return;
        }
    }
}

/// Sends request `seed` and reads its answer, which must be that seed's if it is whole.
async fn request(stream: &mut BufReader<TcpStream>, seed: u64) -> std::io::Result<u16> {
    let body = format!(
        "{{\"seed\":\"#{seed}#\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}",
        prompt(seed)
    );
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: soak\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    let head = read_head(stream).await?;
    let status = head
        .get(9..12)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    if status != 200 {
        return Ok(status);
    }
    let mut text = String::new();
    loop {
        let line = read_until(stream, b"\r\n").await?;
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await?;
        if size == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
    }
    assert!(
        events(seed).collect::<String>() == text,
        "the answer to {seed} is another's"
    );
    Ok(200)
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    read_until(stream, b"\r\n\r\n").await
}

async fn read_until(stream: &mut BufReader<TcpStream>, end: &[u8]) -> std::io::Result<String> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(read).unwrap())
}

/// A server that answers with the events of the seed that it is sent, paced, and fails in any way at times.
fn upstream() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                let dice = SmallRng::seed_from_u64(number);
                tokio::spawn(async move {
                    let _ = serve(BufReader::new(stream), dice).await;
                });
            }
        });
    });
    url
}

async fn serve(mut stream: BufReader<TcpStream>, mut dice: SmallRng) -> std::io::Result<()> {
    loop {
        let head = read_head(&mut stream).await?.to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await?;
        let text = String::from_utf8(body).unwrap();
        let seed: u64 = text.split('#').nth(1).unwrap().parse().unwrap();
        let fault = dice.random_range(0..40);
        match fault {
            0 => return Ok(()),
            1 => return stream.write_all(b"220 this is no HTTP\r\n\r\n").await,
            // Longer than the recorder waits.
            2 => tokio::time::sleep(Duration::from_secs(4)).await,
            3 => {
                let refusal = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
                stream.write_all(refusal).await?;
                continue;
            }
            _ => tokio::time::sleep(Duration::from_millis(dice.random_range(0..500))).await,
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).await?;
        for event in events(seed) {
            stream
                .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
                .await?;
            match (fault, dice.random_range(0..10)) {
                // In mid-answer: a reset, an end, a silence.
                (4, 0) => {
                    socket2::SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO))?;
                    return Ok(());
                }
                (5, 0) => return Ok(()),
                (6, 0) => tokio::time::sleep(Duration::from_secs(4)).await,
                _ => tokio::time::sleep(Duration::from_millis(dice.random_range(0..300))).await,
            }
        }
        stream.write_all(b"0\r\n\r\n").await?;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

//! A trace of a gigabyte: how soon a moment of it is found, and what reading it and merging three that interleave take. Prints its figures:
//! `cargo test --test traces large -- --ignored --nocapture`.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Random, exchange, header, python};
use reenact::anonymise::Recordable;
use reenact::shape::{GapSketch, TokenCount, TokenSource, TraceTime};
use reenact::trace::{Header, Trace, TraceWriter, WriterOptions};

const BYTES: u64 = 1 << 30;
const RECORDERS: u64 = 3;

/// A moment of a large trace is found within this; reading takes no more memory than this.
const SEEK_MS: u128 = 10;
const MOST_MIB: u64 = 128;

#[test]
#[ignore = "writes three gigabytes, and takes minutes"]
fn a_gigabyte_is_sought_at_once_and_read_in_constant_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.rt");
    let began = Instant::now();
    let (exchanges, last_at_us) = traffic(&path, &header(1), BYTES);
    eprintln!(
        "{exchanges} exchanges in {} MiB, written in {:.0?}",
        BYTES >> 20,
        began.elapsed()
    );

    let mut random = Random(3);
    let mut took: Vec<_> = (0..50)
        .map(|_| {
            let at = TraceTime::from_us(random.below(last_at_us));
            let (began, busy) = (Instant::now(), thread_cpu());
            let mut trace = Trace::open(std::slice::from_ref(&path)).unwrap();
            let first = trace.exchanges_from(at).next().unwrap().unwrap();
            assert!(first.at >= at);
            (thread_cpu() - busy, began.elapsed())
        })
        .collect();
    took.sort();
    let (busy, elapsed) = took[25];
    eprintln!("open and seek: {busy:?} of processor time in the median, {elapsed:?} on the clock");
    // Whatever else the machine does shows on the clock; the file is in the page cache, so that nothing else is waited for.
    assert!(busy.as_millis() < SEEK_MS, "{busy:?}");

    takes_little(&["trace", "verify", path.to_str().unwrap()]);
}

#[test]
#[ignore = "writes two gigabytes, and takes minutes"]
fn recorders_that_interleave_are_merged_in_constant_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (mut arguments, mut exchanges, mut last_at_us) = (vec![], 0, 0);
    for recorder in 0..RECORDERS {
        // They were started a second after one another, and saw the same hours.
        let header = Header {
            epoch_unix_us: Some(1_700_000_000_000_000 + recorder * 1_000_000),
            ..header(recorder + 1)
        };
        let file = path(&format!("recorder-{recorder}.rt"));
        let (some, last) = traffic(Path::new(&file), &header, BYTES / RECORDERS);
        exchanges += some;
        last_at_us = last_at_us.max(last + recorder * 1_000_000);
        arguments.push(file);
    }
    let merged = path("merged.rt");
    let sources = arguments.iter().map(String::as_str);
    let command: Vec<_> = ["trace", "merge", "-o", &merged]
        .into_iter()
        .chain(sources)
        .collect();
    takes_little(&command);
    let mut merged = Trace::open(&[merged.into()]).unwrap();
    assert_eq!(merged.exchange_count(), exchanges);
    assert_eq!(merged.ends().unwrap().1.us(), last_at_us, "side by side");
    let times: Vec<_> = merged
        .exchanges()
        .map(|exchange| exchange.unwrap().at)
        .collect();
    assert!(times.is_sorted() && times.len() as u64 == exchanges);
}

/// Runs a command, and fails where it takes more memory than it may.
fn takes_little(arguments: &[&str]) {
    let began = Instant::now();
    let peak_mib = peak_mib(arguments);
    let command = arguments[..2].join(" ");
    eprintln!("{command}: {:.1?}, {peak_mib} MiB at most", began.elapsed());
    assert!(peak_mib < MOST_MIB, "{command}: {peak_mib} MiB");
}

/// Writes a file with as many blocks as so much live traffic has, and as large ones (40 KiB), but of fewer and longer
/// exchanges, which take less time to make: prompts of two hundred blocks that share no order a packer could find. Gives how many
/// there are, and when the last arrived.
fn traffic(path: &Path, header: &Header, bytes: u64) -> (u64, u64) {
    let mut random = Random(header.run);
    let options = WriterOptions {
        block_exchanges: 64,
        ..WriterOptions::default()
    };
    let mut writer = TraceWriter::create(path, header, options).unwrap();
    let (mut exchanges, mut at_us) = (0, 0);
    while writer.bytes() < bytes {
        at_us += random.below(40_000);
        let blocks: Vec<_> = (0..200).map(|_| random.below(1 << 28) as u32).collect();
        let mut exchange = exchange(at_us, blocks);
        let mut gaps = GapSketch::default();
        for _ in 0..8 {
            gaps.record(15_000 + random.below(9000));
        }
        exchange.request.bytes = 1000 + random.below(9000);
        exchange.response.gaps = gaps;
        exchange.response.end_us = Some(2_000_000 + random.below(1_000_000));
        exchange.response.first_token_us = Some(100_000 + random.below(200_000));
        exchange.response.output_tokens = Some(TokenCount {
            count: 50 + random.below(100) as u32,
            source: TokenSource::Usage,
        });
        writer.push(Recordable::content_free(exchange)).unwrap();
        exchanges += 1;
    }
    writer.finish().unwrap();
    (exchanges, at_us)
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Most memory that a command takes.
fn peak_mib(arguments: &[&str]) -> u64 {
    let script = "import resource, subprocess, sys\n\
        subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let output = python()
        .args(["-c", script, env!("CARGO_BIN_EXE_reenact")])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let kib: u64 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kib >> 10
}

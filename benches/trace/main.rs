//! What a trace takes beside other formats of the same rows, and how fast it is written and read.
//!
//! `cargo bench --bench trace [MOONCAKE_FILE]` prints Markdown tables. Without a file, the rows of Mooncake's trace that lie in
//! `fixtures/` stand for it; the whole trace packs better. Speeds are of one thread's processor time, medians of five rounds.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    unreachable_pub
)]

mod live;

use std::path::Path;
use std::time::Duration;

use reenact::anonymise::Recordable;
use reenact::interop::{ExportFormat, ExportOptions, ImportFormat, ImportOptions, export, import};
use reenact::shape::{BlockSpec, Exchange, GapTrail};
use reenact::trace::{Header, Source, Trace, TraceWriter, WriterOptions};

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIVE: usize = 100_000;

fn main() {
    let mooncake = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let dir = tempfile::tempdir().unwrap();
    println!(
        "| bytes for each exchange | trace | JSON lines | gzip | zstd | Parquet, zstd |\n|---|---|---|---|---|---|"
    );
    let trace = dir.path().join("mooncake.rt");
    let rows = mooncake.unwrap_or_else(|| {
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/traces/mooncake_conversation_200.jsonl"
        )
        .to_owned()
    });
    import(
        ImportFormat::Mooncake,
        Path::new(&rows),
        &trace,
        &ImportOptions::default(),
    )
    .unwrap();
    sizes("Mooncake", &trace, ExportFormat::Mooncake);
    let mut speeds = Vec::new();
    for (name, spread, trail) in [
        ("live, gaps within 5 %", 0.05, false),
        ("live, gaps within 20 %", 0.2, false),
        ("live, every gap, within 5 %", 0.05, true),
        ("live, every gap, within 20 %", 0.2, true),
    ] {
        let mut exchanges = live::live(LIVE, spread);
        if !trail {
            for exchange in &mut exchanges {
                exchange.response.trail = GapTrail::default();
            }
        }
        let path = dir.path().join("live.rt");
        speeds.push((name, speed(&path, &exchanges)));
        sizes(name, &path, ExportFormat::Jsonl);
    }
    println!("\n| exchanges a second, one core | written | read |\n|---|---|---|");
    for (name, (written, read)) in speeds {
        println!("| {name} | {written:.0} | {read:.0} |");
    }
}

/// One row: the trace, the same rows as text (in the form that says the same), and all columns in Parquet.
fn sizes(name: &str, trace: &Path, text: ExportFormat) {
    let dir = tempfile::tempdir().unwrap();
    let count = Trace::open(&[trace.to_owned()]).unwrap().exchange_count() as f64;
    let size = |format, file: &str| {
        let path = dir.path().join(file);
        let mut trace = Trace::open(&[trace.to_owned()]).unwrap();
        export(format, &mut trace, &path, &ExportOptions::default()).unwrap();
        path.metadata().unwrap().len() as f64 / count
    };
    println!(
        "| {name} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} |",
        trace.metadata().unwrap().len() as f64 / count,
        size(text, "a.jsonl"),
        size(text, "a.jsonl.gz"),
        size(text, "a.jsonl.zst"),
        size(ExportFormat::Parquet, "a.parquet"),
    );
}

/// Exchanges written and read a second.
fn speed(path: &Path, exchanges: &[Exchange]) -> (f64, f64) {
    let header = Header {
        tool: String::new(),
        source: Source::Recorded,
        block: Some(BlockSpec::LIVE),
        run: 1,
        sample_ppm: 1_000_000,
        epoch_unix_us: None,
        policy: None,
        envelope: None,
    };
    let (mut written, mut read) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        drop(std::fs::remove_file(path));
        let recordables: Vec<_> = exchanges
            .iter()
            .cloned()
            .map(Recordable::content_free)
            .collect();
        let begun = thread_cpu();
        let mut writer = TraceWriter::create(path, &header, WriterOptions::default()).unwrap();
        for recordable in recordables {
            writer.push(recordable).unwrap();
        }
        writer.finish().unwrap();
        written.push((thread_cpu() - begun).as_secs_f64());
        let begun = thread_cpu();
        let mut trace = Trace::open(&[path.to_owned()]).unwrap();
        assert_eq!(trace.exchanges().flatten().count(), exchanges.len());
        read.push((thread_cpu() - begun).as_secs_f64());
    }
    let rate = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        exchanges.len() as f64 / seconds[2]
    };
    (rate(written), rate(read))
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.try_into().unwrap(),
        now.tv_nsec.try_into().unwrap(),
    )
}

//! Through the library: real rows in and out (see fixtures/traces/README.md).

use std::fs;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reenact::anonymise::Recordable;
use reenact::interop::{
    ExportFormat, ExportOptions, ImportFormat, ImportOptions, InteropError, export, import,
};
use reenact::measure::traffic::{Traffic, TrafficMeter};
use reenact::shape::{BlockSpec, Exchange};
use reenact::trace::{Header, Source, Trace, TraceWriter, WriterOptions};

use super::{fixture, give, open, take};

fn traffic(trace: &mut Trace) -> Traffic {
    let mut meter = TrafficMeter::new(trace.header().block, false);
    for exchange in trace.exchanges() {
        meter.add(&exchange.unwrap());
    }
    meter.finish()
}

#[test]
fn mooncake_rows_come_back_as_they_went_in() {
    let directory = tempfile::tempdir().unwrap();
    let original = fixture("mooncake_conversation_200.jsonl");
    let trace = directory.path().join("m.rt");
    let back = directory.path().join("m.jsonl");
    take(ImportFormat::Mooncake, &original, &trace);
    let done = give(ExportFormat::Mooncake, &trace, &back);
    assert_eq!(done.rows, 200);
    // The slice's ids are in order of first appearance already.
    assert!(fs::read(&back).unwrap() == fs::read(&original).unwrap());
}

/// The whole trace takes 6.5 bytes a request (docs/performance.md); its beginning shares less, and the header and index weigh more.
#[test]
fn mooncakes_first_rows_take_few_bytes_each() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("m.rt");
    take(
        ImportFormat::Mooncake,
        &fixture("mooncake_conversation_200.jsonl"),
        &trace,
    );
    let bytes = trace.metadata().unwrap().len();
    assert!(bytes <= 1_700, "{bytes} bytes for 200 requests");
}

#[test]
fn gzip_goes_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let original = fs::read(fixture("mooncake_conversation_200.jsonl")).unwrap();
    // In two members, as `cat a.gz b.gz` makes them, and under a name that does not say so.
    let (first, second) = original.split_at(20_000);
    let mut packed = Vec::new();
    for part in [first, second] {
        let mut encoder = GzEncoder::new(&mut packed, Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    let input = directory.path().join("rows");
    fs::write(&input, packed).unwrap();
    let trace = directory.path().join("m.rt");
    take(ImportFormat::Mooncake, &input, &trace);
    let back = directory.path().join("m.jsonl.gz");
    give(ExportFormat::Mooncake, &trace, &back);
    let mut text = Vec::new();
    GzDecoder::new(fs::File::open(back).unwrap())
        .read_to_end(&mut text)
        .unwrap();
    assert!(text == original);
}

#[test]
fn azure_rows_are_read_to_the_microsecond() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("a.rt");
    take(
        ImportFormat::Azure,
        &fixture("azure2023_conv_200.csv"),
        &trace,
    );
    let mut trace = open(&trace);
    let first: Vec<_> = trace
        .exchanges()
        .take(3)
        .map(|exchange| {
            let exchange = exchange.unwrap();
            let output = exchange.response.output_tokens.unwrap().count;
            (
                exchange.at.us(),
                exchange.request.prompt_tokens.unwrap().count,
                output,
            )
        })
        .collect();
    assert_eq!(
        first,
        [(0, 374, 44), (4_314_579, 396, 109), (4_541_877, 879, 55)]
    );
    let traffic = traffic(&mut trace);
    assert_eq!(traffic.exchanges, 200);
    assert!(
        traffic.prefix.is_none(),
        "no chains, so nothing is measured"
    );
    assert_eq!(trace.totals().recorded, 200);
}

#[test]
fn a_malformed_row_leaves_nothing_behind_unless_it_may_be_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = fs::read_to_string(fixture("mooncake_conversation_200.jsonl")).unwrap();
    rows.push_str("{\"timestamp\": \"secret\"}\n");
    let input = directory.path().join("rows.jsonl");
    fs::write(&input, rows).unwrap();
    let output = directory.path().join("m.rt");
    let run = |skip_bad| {
        let options = ImportOptions {
            skip_bad,
            ..ImportOptions::default()
        };
        import(ImportFormat::Mooncake, &input, &output, &options)
    };
    let error = run(false).unwrap_err();
    assert!(
        matches!(error, InteropError::Row { line: 201, .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("secret"));
    assert!(error.hint().unwrap().contains("--skip-bad"));
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "only the input"
    );
    let done = run(true).unwrap();
    assert_eq!((done.rows, done.skipped), (200, 1));
    let totals = open(&output).totals();
    assert_eq!((totals.seen, totals.recorded, totals.lost()), (201, 200, 1));
}

#[test]
fn files_that_are_something_else_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("x.rt");
    let empty = directory.path().join("empty");
    fs::write(&empty, "").unwrap();
    let cut = directory.path().join("cut.gz");
    fs::write(&cut, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1]).unwrap();
    let mooncake = fixture("mooncake_conversation_200.jsonl");
    let azure = fixture("azure2023_conv_200.csv");
    let missing = directory.path().join("missing");
    for (format, input) in [
        (ImportFormat::Mooncake, &azure),
        (ImportFormat::Azure, &mooncake),
        (ImportFormat::Mooncake, &empty),
        (ImportFormat::Azure, &empty),
        (ImportFormat::Mooncake, &cut),
        (ImportFormat::Azure, &missing),
    ] {
        let error = import(format, input, &output, &ImportOptions::default()).unwrap_err();
        let name = input.display().to_string();
        assert!(error.to_string().starts_with(&name), "{error}");
        assert!(error.hint().is_some(), "{error}");
        assert!(!output.exists());
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_live_trace_exports_as_blocks_of_512_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("m.rt");
    take(
        ImportFormat::Mooncake,
        &fixture("mooncake_conversation_200.jsonl"),
        &source,
    );
    // As a recorder would have it: blocks of 64 bytes, of which 32 make 512 tokens at 4 bytes each.
    let live = directory.path().join("live.rt");
    let header = Header {
        tool: "0.1.0".into(),
        source: Source::Recorded,
        block: Some(BlockSpec::LIVE),
        epoch_unix_us: None,
        run: 1,
        sample_ppm: 1_000_000,
        policy: None,
        envelope: None,
    };
    let mut writer = TraceWriter::create(&live, &header, WriterOptions::default()).unwrap();
    let mut numbers = std::collections::HashMap::new();
    for exchange in open(&source).exchanges() {
        let mut exchange: Exchange = exchange.unwrap();
        let tokens = exchange.request.prompt_tokens.unwrap().count;
        exchange.request.messages[0].bytes = tokens * 4 - 1;
        let full = (tokens / 16) as usize;
        let chain = exchange.request.blocks.clone();
        let ids = chain
            .iter()
            .flat_map(|id| (0..32).map(move |part| (*id, part)));
        exchange.request.blocks = ids
            .take(full)
            .map(|key| {
                let next = u32::try_from(numbers.len()).unwrap();
                reenact::shape::BlockId(*numbers.entry(key).or_insert(next))
            })
            .collect();
        writer.push(Recordable::content_free(exchange)).unwrap();
    }
    writer.finish().unwrap();
    let out = directory.path().join("live.jsonl");
    give(ExportFormat::Mooncake, &live, &out);
    let again = directory.path().join("again.rt");
    take(ImportFormat::Mooncake, &out, &again);
    let before = traffic(&mut open(&source));
    let after = traffic(&mut open(&again));
    assert_eq!(after.exchanges, 200);
    let (before, after) = (before.prefix.unwrap(), after.prefix.unwrap());
    assert_eq!(after.blocks_total, before.blocks_total);
    assert!(
        (after.prefix_share.unwrap() - before.prefix_share.unwrap()).abs() < 0.005,
        "{before:?} {after:?}"
    );
}

#[test]
fn a_trace_without_rows_for_the_format_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("t.rt");
    take(
        ImportFormat::Azure,
        &fixture("azure2023_conv_200.csv"),
        &trace,
    );
    let bare = directory.path().join("bare.rt");
    let header = open(&trace).header().clone();
    let mut writer = TraceWriter::create(&bare, &header, WriterOptions::default()).unwrap();
    for exchange in open(&trace).exchanges().take(5) {
        let mut exchange = exchange.unwrap();
        exchange.request.prompt_tokens = None;
        writer.push(Recordable::content_free(exchange)).unwrap();
    }
    writer.finish().unwrap();
    let out = directory.path().join("out.jsonl");
    let error = export(
        ExportFormat::Mooncake,
        &mut open(&bare),
        &out,
        &ExportOptions::default(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("5 with no prompt token count"),
        "{error}"
    );
    assert!(!out.exists());
}

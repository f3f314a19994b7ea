//! A trace that goes out in a format and comes back is the same, as far as the format goes.

use std::path::{Path, PathBuf};

use reenact::interop::{ExportFormat, ImportFormat, ImportOptions, import};
use reenact::shape::{BlockSpec, Exchange};
use reenact::trace::{Source, Trace};

use super::{fixture, give, goldens, open, take};

fn exchanges(trace: &Path) -> Vec<Exchange> {
    open(trace).exchanges().map(Result::unwrap).collect()
}

/// Imports a fixture, exports it and imports that again. Gives both traces' exchanges.
fn round(
    from: (ImportFormat, &str),
    through: (ExportFormat, ImportFormat),
    end: &str,
) -> (Vec<Exchange>, Vec<Exchange>) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { directory.path().join(name) };
    take(from.0, &fixture(from.1), &path("first.rt"));
    give(through.0, &path("first.rt"), &path(end));
    take(through.1, &path(end), &path("second.rt"));
    (exchanges(&path("first.rt")), exchanges(&path("second.rt")))
}

type Counts = (u64, Option<u32>, Option<u32>);

/// Arrival in units of `unit_us`, prompt tokens, output tokens.
fn counts(exchanges: &[Exchange], unit_us: u64) -> Vec<Counts> {
    let first = exchanges[0].at.us();
    let of = |e: &Exchange| {
        (
            (e.at.us() - first) / unit_us,
            e.request.prompt_tokens.map(|tokens| tokens.count),
            e.response.output_tokens.map(|tokens| tokens.count),
        )
    };
    exchanges.iter().map(of).collect()
}

/// How many leading blocks each prompt shares with the one before it.
fn sharing(exchanges: &[Exchange]) -> Vec<usize> {
    let shared = |pair: &[Exchange]| {
        let blocks = pair[0].request.blocks.iter();
        blocks
            .zip(&pair[1].request.blocks)
            .take_while(|(a, b)| a == b)
            .count()
    };
    exchanges.windows(2).map(shared).collect()
}

const WEKA: (ImportFormat, &str) = (ImportFormat::Weka, "weka_sessions_3.jsonl.gz");
const MOONCAKE: (ImportFormat, &str) = (ImportFormat::Mooncake, "mooncake_conversation_200.jsonl");
const BURSTGPT: (ImportFormat, &str) = (ImportFormat::Burstgpt, "burstgpt1_200.csv");
const AZURE: (ImportFormat, &str) = (ImportFormat::Azure, "azure2023_conv_200.csv");

#[test]
fn sessions_come_back_through_aiperf_and_bailian() {
    for (out, back, unit_us, tokens) in [
        (ExportFormat::Aiperf, ImportFormat::Aiperf, 1000, 512_usize),
        (ExportFormat::Bailian, ImportFormat::Bailian, 1, 16),
    ] {
        let (first, second) = round(WEKA, (out, back), "rows.jsonl");
        assert_eq!(first.len(), 23);
        assert_eq!(counts(&first, unit_us), counts(&second, unit_us));
        let sessions = |all: &[Exchange]| -> Vec<_> {
            // Numbered in order of first appearance, which is not the same in time as in the file.
            let mut seen = Vec::new();
            all.iter()
                .map(|e| {
                    let session = e.session.unwrap();
                    seen.iter().position(|s| *s == session).unwrap_or_else(|| {
                        seen.push(session);
                        seen.len() - 1
                    })
                })
                .collect()
        };
        assert_eq!(sessions(&first), sessions(&second));
        assert!(second.iter().all(|e| {
            let prompt = e.request.prompt_tokens.unwrap().count as usize;
            e.request.blocks.len() == prompt.div_ceil(tokens)
        }));
        // What was shared in blocks of 64 tokens is shared in the format's, to the block.
        for (before, after) in sharing(&first).into_iter().zip(sharing(&second)) {
            let (before, after) = (before * 64, after * tokens);
            assert!(before.abs_diff(after) <= tokens.max(64), "{before} {after}");
        }
    }
}

#[test]
fn prefixes_come_back_through_a_timed_trace_of_vllm() {
    let through = (ExportFormat::VllmTimedTrace, ImportFormat::VllmTimedTrace);
    for (from, tokens) in [(MOONCAKE, 512), (WEKA, 64)] {
        let (first, second) = round(from, through, "rows.jsonl.zst");
        assert_eq!(counts(&first, 1), counts(&second, 1));
        let (before, after) = (sharing(&first), sharing(&second));
        assert!(before.iter().any(|&blocks| blocks > 0));
        for (before, after) in before.into_iter().zip(after) {
            let (before, after) = (before * tokens, after * 16);
            assert!(before.abs_diff(after) < tokens, "{before} {after}");
        }
    }
}

#[test]
fn failed_requests_and_models_come_back_through_burstgpt() {
    let through = (ExportFormat::Burstgpt, ImportFormat::Burstgpt);
    let (first, second) = round(BURSTGPT, through, "rows.csv");
    assert_eq!(first.len(), 200);
    assert_eq!(first.iter().filter(|e| !e.outcome.is_ok()).count(), 9);
    assert_eq!(first, second);
}

#[test]
fn times_come_back_through_azure_to_the_microsecond() {
    let through = (ExportFormat::Azure, ImportFormat::Azure);
    let (first, second) = round(AZURE, through, "rows.csv.gz");
    assert_eq!(first, second);
    // The rows themselves are as they were, but for the day on which they begin.
    assert_eq!(counts(&first, 1)[2], (4_541_877, Some(879), Some(55)));
}

#[test]
fn everything_comes_back_through_our_own_lines() {
    let through = (ExportFormat::Jsonl, ImportFormat::Jsonl);
    for from in [WEKA, MOONCAKE, BURSTGPT, AZURE] {
        let (first, second) = round(from, through, "rows.jsonl.zst");
        assert_eq!(first, second);
    }
    let directory = tempfile::tempdir().unwrap();
    // What the files of all fields read as, and the header with it.
    for golden in goldens() {
        let version = golden.file_stem().unwrap().to_str().unwrap();
        let to = |name: &str| directory.path().join(format!("{version}-{name}"));
        give(ExportFormat::Jsonl, &golden, &to("a.jsonl"));
        take(ImportFormat::Jsonl, &to("a.jsonl"), &to("a.rt"));
        let (mut golden_trace, mut copy) = (open(&golden), open(&to("a.rt")));
        assert_eq!(about(&golden_trace), about(&copy), "{version}");
        let expected: Vec<_> = golden_trace.exchanges().map(Result::unwrap).collect();
        let copied: Vec<_> = copy.exchanges().map(Result::unwrap).collect();
        assert_eq!(expected, copied, "{version}");
        // And `inspect --exchanges`, which has no first line about the file.
        take(
            ImportFormat::Jsonl,
            &golden.with_extension("jsonl"),
            &to("b.rt"),
        );
        assert_eq!(exchanges(&to("b.rt")), expected, "{version}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn everything_comes_back_through_our_own_columns() {
    let through = (ExportFormat::Parquet, ImportFormat::Parquet);
    for from in [WEKA, MOONCAKE, BURSTGPT, AZURE] {
        let (first, second) = round(from, through, "rows.parquet");
        assert_eq!(first, second);
    }
    let directory = tempfile::tempdir().unwrap();
    for golden in goldens() {
        let version = golden.file_stem().unwrap().to_str().unwrap();
        let to = |end: &str| directory.path().join(format!("{version}.{end}"));
        give(ExportFormat::Parquet, &golden, &to("parquet"));
        take(ImportFormat::Parquet, &to("parquet"), &to("rt"));
        assert_eq!(about(&open(&golden)), about(&open(&to("rt"))), "{version}");
        assert_eq!(exchanges(&golden), exchanges(&to("rt")), "{version}");
    }
    let foreign = directory.path().join("no.rt");
    let refused = import(
        ImportFormat::Parquet,
        &fixture("azure2023_conv_200.csv"),
        &foreign,
        &ImportOptions::default(),
    );
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("no Parquet file"), "{error}");
}

/// What the header says of where exchanges come from.
fn about(trace: &Trace) -> (Source, Option<BlockSpec>, Option<u64>, u32) {
    let header = trace.header();
    (
        header.source,
        header.block,
        header.epoch_unix_us,
        header.sample_ppm,
    )
}

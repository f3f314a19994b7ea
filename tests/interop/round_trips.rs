//! A trace that goes out in a format and comes back is the same, as far as the format goes.

use std::path::{Path, PathBuf};

use reenact::interop::{ExportFormat, ImportFormat};
use reenact::shape::Exchange;

use super::{fixture, give, open, take};

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
    let path = |name: &str| directory.path().join(name);
    // What the files of all fields read as, and the header with it.
    for version in [
        "golden-1.0",
        "golden-1.1",
        "golden-1.1-tensors",
        "golden-1.1-marks",
    ] {
        let file = |kind: &str| fixture(&format!("{version}.{kind}"));
        let to = |name: &str| path(&format!("{version}-{name}"));
        give(ExportFormat::Jsonl, &file("rt"), &to("a.jsonl"));
        take(ImportFormat::Jsonl, &to("a.jsonl"), &to("a.rt"));
        let (mut golden, mut copy) = (open(&file("rt")), open(&to("a.rt")));
        let (a, b) = (golden.header().clone(), copy.header().clone());
        assert_eq!(
            (a.source, a.block, a.epoch_unix_us, a.sample_ppm),
            (b.source, b.block, b.epoch_unix_us, b.sample_ppm)
        );
        let golden: Vec<_> = golden.exchanges().map(Result::unwrap).collect();
        let copy: Vec<_> = copy.exchanges().map(Result::unwrap).collect();
        assert_eq!(golden, copy, "{version}");
        // And `inspect --exchanges`, which has no first line about the file.
        take(ImportFormat::Jsonl, &file("jsonl"), &to("b.rt"));
        assert_eq!(exchanges(&to("b.rt")), golden, "{version}");
    }
}

//! Parquet: what another program, DuckDB, reads of it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::support::{run, stdout_of};
use super::{fixture, goldens, open};
use reenact::interop::{ExportFormat, ImportFormat};
use reenact::shape::{CacheLife, CacheMark, CachePlace, FrameShape, MediaType, VectorEncoding};

/// What `tests/interop/read_parquet.py` sums up of a file.
fn read(file: &Path) -> Value {
    // tests/run makes it, with the packages of tests/requirements.txt.
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/read_parquet.py");
    assert!(
        Path::new(python).exists(),
        "{python} is missing: run tests/run once"
    );
    let output = Command::new(python).arg(script).arg(file).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn exported(trace: &Path, to: &Path) {
    let done = run([
        Path::new("export"),
        Path::new("parquet"),
        trace,
        Path::new("-o"),
        to,
    ]);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn duckdb_reads_the_same_counts_sums_and_lists() {
    let directory = tempfile::tempdir().unwrap();
    let weka = directory.path().join("weka.rt");
    super::take(
        ImportFormat::Weka,
        &fixture("weka_sessions_3.jsonl.gz"),
        &weka,
    );
    let golden = goldens();
    let mut told = [0; 3];
    for trace in [&weka].into_iter().chain(&golden) {
        let file = directory.path().join("out.parquet");
        exported(trace, &file);
        let seen = read(&file);
        std::fs::remove_file(&file).unwrap();
        let all: Vec<_> = open(trace).exchanges().map(Result::unwrap).collect();
        let text = stdout_of([Path::new("inspect"), trace, Path::new("--json")]);
        let inspected: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(seen["rows"], inspected["exchanges"]);
        assert_eq!(seen["outcomes"], inspected["by_outcome"]);
        assert_eq!(seen["endpoints"], inspected["by_endpoint"]);
        let sum = |value: &dyn Fn(&reenact::shape::Exchange) -> u64| -> u64 {
            all.iter().map(value).sum()
        };
        let of_frames =
            |value: &dyn Fn(&FrameShape) -> u64| sum(&|e| e.frames.as_deref().map_or(0, value));
        let expected = [
            ("at_us", sum(&|e| e.at.us())),
            (
                "prompt_tokens",
                sum(&|e| e.request.prompt_tokens.map_or(0, |t| t.count.into())),
            ),
            (
                "output_tokens",
                sum(&|e| e.response.output_tokens.map_or(0, |t| t.count.into())),
            ),
            ("end_us", sum(&|e| e.response.end_us.unwrap_or(0))),
            ("streamed", sum(&|e| e.request.params.stream.into())),
            ("messages", sum(&|e| e.request.messages.len() as u64)),
            (
                "message_bytes",
                sum(&|e| e.request.messages.iter().map(|m| u64::from(m.bytes)).sum()),
            ),
            ("blocks", sum(&|e| e.request.blocks.len() as u64)),
            (
                "block_ids",
                sum(&|e| e.request.blocks.iter().map(|id| u64::from(id.0)).sum()),
            ),
            ("gaps", sum(&|e| e.response.gaps.count())),
            (
                "media_bytes",
                sum(&|e| e.request.media.iter().map(|part| part.bytes).sum()),
            ),
            (
                "tensor_dimensions",
                sum(&|e| {
                    let sizes = e.request.tensors.iter().flat_map(|it| it.dimensions);
                    sizes
                        .flat_map(|it| it.sizes().to_vec())
                        .map(u64::from)
                        .sum()
                }),
            ),
            ("tensors", sum(&|e| e.request.tensors.len() as u64)),
            (
                "cache_marks",
                sum(&|e| {
                    let marks = e.request.cache_marks.iter();
                    let told = |mark: &CacheMark| match mark.place {
                        CachePlace::Request => 1,
                        CachePlace::Tool { index } => 1 + u64::from(index),
                        CachePlace::Message { index, bytes } => {
                            1 + u64::from(index) + u64::from(bytes)
                        }
                    };
                    marks.map(told).sum()
                }),
            ),
            (
                "marked_for_an_hour",
                sum(&|e| {
                    let mut marks = e.request.cache_marks.iter();
                    marks.any(|it| it.life == CacheLife::OneHour).into()
                }),
            ),
            (
                "context_tokens",
                sum(&|e| e.request.params.context_tokens.unwrap_or(0).into()),
            ),
            (
                "dimensions",
                sum(&|e| e.request.params.dimensions.unwrap_or(0).into()),
            ),
            (
                "base64",
                sum(&|e| (e.request.params.encoding_format == VectorEncoding::Base64).into()),
            ),
            (
                "extras",
                sum(&|e| {
                    let params = e.request.params;
                    u64::from(params.continuous_usage) + 2 * u64::from(params.return_token_ids)
                }),
            ),
            (
                "media_types",
                sum(&|e| {
                    let told = [e.request.media_type, e.response.media_type];
                    told.iter().all(|it| *it != MediaType::Unsaid).into()
                }),
            ),
            (
                "multipart",
                sum(&|e| {
                    let told = [e.request.media_type, e.response.media_type];
                    told.contains(&MediaType::Multipart).into()
                }),
            ),
            (
                "frames",
                of_frames(&|it| {
                    let first = it.first_sent_us.map_or(0, |us| 1 + us);
                    first + it.sent_gaps.longest_us()
                }),
            ),
            (
                "frame_gaps",
                of_frames(&|it| {
                    let gaps = it.sent_gaps.values();
                    let gaps: u64 = gaps.map(|(us, count)| us + u64::from(count)).sum();
                    gaps + it.sent_trail.values().sum::<u64>()
                }),
            ),
            (
                "frame_sizes",
                of_frames(&|it| {
                    let sizes = it.came_sizes.values();
                    sizes.map(|(bytes, count)| bytes + u64::from(count)).sum()
                }),
            ),
            ("without_end", sum(&|e| e.response.end_us.is_none().into())),
        ];
        for (name, value) in expected {
            assert_eq!(seen["sums"][name], value, "{name} of {}", trace.display());
        }
        for (row, exchange) in all.iter().enumerate() {
            let media = exchange.request.media.iter();
            let formats: Vec<_> = media.map(|part| json!(part.format)).collect();
            let gaps: Vec<_> = exchange.response.trail.values().collect();
            told[0] += formats.len();
            told[1] += usize::from(exchange.new_connection.is_some());
            told[2] += gaps.len();
            let expected = json!([formats, exchange.new_connection, gaps]);
            assert_eq!(
                seen["values"][row],
                expected,
                "{} of {}",
                row,
                trace.display()
            );
        }
        let first = all.iter().find(|e| e.request.blocks.len() > 1).unwrap();
        let ids: Vec<_> = first.request.blocks.iter().map(|id| id.0).collect();
        assert_eq!(seen["first_blocks"], serde_json::json!(ids));
        assert!(seen["about"]["reenact.schema"] == "reenact.parquet/1");
    }
    assert!(told.iter().all(|&values| values > 10), "{told:?}");
}

#[test]
fn every_column_is_in_the_documentation() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("out.parquet");
    exported(&fixture("golden-1.1.rt"), &file);
    let seen = read(&file);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/interop.md");
    let page = std::fs::read_to_string(page).unwrap();
    let columns = seen["columns"].as_array().unwrap();
    assert!(columns.len() > 50);
    for column in columns {
        let column = column.as_str().unwrap();
        assert!(page.contains(&format!("`{column}`")), "{column}");
    }
}

#[test]
fn row_groups_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut rows = "Timestamp,Request tokens,Response tokens\n".to_owned();
    for at in 0..70_000 {
        rows.push_str(&format!("{at},1,2\n"));
    }
    std::fs::write(path("rows.csv"), rows).unwrap();
    super::take(ImportFormat::Burstgpt, &path("rows.csv"), &path("t.rt"));
    super::give(ExportFormat::Parquet, &path("t.rt"), &path("t.parquet"));
    let seen = read(&path("t.parquet"));
    assert_eq!(seen["rows"], 70_000);
    assert_eq!(seen["largest_row_group"], 65_536);
}

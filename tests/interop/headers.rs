//! What the header of an imported trace, or of an export, says of all its rows.

use std::fs;
use std::path::{Path, PathBuf};

use reenact::interop::{
    ExportFormat, ExportOptions, ImportFormat, ImportOptions, Imported, InteropError, export,
    import,
};
use reenact::shape::BlockId;
use reenact::trace::{Trace, TraceError};

use super::open;

/// A request of Dynamo's that ended at `ms`, with what it tells of its blocks.
fn dynamo(ms: u64, replay: &str) -> String {
    format!(
        r#"{{"event_type":"request_end","event_time_unix_ms":{},"request":{{"input_tokens":130,"output_tokens":8,"request_received_ms":{}{replay}}}}}"#,
        1_700_000_001_000 + ms,
        1_700_000_000_000 + ms,
    )
}

fn blocks(size: u32, ids: &str) -> String {
    format!(
        r#","replay":{{"trace_block_size":{size},"input_length":130,"input_sequence_hashes":[{ids}]}}"#
    )
}

fn taken(
    directory: &Path,
    format: ImportFormat,
    lines: &[String],
    skip_bad: bool,
) -> (PathBuf, Result<Imported, InteropError>) {
    let (from, to) = (directory.join("rows.jsonl"), directory.join("rows.rt"));
    fs::write(&from, lines.join("\n")).unwrap();
    let options = ImportOptions {
        skip_bad,
        ..ImportOptions::default()
    };
    let done = import(format, &from, &to, &options);
    (to, done)
}

#[test]
fn blocks_are_kept_that_only_a_later_row_tells_of() {
    let directory = tempfile::tempdir().unwrap();
    let rows = [
        dynamo(0, ""),
        dynamo(1, ""),
        dynamo(2, &blocks(64, "7, 8")),
        dynamo(3, &blocks(64, "7, 9")),
    ];
    let (trace, done) = taken(directory.path(), ImportFormat::Dynamo, &rows, false);
    assert_eq!(done.unwrap().rows, 4);
    let mut trace = open(&trace);
    let spec = trace.header().block.unwrap();
    assert_eq!((spec.size, spec.partial_last), (64, false));
    let chains: Vec<_> = trace
        .exchanges()
        .map(|exchange| exchange.unwrap().request.blocks)
        .collect();
    let ids = |ids: [u32; 2]| ids.map(BlockId).to_vec();
    assert_eq!(chains, [vec![], vec![], ids([0, 1]), ids([0, 2])]);
}

#[test]
fn a_row_that_contradicts_what_earlier_ones_told_is_malformed() {
    let directory = tempfile::tempdir().unwrap();
    let rows = [
        dynamo(0, &blocks(64, "7, 8")),
        dynamo(1, &blocks(32, "7, 8, 9, 10")),
        dynamo(2, &blocks(64, "7, 8, 9")),
        dynamo(3, &blocks(0, "7")),
        dynamo(4, &blocks(64, "7, 10")),
    ];
    let (_, done) = taken(directory.path(), ImportFormat::Dynamo, &rows, false);
    let error = done.unwrap_err();
    assert!(
        matches!(error, InteropError::Row { line: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("64"), "{error}");
    let (trace, done) = taken(directory.path(), ImportFormat::Dynamo, &rows, true);
    let done = done.unwrap();
    assert_eq!((done.rows, done.skipped), (2, 3));
    assert_eq!(open(&trace).totals().lost(), 3);
}

#[test]
fn lines_of_two_traces_that_were_recorded_otherwise_are_no_one_trace() {
    let directory = tempfile::tempdir().unwrap();
    let rows = [dynamo(0, &blocks(64, "7, 8"))];
    let (trace, done) = taken(directory.path(), ImportFormat::Dynamo, &rows, false);
    done.unwrap();
    let text = directory.path().join("out.jsonl");
    super::give(ExportFormat::Jsonl, &trace, &text);
    let text = fs::read_to_string(text).unwrap();
    let other = text.replacen("\"size\":64", "\"size\":16", 1);
    assert_ne!(text, other);
    let (inner, lines) = (directory.path().join("two"), |text: &str| -> Vec<_> {
        text.lines().map(str::to_owned).collect()
    });
    fs::create_dir(&inner).unwrap();
    let both = [lines(&text), lines(&other)].concat();
    let (_, done) = taken(&inner, ImportFormat::Jsonl, &both, false);
    let error = done.unwrap_err();
    assert!(
        matches!(error, InteropError::Row { line: 3, .. }),
        "{error}"
    );
    let twice = [lines(&text), lines(&text)].concat();
    let (_, done) = taken(&inner, ImportFormat::Jsonl, &twice, false);
    assert_eq!(done.unwrap().rows, 2);
}

#[test]
fn files_that_were_not_recorded_alike_do_not_go_out_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let paths = [64, 16].map(|size| {
        let inner = directory.path().join(size.to_string());
        fs::create_dir(&inner).unwrap();
        let rows = [dynamo(0, &blocks(size, "7, 8"))];
        let (trace, done) = taken(&inner, ImportFormat::Dynamo, &rows, false);
        done.unwrap();
        trace
    });
    let output = directory.path().join("out.jsonl");
    let given = |paths: &[PathBuf], format| {
        let mut trace = Trace::open(paths).unwrap();
        export(format, &mut trace, &output, &ExportOptions::default())
    };
    for format in [ExportFormat::Jsonl, ExportFormat::Mooncake] {
        let error = given(&paths, format).unwrap_err();
        assert!(
            matches!(&error, InteropError::Trace(TraceError::Unlike { path, .. }) if *path == paths[1]),
            "{error}"
        );
        assert!(error.hint().is_some());
        assert!(!output.exists());
    }
    assert_eq!(given(&paths[..1], ExportFormat::Jsonl).unwrap().rows, 1);
}

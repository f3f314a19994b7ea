//! Other tools' traces in and out, over real rows (see fixtures/traces/README.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(feature = "parquet")]
mod columns;
mod command_line;
mod headers;
mod round_trips;
mod rows;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use reenact::interop::{
    ExportFormat, ExportOptions, Exported, ImportFormat, ImportOptions, export, import,
};
use reenact::trace::Trace;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/traces")
        .join(name)
}

/// The golden traces that are finished, of every version.
fn goldens() -> Vec<PathBuf> {
    let mut goldens: Vec<_> = std::fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("golden-")
        })
        .filter(|path| path.extension().unwrap() == "jsonl")
        .map(|path| path.with_extension("rt"))
        .collect();
    goldens.sort();
    assert!(goldens.len() >= 5, "{goldens:?}");
    goldens
}

fn open(path: &Path) -> Trace {
    Trace::open(&[path.to_owned()]).unwrap()
}

fn take(format: ImportFormat, from: &Path, to: &Path) {
    import(format, from, to, &ImportOptions::default()).unwrap();
}

fn give(format: ExportFormat, from: &Path, to: &Path) -> Exported {
    export(format, &mut open(from), to, &ExportOptions::default()).unwrap()
}

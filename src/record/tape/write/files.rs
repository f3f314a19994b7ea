//! What the files of a recorder begin with and lie in.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::record::options::TraceOptions;
use crate::shape::BlockSpec;
use crate::trace::{Header, Rotation, Source, TraceError};

/// The header of every file, but for the wall clock.
pub(super) fn header(options: &TraceOptions, run: u64) -> Header {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a million"
    )]
    let sample_ppm = (options.share().clamp(0.0, 1.0) * 1e6).round() as u32;
    Header {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        source: Source::Recorded,
        block: Some(match options.tokenizer {
            Some(_) => BlockSpec::TOKENS,
            None => BlockSpec::LIVE,
        }),
        epoch_unix_us: None,
        run,
        sample_ppm,
        policy: Some(options.told_policy()),
        envelope: None,
    }
}

/// How much of the old files is kept. With a store, whoever carries them there removes them.
pub(super) fn kept(options: &TraceOptions) -> Rotation {
    let keeping = &options.keeping;
    match keeping.store {
        Some(_) => Rotation::default(),
        None => Rotation {
            keep_bytes: keeping.keep_bytes,
            keep_age: keeping.keep_age,
            ..Rotation::default()
        },
    }
}

/// Where a file is: its device and number.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path)
        .ok()
        .map(|meta| (meta.dev(), meta.ino()))
}

pub(super) fn taken_away(path: PathBuf) -> TraceError {
    TraceError::Io {
        path,
        source: io::Error::new(io::ErrorKind::NotFound, "the file has been taken away"),
    }
}

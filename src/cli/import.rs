use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::{Exit, Failure};
use super::progress::{Bar, Unit};
use super::values;
use crate::interop::{ImportFormat, ImportOptions, InteropError, TimeUnit, import};

/// Turn another tool's trace into a reenact trace
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The format of FILE
    #[arg(value_enum)]
    format: ImportFormat,

    /// The file to read; gzip and zstd are undone by themselves, and `-` is standard input
    file: PathBuf,

    /// The trace to write (*.rt), a file or a URL in a store; it must not be there yet, and appears only when it is whole
    #[arg(short, long, value_name = "TRACE")]
    output: PathBuf,

    /// Leave malformed rows out and count them, instead of giving up at the first
    #[arg(long)]
    skip_bad: bool,

    /// A model name that may be kept as it is (repeatable); all others become pseudonyms
    #[arg(long, value_name = "NAME")]
    keep_model: Vec<String>,

    /// The label under which FILE has a field: timestamp=ts (repeatable; mooncake, aiperf, vllm-timed-trace)
    #[arg(long, value_name = "FIELD=LABEL", value_parser = column)]
    column: Vec<(String, String)>,

    /// What `timestamp` is counted in, where it is not the format's own unit (mooncake, aiperf, vllm-timed-trace)
    #[arg(long, value_enum, value_name = "UNIT")]
    time_unit: Option<TimeUnit>,

    /// Tokens in a block, where they are not the format's own number (mooncake, aiperf, vllm-timed-trace, baseten)
    #[arg(long, value_name = "N")]
    block_tokens: Option<NonZeroU32>,

    /// How far apart requests or sessions begin where FILE does not say when [default: 1s] (weka, aiperf, vllm-custom,
    /// evalscope)
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    spacing: Option<Duration>,
}

fn column(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, label)) if !field.is_empty() && !label.is_empty() => {
            Ok((field.to_owned(), label.to_owned()))
        }
        _ => Err("not FIELD=LABEL; write timestamp=ts".to_owned()),
    }
}

/// Runs `reenact import`.
///
/// # Errors
/// When the file cannot be read, has a malformed row, or the trace cannot be written.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
pub(super) fn run(args: &ImportArgs) -> Result<Exit, Failure> {
    let options = ImportOptions {
        skip_bad: args.skip_bad,
        keep_models: args.keep_model.iter().cloned().collect(),
        columns: args.column.clone(),
        time_unit: args.time_unit,
        block_tokens: args.block_tokens,
        spacing: args.spacing,
        ..ImportOptions::default()
    };
    let progress = options.progress.clone();
    let bar = Bar::show(move || progress.done(), bytes_of(&args.file), Unit::Bytes);
    let done = import(args.format, &args.file, &args.output, &options);
    drop(bar);
    let done = done.map_err(failure)?;
    super::inspect::tell_written(&args.output, done.rows);
    if let Some((line, reason)) = done.first_skipped {
        anstream::eprintln!(
            "warning: {} malformed rows were left out; the first is line {line}: {reason}",
            done.skipped
        );
    }
    Ok(Exit::Ok)
}

fn bytes_of(file: &Path) -> Option<u64> {
    let meta = file.metadata().ok()?;
    meta.is_file().then_some(meta.len())
}

/// An interop error with its hint.
pub(super) fn failure(error: InteropError) -> Failure {
    let hint = error.hint();
    let failure = if error.is_usage() {
        Failure::usage(error)
    } else {
        Failure::could_not_run(error)
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

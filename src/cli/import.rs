use std::path::PathBuf;

use super::failure::{Exit, Failure};
use crate::interop::{ImportFormat, ImportOptions, InteropError, import};

/// Turn another tool's trace into a reenact trace
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The format of FILE
    #[arg(value_enum)]
    format: Format,

    /// The file to read; gzip is undone by itself, and `-` is standard input
    file: PathBuf,

    /// The trace to write (*.rt); it must not be there yet, and appears only when it is whole
    #[arg(short, long, value_name = "TRACE")]
    output: PathBuf,

    /// Leave malformed rows out and count them, instead of giving up at the first
    #[arg(long)]
    skip_bad: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// JSON lines with timestamp (ms), input_length, output_length and hash_ids of 512-token blocks
    Mooncake,
    /// CSV with TIMESTAMP, ContextTokens and GeneratedTokens (2023 and 2024)
    Azure,
}

/// Runs `reenact import`.
///
/// # Errors
/// When the file cannot be read, has a malformed row, or the trace cannot be written.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
pub(super) fn run(args: &ImportArgs) -> Result<Exit, Failure> {
    let format = match args.format {
        Format::Mooncake => ImportFormat::Mooncake,
        Format::Azure => ImportFormat::Azure,
    };
    let options = ImportOptions {
        skip_bad: args.skip_bad,
    };
    let done = import(format, &args.file, &args.output, options).map_err(failure)?;
    let bytes = args.output.metadata().map_or(0, |meta| meta.len());
    anstream::eprintln!(
        "wrote {}: {} exchanges, {bytes} bytes",
        args.output.display(),
        done.rows
    );
    if let Some((line, reason)) = done.first_skipped {
        anstream::eprintln!(
            "warning: {} malformed rows were left out; the first is line {line}: {reason}",
            done.skipped
        );
    }
    Ok(Exit::Ok)
}

/// An interop error with its hint.
pub(super) fn failure(error: InteropError) -> Failure {
    let hint = error.hint();
    let failure = Failure::could_not_run(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

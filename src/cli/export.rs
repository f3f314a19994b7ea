use std::path::PathBuf;

use super::failure::{Exit, Failure};
use crate::interop::{ExportFormat, export};
use crate::trace::Trace;

/// Write a trace in another tool's format
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The format to write
    #[arg(value_enum)]
    format: Format,

    /// Trace files, or directories of them; several are read as one trace
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// The file to write, compressed if it ends in .gz; `-` is standard output. It must not be there yet, and appears
    /// only when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// JSON lines with timestamp (ms), input_length, output_length and hash_ids of 512-token blocks
    Mooncake,
}

/// Runs `reenact export`.
///
/// # Errors
/// When the trace cannot be read, the file cannot be written, or no exchange has a row.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
pub(super) fn run(args: &ExportArgs) -> Result<Exit, Failure> {
    let format = match args.format {
        Format::Mooncake => ExportFormat::Mooncake,
    };
    let mut trace = Trace::open(&args.traces).map_err(super::inspect::failure)?;
    let done = match export(format, &mut trace, &args.output).map_err(super::import::failure) {
        Err(failure) if failure.is_broken_pipe() => return Ok(Exit::Ok),
        Err(failure) => {
            super::inspect::warn_of_damage(&trace);
            return Err(failure);
        }
        Ok(done) => done,
    };
    anstream::eprintln!("wrote {} rows", done.rows);
    for (reason, count) in done.left_out {
        anstream::eprintln!("warning: {count} exchanges were left out: {reason}");
    }
    super::inspect::warn_of_damage(&trace);
    Ok(Exit::Ok)
}

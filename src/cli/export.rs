use std::num::NonZeroU32;
use std::path::PathBuf;

use super::failure::{Exit, Failure};
use super::progress::{Bar, Unit};
use crate::interop::{ExportFormat, ExportOptions, export};
use crate::trace::Trace;
use crate::wording::{counted, counted_were};

/// Write a trace in another tool's format
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The format to write
    #[arg(value_enum)]
    format: ExportFormat,

    /// Trace files, or directories of them; several are read as one trace
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// The file to write, or its URL in a store; compressed if it ends in .gz or .zst; `-` is standard output. It must not be there yet, and
    /// appears only when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Tokens in a block [default: 16] (vllm-timed-trace)
    #[arg(long, value_name = "N")]
    block_tokens: Option<NonZeroU32>,
}

/// Runs `reenact export`.
///
/// # Errors
/// When the trace cannot be read, the file cannot be written, or no exchange has a row.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
pub(super) fn run(args: &ExportArgs) -> Result<Exit, Failure> {
    let mut trace = Trace::open(&args.traces).map_err(super::inspect::failure)?;
    super::inspect::warn_of_sequence(&trace);
    let options = ExportOptions {
        block_tokens: args.block_tokens,
        ..ExportOptions::default()
    };
    let total = Some(trace.exchange_count());
    let progress = options.progress.clone();
    let bar = Bar::show(move || progress.done(), total, Unit::Exchanges);
    let done = export(args.format, &mut trace, &args.output, &options);
    drop(bar);
    let done = match done.map_err(super::import::failure) {
        Err(failure) if failure.is_broken_pipe() => return Ok(Exit::Ok),
        Err(failure) => {
            super::inspect::warn_of_damage(&trace);
            return Err(failure);
        }
        Ok(done) => done,
    };
    anstream::eprintln!("wrote {}", counted(done.rows, "row"));
    for (reason, count) in done.left_out {
        let left_out = counted_were(count, "exchange");
        anstream::eprintln!("warning: {left_out} left out: {reason}");
    }
    super::inspect::warn_of_damage(&trace);
    Ok(Exit::Ok)
}

use std::path::PathBuf;

use super::super::failure::{Exit, Failure};
use super::super::inspect;
use crate::trace::{self, Trace};

/// Write what can be read of a damaged or unfinished trace as a whole one
#[derive(Debug, clap::Args)]
pub(super) struct RepairArgs {
    /// A trace file, a directory of one recorder run, or the URL of either in a store
    #[arg(value_name = "TRACE")]
    trace: PathBuf,

    /// The trace to write (*.rt), a file or a URL in a store; it must not be there yet, and appears only when it is whole
    #[arg(short, long, value_name = "TRACE")]
    output: PathBuf,
}

/// Runs `reenact trace repair`.
///
/// # Errors
/// When nothing of the trace can be read, or the new one cannot be written.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
pub(super) fn run(args: &RepairArgs) -> Result<Exit, Failure> {
    let mut trace = Trace::open(std::slice::from_ref(&args.trace)).map_err(inspect::failure)?;
    super::tell_if_in_clear(&trace, &args.output)?;
    let copied = trace::repair(&mut trace, &args.output).map_err(inspect::failure)?;
    inspect::tell_written(&args.output, copied.exchanges);
    match copied.damage.is_loss() {
        true => anstream::eprintln!("lost: {}", copied.damage),
        false => anstream::eprintln!("nothing was lost"),
    }
    Ok(Exit::Ok)
}

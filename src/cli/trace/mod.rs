//! `reenact trace`: what can be done to trace files. One file for each command below it.

use std::path::Path;

use super::failure::{Exit, Failure, Hint};
use super::inspect;
use crate::trace::{Copied, Trace, TraceError};

mod filter;
mod head;
mod merge;
mod repair;
mod slice;
mod verify;

/// Merge, cut, filter, check and repair trace files
///
/// Every TRACE is a file, a directory of them, or a URL of either in a store: s3://BUCKET/KEY, gs://… or az://…. A new trace
/// appears only when it is whole, and never over another file.
#[derive(Debug, clap::Args)]
pub(super) struct TraceArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Merge(merge::MergeArgs),
    Slice(slice::SliceArgs),
    Filter(filter::FilterArgs),
    Head(head::HeadArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
}

/// Runs `reenact trace`.
///
/// # Errors
/// When a trace cannot be read or written.
pub(super) fn run(args: &TraceArgs) -> Result<Exit, Failure> {
    match &args.command {
        Command::Merge(args) => merge::run(args),
        Command::Slice(args) => slice::run(args),
        Command::Filter(args) => filter::run(args),
        Command::Head(args) => head::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Repair(args) => repair::run(args),
    }
}

/// What comes of a sealed trace is in clear: says so, and refuses to give it the name of a sealed one.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
fn tell_if_in_clear(trace: &Trace, output: &Path) -> Result<(), Failure> {
    if output.extension().is_some_and(|end| end == "age") {
        return Err(Failure::usage(anyhow::anyhow!(
            "{}: a trace that is written here is in clear, and this is the name of a sealed one",
            output.display()
        ))
        .hint("call it *.rt, and seal it with `age -e` where it must leave this machine"));
    }
    if trace.headers().any(|header| header.envelope.is_some()) {
        anstream::eprintln!(
            "warning: the trace is sealed, and {} will be in clear",
            output.display()
        );
    }
    Ok(())
}

/// Says what was written, and what of the old trace could not be read.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
fn wrote(
    output: &Path,
    trace: &Trace,
    copied: Result<Copied, TraceError>,
) -> Result<Exit, Failure> {
    let copied = copied.map_err(inspect::failure)?;
    inspect::tell_written(output, copied.exchanges);
    inspect::warn_of_damage(trace);
    Ok(Exit::Ok)
}

/// The same where the new trace is a part: what the old one lacks may be missing in it, too.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
fn wrote_part(
    output: &Path,
    trace: &Trace,
    copied: Result<Copied, TraceError>,
) -> Result<Exit, Failure> {
    let empty = matches!(&copied, Ok(copied) if copied.exchanges == 0);
    let exit = wrote(output, trace, copied)?;
    if empty {
        anstream::eprintln!("warning: no exchange is in this part");
        anstream::eprintln!(
            "{}",
            Hint("`reenact inspect` shows the trace's times, models, endpoints and conversations")
        );
    }
    if let Some(missing) = trace.totals().missing() {
        anstream::eprintln!("warning: the whole trace lacks {missing}");
        anstream::eprintln!(
            "{}",
            Hint("nobody knows how many of them would be in this part; its own accounts say none")
        );
    }
    Ok(exit)
}

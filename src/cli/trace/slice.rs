use std::path::PathBuf;
use std::time::Duration;

use super::super::failure::{Exit, Failure};
use super::super::{inspect, values};
use crate::shape::TraceTime;
use crate::trace::{self, Trace};

/// Write what arrived within a span of time as a trace of its own
///
/// Times are those of the trace, as `replay` has them. Blocks outside the span are not read.
#[derive(Debug, clap::Args)]
pub(super) struct SliceArgs {
    /// Trace files, directories of them, or URLs in a store; several are read as one trace
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// The trace to write (*.rt), a file or a URL in a store; it must not be there yet, and appears only when it is whole
    #[arg(short, long, value_name = "TRACE")]
    output: PathBuf,

    /// Leave out what arrived before this moment of the trace
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    from: Option<Duration>,

    /// Leave out what arrived at or after this moment of the trace
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    to: Option<Duration>,

    /// Write at most this many exchanges
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>)]
    limit: Option<u64>,
}

/// Runs `reenact trace slice`.
///
/// # Errors
/// When a trace cannot be read or written.
pub(super) fn run(args: &SliceArgs) -> Result<Exit, Failure> {
    values::span(args.from, args.to)?;
    let mut trace = Trace::open(&args.traces).map_err(inspect::failure)?;
    super::tell_if_in_clear(&trace, &args.output)?;
    let (from, to) = (args.from.map(moment), args.to.map(moment));
    let copied = trace::slice(&mut trace, from, to, args.limit, &args.output);
    super::wrote_part(&args.output, &trace, copied)
}

fn moment(since_epoch: Duration) -> TraceTime {
    TraceTime::from_us(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}

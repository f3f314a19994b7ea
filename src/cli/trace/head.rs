use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::super::failure::{Exit, Failure};
use super::super::{inspect, values};
use crate::trace::{self, Trace};

/// Show the first exchanges of a trace, as lines of JSON or as a trace
#[derive(Debug, clap::Args)]
pub(super) struct HeadArgs {
    /// Trace files, directories of them, or URLs in a store; several are read as one trace
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value = "10", value_parser = values::whole::<u64>)]
    limit: u64,

    /// Write a trace (*.rt) instead of lines of JSON; it must not be there yet, and appears only when it is whole
    #[arg(short, long, value_name = "TRACE")]
    output: Option<PathBuf>,
}

/// Runs `reenact trace head`.
///
/// # Errors
/// When a trace cannot be read or written.
pub(super) fn run(args: &HeadArgs) -> Result<Exit, Failure> {
    let mut trace = Trace::open(&args.traces).map_err(inspect::failure)?;
    if let Some(output) = &args.output {
        super::tell_if_in_clear(&trace, output)?;
        let copied = trace::head(&mut trace, args.limit, output);
        return super::wrote_part(output, &trace, copied);
    }
    match lines(&mut trace, args.limit) {
        Err(failure) if failure.is_broken_pipe() => Ok(Exit::Ok),
        Err(failure) => Err(failure),
        Ok(()) => {
            inspect::warn_of_damage(&trace);
            Ok(Exit::Ok)
        }
    }
}

fn lines(trace: &mut Trace, limit: u64) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    for exchange in trace.exchanges().take(limit) {
        let exchange = exchange.map_err(inspect::failure)?;
        serde_json::to_writer(&mut out, &exchange).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

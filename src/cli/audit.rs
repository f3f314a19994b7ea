use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::failure::{Exit, Failure};
use super::inspect::{failure, quiet, warn_of_damage};
use super::values;
use crate::measure::audit::{AuditMeter, Bar};
use crate::report::audit::AuditReport;
use crate::trace::Trace;

/// Show what in a trace could identify someone: rare values, unique shapes, what can be linked
///
/// Ends in 3 where a trace is below a bar (--min-k, --max-unique, --max-entropy). Holds at most about 128 MiB; in a trace with
/// more different values than that it errs towards more risk, and says so.
#[derive(Debug, clap::Args)]
pub(super) struct AuditArgs {
    /// Trace files, or directories of them; several are read as one trace
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// Ask that every request shape (endpoint, model, prompt length to an eighth, messages, tools, media, tensors, streaming) be that
    /// of at least K exchanges
    #[arg(long, value_name = "K", value_parser = values::whole::<u64>)]
    min_k: Option<u64>,
    /// Ask that at most this share of exchanges have an exact shape (endpoint, model, tokens, bytes) of their own
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    max_unique: Option<f64>,
    /// Ask that no field tell more than this on average
    #[arg(long, value_name = "BITS", value_parser = bits)]
    max_entropy: Option<f64>,
    /// Print one JSON document (schema reenact.audit/1) instead of text
    #[arg(long)]
    json: bool,
}

/// Runs `reenact audit`.
///
/// # Errors
/// When a trace cannot be read.
pub(super) fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    let mut trace = Trace::open(&args.traces).map_err(failure)?;
    let mut meter = AuditMeter::default();
    for exchange in trace.exchanges() {
        meter.add(&exchange.map_err(failure)?);
    }
    let audit = meter.finish(Bar {
        min_k: args.min_k,
        max_unique: args.max_unique,
        max_entropy_bits: args.max_entropy,
    });
    let exit = match audit.missed.is_empty() {
        true => Exit::Ok,
        false => Exit::ObjectiveMissed,
    };
    let report = AuditReport::new(&trace, audit);
    quiet(show(&report, args.json))?;
    warn_of_damage(&trace);
    Ok(exit)
}

fn show(report: &AuditReport, json: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(out.flush()?)
}

fn bits(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(bits) if bits.is_finite() && bits >= 0.0 => Ok(bits),
        _ => Err("not a number of bits; write 8 or 0.5".to_owned()),
    }
}

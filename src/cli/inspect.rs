use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure, Hint, HintExt};
use crate::measure::traffic::TrafficMeter;
use crate::measure::traffic::picture::PictureMeter;
use crate::report::inspect::Inspection;
use crate::report::policy::Policies;
use crate::trace::{Source, Trace, TraceError};
use crate::wording::counted;

/// Show what is in a trace: counts, rates, burstiness, token and latency distributions, prefix sharing, errors
#[derive(Debug, clap::Args)]
pub(super) struct InspectArgs {
    /// Trace files, or directories of them; several are read as one trace
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// Print one JSON document (schema reenact.inspect/1) instead of text
    #[arg(long)]
    json: bool,

    /// Also draw the traffic as a self-contained HTML page: arrivals, burstiness, load, tokens, latencies, prefix sharing, sessions
    #[arg(long, value_name = "FILE", conflicts_with = "exchanges")]
    html: Option<PathBuf>,

    /// Print every exchange as a line of JSON, in order of arrival, instead of the statistics (with or without --json)
    #[arg(long)]
    exchanges: bool,

    /// Print what the recorder was told to keep, drop and change, as the trace says (with --json as reenact.policy/1). Needs no
    /// identity
    #[arg(long, conflicts_with = "exchanges")]
    policy: bool,
}

/// Runs `reenact inspect`.
///
/// # Errors
/// When a trace cannot be read.
pub(super) fn run(args: &InspectArgs) -> Result<Exit, Failure> {
    let out = BufWriter::new(io::stdout().lock());
    if args.policy {
        quiet(policies(&args.traces, args.json, out))?;
        return Ok(Exit::Ok);
    }
    let mut trace = Trace::open(&args.traces).map_err(failure)?;
    warn_of_sequence(&trace);
    if args.exchanges {
        quiet(exchanges(&mut trace, out))?;
    } else {
        quiet(statistics(&mut trace, args, out))?;
    }
    Ok(Exit::Ok)
}

fn policies(traces: &[PathBuf], json: bool, mut out: impl Write) -> Result<(), Failure> {
    let policies = Policies::new(Trace::headers_of(traces).map_err(failure)?);
    if json {
        serde_json::to_writer_pretty(&mut out, &policies).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{policies}")?;
    }
    Ok(out.flush()?)
}

fn exchanges(trace: &mut Trace, mut out: impl Write) -> Result<(), Failure> {
    for exchange in trace.exchanges() {
        serde_json::to_writer(&mut out, &exchange.map_err(failure)?).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    warn_of_damage(trace);
    Ok(())
}

fn statistics(trace: &mut Trace, args: &InspectArgs, mut out: impl Write) -> Result<(), Failure> {
    let header = trace.shared_header().map_err(failure)?;
    let mut meter = TrafficMeter::new(header.block, header.source == Source::Recorded);
    let mut picture = PictureMeter::new(header.block);
    for exchange in trace.exchanges() {
        let exchange = exchange.map_err(failure)?;
        meter.add(&exchange);
        picture.add(&exchange);
    }
    let inspection = Inspection::new(trace, &header, meter.finish(), picture.finish());
    if let Some(path) = &args.html {
        if path.is_dir() {
            return Err(Failure::usage(anyhow::anyhow!(
                "--html {}: it is a directory",
                path.display()
            ))
            .hint("--html takes the file to write"));
        }
        inspection
            .write_html(path)
            .hint("--html takes the file to write, in a directory that exists")?;
    }
    if args.json {
        serde_json::to_writer_pretty(&mut out, &inspection).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{inspection}")?;
    }
    out.flush()?;
    warn_of_damage(trace);
    Ok(())
}

/// Says what was written, and how large it is where it lies here.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
pub(super) fn tell_written(output: &Path, exchanges: u64) {
    let shown = output.display();
    let exchanges = counted(exchanges, "exchange");
    match output.metadata() {
        Ok(meta) => {
            let bytes = meta.len();
            anstream::eprintln!("wrote {shown}: {exchanges}, {}", counted(bytes, "byte"));
        }
        Err(_) => anstream::eprintln!("wrote {shown}: {exchanges}"),
    }
}

/// Says that recorders of one time are read as if one had followed the other, where they are.
#[allow(clippy::print_stderr, reason = "a note beside machine-clean output")]
pub(super) fn warn_of_sequence(trace: &Trace) {
    if trace.parts_clocks() {
        anstream::eprintln!(
            "warning: these recorders ran at one time, and are read one after another"
        );
        anstream::eprintln!("{}", Hint(MERGE));
    }
}

const MERGE: &str = "`reenact trace merge TRACE… -o all.rt` puts them side by side by their clocks";

/// Says what of the trace could not be read, where something could not.
#[allow(clippy::print_stderr, reason = "a note beside machine-clean output")]
pub(super) fn warn_of_damage(trace: &Trace) {
    let damage = trace.damage();
    if damage.is_loss() {
        anstream::eprintln!("warning: the trace is damaged: {damage}");
        anstream::eprintln!("{}", Hint(DAMAGED));
    }
}

/// The reader of our output may leave when it has seen enough (`| head`).
pub(super) fn quiet(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.is_broken_pipe() => Ok(()),
        other => other,
    }
}

/// A trace's error with its hint.
pub(super) fn failure(error: TraceError) -> Failure {
    let hint = error.hint();
    let failure = Failure::could_not_run(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What to do about a damaged trace.
pub(super) const DAMAGED: &str = "what is sound is read; if the file is a copy, copy it again";

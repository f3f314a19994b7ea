use std::path::PathBuf;

use super::super::failure::{Exit, Failure};
use super::super::{inspect, values};
use crate::trace::{self, Trace};

/// Put traces together, in order of time and in full blocks
///
/// Files of one recorder run share a clock. Those of several recorders are put side by side by the wall clocks that they
/// recorded with --keep-wall-clock. One trace alone becomes compact: the small blocks of a quiet recording become full ones.
#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// Trace files, directories of them, or URLs in a store
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// The trace to write (*.rt), a file or a URL in a store; it must not be there yet, and appears only when it is whole
    #[arg(short, long, value_name = "TRACE")]
    output: PathBuf,

    /// What to add to the times of one TRACE, named as it is given or by its last part, because its machine's clock was wrong:
    /// node-b=-250ms where it was 250 ms ahead (may be given several times)
    #[arg(long, value_name = "NAME=±DURATION", value_parser = skew, allow_hyphen_values = true)]
    skew: Vec<(String, i64)>,

    /// Put runs of a recorder one after another, in the order in which they are given and without the pauses between them, as
    /// every other command reads them: no clock is needed
    #[arg(long, conflicts_with = "skew")]
    in_sequence: bool,
}

/// Runs `reenact trace merge`.
///
/// # Errors
/// When a trace cannot be read or written, or nobody knows how they stand to each other.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
pub(super) fn run(args: &MergeArgs) -> Result<Exit, Failure> {
    let skewed = skewed(&args.traces, &args.skew)?;
    let mut trace = Trace::open(&args.traces).map_err(inspect::failure)?;
    if trace.run().is_none() {
        if !args.in_sequence {
            trace = Trace::open_by_clock(&skewed).map_err(inspect::failure)?;
        }
        tell_offsets(&trace);
    } else if let Some((name, _)) = args.skew.first() {
        return Err(Failure::usage(anyhow::anyhow!(
            "--skew {name}: all files are of one recorder run, and so of one clock"
        ))
        .hint("leave --skew out"));
    }
    super::tell_if_in_clear(&trace, &args.output)?;
    let copied = trace::merge(&mut trace, &args.output);
    super::wrote(&args.output, &trace, copied)
}

/// Once for each run of files that were moved alike.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
fn tell_offsets(trace: &Trace) {
    let mut before = None;
    for ((path, shift_us), run) in trace.shifts_us().zip(trace.headers().map(|h| h.run)) {
        if before.replace((run, shift_us)) != Some((run, shift_us)) {
            let shift = std::time::Duration::from_micros(shift_us).as_secs_f64();
            anstream::eprintln!("{}: its clock begins at {shift:.6} s", path.display());
        }
    }
}

/// Each trace with its skew in microseconds.
fn skewed(traces: &[PathBuf], skews: &[(String, i64)]) -> Result<Vec<(PathBuf, i64)>, Failure> {
    let mut skewed: Vec<_> = traces.iter().map(|path| (path.clone(), 0)).collect();
    for (name, skew_us) in skews {
        let mut named = skewed.iter_mut().filter(|(path, _)| is_called(path, name));
        let (Some((_, of)), None) = (named.next(), named.next()) else {
            let names: Vec<_> = traces
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            return Err(Failure::usage(anyhow::anyhow!(
                "--skew {name}: there is not exactly one TRACE of that name"
            ))
            .hint(format!("name one of {}", names.join(", "))));
        };
        *of = *skew_us;
    }
    Ok(skewed)
}

fn is_called(path: &std::path::Path, name: &str) -> bool {
    path.as_os_str() == name || path.file_name().is_some_and(|last| last == name)
}

fn skew(text: &str) -> Result<(String, i64), String> {
    let wrong = || "not a skew; write NAME=+250ms or NAME=-1.5s".to_owned();
    let (name, skew) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (sign, length) = match skew.strip_prefix('-') {
        Some(length) => (-1, length),
        None => (1, skew.strip_prefix('+').unwrap_or(skew)),
    };
    let length = values::duration(length).map_err(|_| wrong())?;
    let us = i64::try_from(length.as_micros()).map_err(|_| wrong())?;
    match name {
        "" => Err(wrong()),
        name => Ok((name.to_owned(), sign * us)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_has_a_name_and_a_sign() {
        assert_eq!(skew("b=+250ms"), Ok(("b".to_owned(), 250_000)));
        assert_eq!(skew("a/b=c=-1.5s"), Ok(("a/b=c".to_owned(), -1_500_000)));
        assert_eq!(skew("b=2s"), Ok(("b".to_owned(), 2_000_000)));
        for wrong in ["b", "=1s", "b=soon", "b=--1s"] {
            assert!(skew(wrong).unwrap_err().contains("+250ms"), "{wrong}");
        }
    }

    #[test]
    fn a_skew_is_for_exactly_one_trace() {
        let traces = ["x/a", "y/b/", "s3://bucket/c"].map(PathBuf::from);
        let of = |name: &str| skewed(&traces, &[(name.to_owned(), 7)]);
        let skews = |name: &str| {
            of(name)
                .unwrap()
                .into_iter()
                .map(|(_, us)| us)
                .collect::<Vec<_>>()
        };
        assert_eq!(skews("a"), [7, 0, 0]);
        assert_eq!(skews("y/b/"), [0, 7, 0]);
        assert_eq!(skews("b"), [0, 7, 0]);
        assert_eq!(skews("c"), [0, 0, 7]);
        assert!(of("d").unwrap_err().to_string().contains("name one of x/a"));
        let twice = ["x/a", "y/a"].map(PathBuf::from);
        assert!(skewed(&twice, &[("a".to_owned(), 7)]).is_err());
    }
}

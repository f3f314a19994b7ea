use std::io::{self, Write};
use std::path::PathBuf;

use super::super::failure::{Exit, Failure};
use super::super::inspect;
use crate::trace::{self, FileCheck};
use crate::wording::counted;

/// Check every checksum and every block of trace files
///
/// Exit code 0: nothing is damaged; 1: something is. A file without an index (its recorder runs still, or was killed) is
/// not damaged for that.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Trace files, directories of them, or URLs in a store
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// Say it in JSON (schema reenact.verify/1)
    #[arg(long)]
    json: bool,
}

/// Runs `reenact trace verify`.
///
/// # Errors
/// When a path cannot be read, or is no trace.
pub(super) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let checks = trace::verify(&args.traces).map_err(inspect::failure)?;
    let is_sound = checks.iter().all(FileCheck::is_sound);
    match say(&checks, is_sound, args.json) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ if is_sound => Ok(Exit::Ok),
        _ => Ok(Exit::CouldNotRun),
    }
}

fn say(checks: &[FileCheck], is_sound: bool, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let sum = |of: fn(&FileCheck) -> u64| checks.iter().map(of).sum::<u64>();
    let blocks = sum(|check| check.blocks);
    let exchanges = sum(|check| check.exchanges);
    let lost_exchanges = sum(|check| check.lost_exchanges);
    if json {
        let document = serde_json::json!({
            "schema": "reenact.verify/1", "ok": is_sound, "blocks": blocks, "exchanges": exchanges,
            "lost_exchanges": lost_exchanges, "files": checks,
        });
        serde_json::to_writer_pretty(&mut out, &document)?;
        return writeln!(out);
    }
    for check in checks {
        writeln!(out, "{check}")?;
    }
    if checks.len() > 1 {
        let damaged = checks.iter().filter(|check| !check.is_sound()).count();
        writeln!(
            out,
            "{} files, {damaged} damaged: {}, {}; {lost_exchanges} known to be lost",
            checks.len(),
            counted(blocks, "block"),
            counted(exchanges, "exchange")
        )?;
    }
    Ok(())
}

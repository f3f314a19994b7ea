//! The command line: one file for each subcommand, each of which turns arguments into a call into the rooms and the answer
//! into an exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use failure::{Exit, Failure};
use logging::LogFormat;

use crate::record::LogLevels;
use crate::replay::without_user_info;

mod audit;
mod compare;
mod demo;
mod export;
/// Exit codes, and errors with hints.
pub mod failure;
mod gate;
mod import;
mod inspect;
mod layers;
mod logging;
mod merge;
mod progress;
mod record;
mod replay;
mod sim;
mod trace;
pub mod values;

/// Record the shape of real inference traffic, and re-enact it against candidates
///
/// reenact sits in front of an inference server and writes down the shape and timing of every exchange, never its content.
/// Later it re-enacts that traffic against candidates, measures tail latency and VRAM, and ends in a verdict.
#[derive(Debug, Parser)]
#[command(name = "reenact", version, propagate_version = true, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Read options from a TOML file: a table for each command, keys named as its options
    #[arg(long, global = true, display_order = 1000, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The least important log lines shown: error, warn, info, debug or trace (RUST_LOG refines it)
    #[arg(
        long,
        global = true,
        display_order = 1000,
        value_name = "LEVEL",
        default_value = "info"
    )]
    log_level: LevelFilter,
    /// How log lines are written
    #[arg(
        long,
        global = true,
        display_order = 1000,
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    /// An age identity file, to read traces that were recorded with --encrypt-to (may be given several times)
    #[arg(long, global = true, display_order = 1000, value_name = "FILE")]
    identity: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(Box<record::RecordArgs>),
    Replay(Box<replay::ReplayArgs>),
    Gate(gate::GateArgs),
    Merge(merge::MergeArgs),
    Compare(compare::CompareArgs),
    Inspect(inspect::InspectArgs),
    Audit(audit::AuditArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Trace(trace::TraceArgs),
    Sim(Box<sim::SimArgs>),
    Demo(demo::DemoArgs),
}

const AFTER_HELP: &str = "\
Every option of a command can also come from the environment (--trace-dir as REENACT_TRACE_DIR; several values \
separated by commas) or from --config FILE ([record] trace-dir = \"…\"). The command line wins over the environment, \
and that over the file; an option that conflicts with one set above it is passed over.

Exit codes: 0 done and every objective met; 1 could not run; 2 wrong usage; 3 an objective was missed; \
4 the measurement is invalid.";

/// Runs the command line `args` (the program's name first) and says how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse(args.into_iter().collect()) {
        Ok(cli) => {
            let log_levels = logging::start(cli.global.log_level, cli.global.log_format);
            unlock(&cli.global.identity)
                .and_then(|()| dispatch(&cli.command, log_levels))
                .unwrap_or_else(|failure| complain(&failure))
                .into()
        }
        Err(Misread::Clap { error, hint }) => {
            // Help and version go to standard output and end in 0, the rest to standard error and 2.
            match hint {
                None => drop(error.print()),
                Some(hint) => complain_of_usage(&error, &hint),
            }
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Err(Misread::Layer(error)) => {
            let hint = error.hint();
            complain(&Failure::usage(error).hint(hint)).into()
        }
    }
}

/// From here on every sealed trace of these identities opens, whatever command reads it.
fn unlock(identities: &[PathBuf]) -> Result<(), Failure> {
    for path in identities {
        crate::trace::unlock_with(path).map_err(inspect::failure)?;
    }
    Ok(())
}

fn dispatch(command: &Command, log_levels: LogLevels) -> Result<Exit, Failure> {
    match command {
        Command::Record(args) => record::run(args, log_levels),
        Command::Replay(args) => replay::run(args),
        Command::Gate(args) => gate::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Sim(args) => sim::run(args),
        Command::Demo(args) => demo::run(args),
    }
}

#[allow(clippy::print_stderr, reason = "this is where errors reach the user")]
fn complain(failure: &Failure) -> Exit {
    anstream::eprintln!("{failure}");
    failure.exit()
}

/// What clap says, but for its last line, which is no hint.
#[allow(clippy::print_stderr, reason = "this is where errors reach the user")]
fn complain_of_usage(error: &clap::Error, hint: &str) {
    let text = without_password(error, error.render().ansi().to_string());
    let told = text
        .lines()
        .filter(|line| !line.starts_with("For more information"))
        .collect::<Vec<_>>()
        .join("\n");
    anstream::eprintln!("{}\n{}", told.trim_end(), failure::Hint(hint));
}

/// What clap says, which quotes a wrong value, without the name and password that stand in it where it is a URL with such.
fn without_password(error: &clap::Error, told: String) -> String {
    match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if names_someone(value) => {
            told.replace(value, &without_user_info(value))
        }
        _ => told,
    }
}

fn names_someone(value: &str) -> bool {
    value
        .rsplit_once('@')
        .is_some_and(|(who, _)| who.contains(':'))
}

enum Misread {
    Clap {
        error: clap::Error,
        /// What mends it; nothing needs mending in a call for help.
        hint: Option<String>,
    },
    Layer(layers::LayerError),
}

fn parse(args: Vec<OsString>) -> Result<Cli, Misread> {
    let environment = |name: &str| std::env::var_os(name);
    let layered = layers::lay(&Cli::command(), args, environment).map_err(Misread::Layer)?;
    Cli::command()
        .try_get_matches_from(&layered.args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| Misread::Clap {
            hint: usage_hint(&error, &layered),
            error,
        })
}

/// Where the wrong value was set, if it was not typed; else where to look.
fn usage_hint(error: &clap::Error, layered: &layers::Layered) -> Option<String> {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return None;
    }
    let told = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => arg
            .trim_start_matches("--")
            .split([' ', '='])
            .next()
            .and_then(|long| layered.tell(long)),
        _ => None,
    };
    Some(told.unwrap_or_else(|| match &layered.subcommand {
        Some(name) => format!("`reenact {name} --help` has every option"),
        None => "`reenact --help` has every command".to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_stands_under_the_heading_of_its_own_group() {
        let command = Cli::command();
        let heading = |name: &str, long: &str| {
            let command = command.find_subcommand(name).unwrap();
            let mut args = command.get_arguments();
            let arg = args.find(|arg| arg.get_long() == Some(long)).unwrap();
            arg.get_help_heading()
        };
        for (name, long, told) in [
            ("record", "trace-dir", None),
            ("record", "check", None),
            ("record", "tls-cert", Some("Between the neighbours")),
            ("record", "rotate-size", Some("Trace files")),
            ("record", "keep-model", Some("Privacy")),
            ("record", "mirror", Some("Live shadow traffic")),
            ("record", "connect-timeout", Some("Limits")),
            ("replay", "slo", None),
            ("replay", "dry-run", None),
            ("replay", "speed", Some("Time and load")),
            ("replay", "gpu", Some("Memory and metrics")),
        ] {
            assert_eq!(heading(name, long), told, "{name} --{long}");
        }
    }
}

//! The command line: one file for each subcommand, each of which turns arguments into a call into the rooms and the answer
//! into an exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use failure::{Exit, Failure};
use logging::LogFormat;

use crate::record::LogLevels;

mod demo;
mod export;
/// Exit codes, and errors with hints.
pub mod failure;
mod import;
mod inspect;
mod layers;
mod logging;
mod record;
mod replay;
mod sim;
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
struct Global {
    /// Read options from a TOML file: a table for each command, keys named as its options
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The least important log lines shown: error, warn, info, debug or trace (RUST_LOG refines it)
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,
    /// How log lines are written
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(Box<record::RecordArgs>),
    Replay(Box<replay::ReplayArgs>),
    Inspect(inspect::InspectArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Sim(Box<sim::SimArgs>),
    Demo(demo::DemoArgs),
}

const AFTER_HELP: &str = "\
Every option of a command can also come from the environment (--trace-dir as REENACT_TRACE_DIR; several values \
separated by commas) or from --config FILE ([record] trace-dir = \"…\"). The command line wins over the environment, \
and that over the file.

Exit codes: 0 done and every objective met; 1 could not run; 2 wrong usage; 3 an objective was missed; \
4 the measurement is invalid.";

/// Runs the command line `args` (the program's name first) and says how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse(args.into_iter().collect()) {
        Ok(cli) => {
            let log_levels = logging::start(cli.global.log_level, cli.global.log_format);
            dispatch(&cli.command, log_levels)
                .unwrap_or_else(|failure| complain(&failure))
                .into()
        }
        Err(Misread::Clap { error, told }) => {
            // Help and version go to standard output and end in 0, the rest to standard error and 2.
            let _ = error.print();
            if let Some(told) = told {
                anstream::eprintln!("hint: {told}");
            }
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Err(Misread::Layer(error)) => complain(&Failure::usage(error)).into(),
    }
}

fn dispatch(command: &Command, log_levels: LogLevels) -> Result<Exit, Failure> {
    match command {
        Command::Record(args) => record::run(args, log_levels),
        Command::Replay(args) => replay::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Sim(args) => sim::run(args),
        Command::Demo(args) => demo::run(args),
    }
}

#[allow(clippy::print_stderr, reason = "this is where errors reach the user")]
fn complain(failure: &Failure) -> Exit {
    anstream::eprintln!("{failure}");
    failure.exit()
}

enum Misread {
    Clap {
        error: clap::Error,
        told: Option<String>,
    },
    Layer(layers::LayerError),
}

fn parse(args: Vec<OsString>) -> Result<Cli, Misread> {
    let environment = |name: &str| std::env::var_os(name);
    let file = config_file(&args).or_else(|| environment("REENACT_CONFIG").map(PathBuf::from));
    let (command, provenance) =
        layers::apply(Cli::command(), file.as_deref(), environment).map_err(Misread::Layer)?;
    let subcommand = args.get(1..).unwrap_or_default().iter().find_map(|arg| {
        let arg = arg.to_str()?;
        command
            .find_subcommand(arg)
            .map(|sub| sub.get_name().to_owned())
    });
    command
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| {
            let long = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(arg)) => arg
                    .trim_start_matches("--")
                    .split([' ', '='])
                    .next()
                    .map(str::to_owned),
                _ => None,
            };
            let told = subcommand
                .zip(long)
                .and_then(|(sub, long)| provenance.tell(&sub, &long));
            Misread::Clap { error, told }
        })
}

/// The config file named on the command line: looked for ahead of parsing, since it changes the defaults.
fn config_file(args: &[OsString]) -> Option<PathBuf> {
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let text = arg.to_string_lossy();
        if text == "--config" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(value) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(value));
        }
        if text == "--" {
            break;
        }
    }
    None
}

//! `reenact gate`

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;

use super::failure::{Exit, Failure};
use super::replay;
use super::replay::progress::say;
use crate::gate::{Gate, GateOptions, Reach};

/// Start replays on demand over HTTP, and answer their verdicts: for controllers that cannot wait for one
///
/// What follows `--` is the command line of `reenact replay`, without --out. POST /replays starts it and answers where it stands, GET
/// /replays/ID tells running, passed, failed, invalid, error or cancelled, with reasons; /replays/ID/report.html is its report. A body of
/// {"key": "…"} makes it one replay however often it is asked for, and with --allow-target it may name the targets: {"targets": [{"name": "canary",
/// "url": "http://…"}]}. One replay runs at a time. docs/objectives-and-ci.md has Argo Rollouts and Flagger.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(super) struct GateArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDR")]
    listen: SocketAddr,

    /// Where results go, each in a directory of its own
    #[arg(long, default_value = "results", value_name = "DIR")]
    results: PathBuf,

    /// How many results are kept; the oldest are removed
    #[arg(long, default_value = "20", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    keep: u16,

    /// A host whose servers callers may name as targets: HOST, HOST:PORT or *.DOMAIN; repeatable. Without it the targets are those of the
    /// command line
    #[arg(long = "allow-target", value_name = "HOST")]
    reach: Vec<Reach>,

    /// The file whose content callers must bring as Authorization: Bearer
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The environment variable that holds it
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    token_env: Option<String>,

    /// The command line of `reenact replay`
    #[arg(last = true, required = true, value_name = "REPLAY-ARGS")]
    replay: Vec<OsString>,
}

const EXAMPLE: &str = "\
Example:
  reenact gate --listen 0.0.0.0:8090 --allow-target '*.models.svc.cluster.local' --token-file /run/token -- \\
      s3://traces/production/ --slo 'ttft.p99<+10%' --slo 'errors.rate<0.1%'";

pub(super) fn run(args: &GateArgs) -> Result<Exit, Failure> {
    replay::check_for_gate(&args.replay, !args.reach.is_empty())?;
    let token = token(args)?;
    if token.is_none() && !args.listen.ip().is_loopback() {
        tracing::warn!(
            "whoever reaches {} may start replays; --token-file admits some only",
            args.listen
        );
    }
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        let _ = stop.send(());
    })?;
    let options = GateOptions {
        replay: args.replay.clone(),
        reach: args.reach.clone(),
        token,
        results: args.results.clone(),
        keep: usize::from(args.keep),
    };
    let gate = Gate::start(options, args.listen).map_err(|error| {
        let hint = error.hint();
        Failure::could_not_run(error).hint(hint)
    })?;
    say(&format!("listening on http://{}", gate.address()));
    let _ = stopped.recv();
    say("ending; a replay that runs is stopped");
    drop(gate);
    Ok(Exit::Ok)
}

fn token(args: &GateArgs) -> Result<Option<String>, Failure> {
    let token = match (&args.token_env, &args.token_file) {
        (Some(name), _) => std::env::var(name).map_err(|_| {
            Failure::usage(anyhow::anyhow!(
                "the environment variable {name} is not set"
            ))
            .hint("export the token in it, or use --token-file")
        })?,
        (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| {
            Failure::could_not_run(anyhow::anyhow!("{}: {error}", path.display()))
                .hint("--token-file names a file that holds nothing but the token")
        })?,
        (None, None) => return Ok(None),
    };
    match token.trim() {
        "" => Err(Failure::usage(anyhow::anyhow!(
            "the token is empty, and would admit everyone"
        ))
        .hint("make one: openssl rand -hex 32")),
        token => Ok(Some(token.to_owned())),
    }
}

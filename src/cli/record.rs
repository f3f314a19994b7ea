mod placement;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Exit, Failure};
use super::values;
use crate::anonymise::Policy;
use crate::record::{self, Listen, ListenAddr, NamedUpstream, Options, RecordError, TraceOptions};

/// Record the shape and timing of live traffic
///
/// A transparent proxy in front of an inference server. It forwards every request untouched and writes down how long, how
/// large and how alike the exchanges are, never what they say. Recording can fail in any way without touching traffic.
/// SIGTERM drains and closes the trace; a second one leaves at once.
#[derive(Debug, clap::Args)]
pub(super) struct RecordArgs {
    /// Where clients connect: `127.0.0.1:8080`, `[::1]:8080`, `:8080`, `unix:PATH`, `systemd` or `fd:NAME` (sockets handed over by systemd).
    /// With https:// or http:// before it, TLS is spoken there or not; with UPSTREAM= before all, it leads to the --upstream
    /// of that name (may be given several times)
    #[arg(long, value_name = "[UPSTREAM=]ADDR", required = true)]
    listen: Vec<Listen>,
    /// The inference server: http://HOST:PORT or https://HOST, with a base path where one is needed, or unix:PATH. Several have
    /// names, by which --listen chooses
    #[arg(long, value_name = "[NAME=]URL")]
    upstream: Vec<NamedUpstream>,
    #[command(flatten)]
    placement: placement::PlacementArgs,
    /// The directory that trace files are written to (made where missing)
    #[arg(long, value_name = "DIR", required_unless_present = "no_record")]
    trace_dir: Option<PathBuf>,
    /// Only forward: no trace, no inference metrics
    #[arg(long, conflicts_with = "trace_dir")]
    no_record: bool,
    /// Trace files are called NAME-000001.rt and on
    #[arg(long, value_name = "NAME", default_value = "trace", value_parser = name)]
    name: String,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin: ListenAddr,
    /// Let --admin listen beyond this machine (it asks for no password)
    #[arg(long)]
    admin_allow_remote: bool,
    /// Share of exchanges to record: 5% or 0.05
    #[arg(long, value_name = "RATE", default_value = "100%", value_parser = values::rate)]
    sample: f64,
    /// A model name that may stand in traces and metrics as it is; all others become model-0, model-1, …
    #[arg(long, value_name = "NAME")]
    keep_model: Vec<String>,
    /// Threads that carry traffic [default: one for each core, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Most memory for everything that waits to be recorded; beyond it bodies are let go, then exchanges
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    capture_memory: u64,
    /// Bodies above this are forwarded as ever and recorded by their size only
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = values::size)]
    max_body: u64,
    /// Begin the next trace file at this size
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    rotate_size: u64,
    /// Begin the next trace file at this age
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = values::duration)]
    rotate_age: Duration,
    /// How long connecting to the upstream may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    connect_timeout: Duration,
    /// How long the upstream may take to begin its answer
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = values::duration)]
    first_byte_timeout: Duration,
    /// How long an answer may be silent between two pieces; there is no limit on its whole length
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = values::duration)]
    idle_timeout: Duration,
    /// How long an idle upstream connection is kept (uvicorn, and so vLLM, closes at 5s)
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = values::duration)]
    pool_idle: Duration,
    /// How long exchanges in flight may take to finish after SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    drain_timeout: Duration,
}

/// Runs it until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub(super) fn run(args: &RecordArgs) -> Result<Exit, Failure> {
    let trace = args.trace_dir.as_ref().map(|dir| TraceOptions {
        dir: dir.clone(),
        name: args.name.clone(),
        policy: Policy {
            keep_models: args.keep_model.iter().cloned().collect(),
        },
        sample: args.sample,
        capture_memory: args.capture_memory,
        max_body: args.max_body,
        rotate_bytes: args.rotate_size,
        rotate_age: args.rotate_age,
    });
    let options = Options {
        listen: args.listen.clone(),
        upstreams: args.upstream.clone(),
        placement: args.placement.placement()?,
        admin: Some(admin(args)?),
        trace,
        threads: args.threads.map_or_else(default_threads, usize::from),
        connect_timeout: args.connect_timeout,
        first_byte_timeout: args.first_byte_timeout,
        idle_timeout: args.idle_timeout,
        pool_idle: args.pool_idle,
        drain_timeout: args.drain_timeout,
    };
    record::run(&options)
        .map(|_| Exit::Ok)
        .map_err(|error: RecordError| {
            let hint = error.hint();
            Failure::could_not_run(error).hint(hint)
        })
}

fn admin(args: &RecordArgs) -> Result<SocketAddr, Failure> {
    let ListenAddr(addr) = args.admin;
    if addr.ip().is_loopback() || args.admin_allow_remote {
        return Ok(addr);
    }
    Err(Failure::usage(anyhow::anyhow!(
        "--admin {addr} would listen beyond this machine, without a password"
    ))
    .hint("use a loopback address, or say --admin-allow-remote"))
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// A name that can stand in a file's name.
fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && !text.starts_with('.') && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("not a name; use letters, digits, - and _".to_owned())
    }
}

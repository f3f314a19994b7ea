//! `reenact replay`

mod progress;
pub(super) mod session;
mod survey;

use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Exit, Failure, HintExt};
use super::values;
use crate::replay::{BaseUrl, Cache, Credentials, LengthPolicy, PlanOptions, RunOptions, Target};
use crate::verdict::{Bound, Objective};
use session::{Gpu, Session};

/// Re-enact a trace against one or more servers, measure them, and judge them
///
/// Requests are sent at their recorded instants (or faster, with --speed), whether earlier ones have been answered or not. Prompts are made
/// of ordinary words: as many tokens as recorded, sharing prefixes where the recorded ones did. Several targets are replayed against one after another;
/// the first is the baseline of relative objectives.
///
/// Exit codes: 0 every objective met; 1 could not run; 2 wrong usage; 3 an objective was missed; 4 the measurement is invalid.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// Trace files, or directories of them; several are read as one trace
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,

    /// A server to replay against, as URL or NAME=URL; repeat it to compare several
    #[arg(long = "target", required = true, value_name = "[NAME=]URL", value_parser = named_url)]
    targets: Vec<NamedUrl>,

    /// The model to ask for; by default the first that a target names at /v1/models
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// How many times as fast arrivals come: 2 is twice as fast, 0.5 half as fast
    #[arg(long, default_value = "1", value_name = "X", value_parser = values::factor)]
    speed: f64,

    /// Leave out what arrived before this moment of the trace
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    from: Option<Duration>,

    /// Leave out what arrived at or after this moment of the trace
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    to: Option<Duration>,

    /// Send at most this many requests
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// An objective, such as ttft.p99<800ms, errors.rate<0.1% or, against the first target, ttft.p99<+10%; repeatable
    #[arg(long = "slo", value_name = "EXPR")]
    objectives: Vec<Objective>,

    /// Write result.json, report.html, summary.md, junit.xml and requests.jsonl.zst to this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print the result document as JSON instead of the summary
    #[arg(long)]
    json: bool,

    /// Print what would be sent, and when, and send nothing; with --json as lines of JSON
    #[arg(long)]
    dry_run: bool,

    /// What the words of the prompts are drawn with: the same trace and seed send the same bytes
    #[arg(long, default_value = "0", value_name = "N")]
    seed: u64,

    /// How long answers shall be: as recorded, at most as recorded, or as the recorded request allowed
    #[arg(long, default_value = "exact", value_name = "HOW")]
    output_length: OutputLength,

    /// Whether a target may find prompts of an earlier run in its prefix cache: by default every run has words of its own
    #[arg(long, default_value = "fresh", value_name = "HOW")]
    cache: CacheChoice,

    /// GPU memory through NVML: `auto`, `off`, or the path of libnvidia-ml.so.1
    #[arg(long, default_value = "auto", value_name = "SOURCE", value_parser = gpu)]
    gpu: Gpu,

    /// Take the API key from this environment variable
    #[arg(long, value_name = "NAME", conflicts_with = "api_key_file")]
    api_key_env: Option<String>,

    /// Take the API key from this file
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Trust the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Give up on a connection after this long
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = values::duration)]
    connect_timeout: Duration,

    /// Give up on an answer that brings nothing for this long
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = values::duration)]
    request_timeout: Duration,

    /// A guard, not a queue: beyond this many requests in flight, requests are dropped and the run is invalid
    #[arg(long, default_value = "20000", value_name = "N")]
    max_in_flight: u64,

    /// Threads that send; by default half of the cores, at most 4
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OutputLength {
    Exact,
    Cap,
    Free,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CacheChoice {
    Fresh,
    Keep,
}

#[derive(Debug, Clone)]
struct NamedUrl {
    name: Option<String>,
    url: BaseUrl,
}

pub(super) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    super::values::span(args.from, args.to)?;
    let targets = targets(args)?;
    let relative = |objective: &&Objective| matches!(objective.bound, Bound::Relative(_));
    if let ([_], Some(objective)) = (&targets[..], args.objectives.iter().find(relative)) {
        return Err(Failure::usage(anyhow::anyhow!(
            "--slo {} is relative to the first target, and there is no other",
            objective.expr
        ))
        .hint("give --target twice, the baseline first"));
    }
    let session = Session {
        traces: args.traces.clone(),
        targets,
        plan: PlanOptions {
            speed: args.speed,
            from_us: args.from.map(micros),
            to_us: args.to.map(micros),
            limit: args.limit,
            ..PlanOptions::default()
        },
        run: RunOptions {
            seed: args.seed,
            cache: match args.cache {
                CacheChoice::Fresh => Cache::Fresh,
                CacheChoice::Keep => Cache::Keep,
            },
            output_length: match args.output_length {
                OutputLength::Exact => LengthPolicy::Exact,
                OutputLength::Cap => LengthPolicy::Cap,
                OutputLength::Free => LengthPolicy::Free,
            },
            workers: args.threads,
            max_in_flight: args.max_in_flight,
            connect_timeout: args.connect_timeout,
            request_timeout: args.request_timeout,
            ..RunOptions::default()
        },
        objectives: args.objectives.clone(),
        out: args.out.clone(),
        gpu: args.gpu.clone(),
        command: Some(command_line()),
        shares_process: false,
    };
    if args.dry_run {
        return session.print_plan(args.json);
    }
    let document = session.run()?;
    session::print(&document, args.json)?;
    Ok(session::exit(&document))
}

fn targets(args: &ReplayArgs) -> Result<Vec<Target>, Failure> {
    let credentials = credentials(args)?;
    let mut targets: Vec<Target> = Vec::new();
    for (i, named) in args.targets.iter().enumerate() {
        let name = match &named.name {
            Some(name) => name.clone(),
            None if args.targets.len() == 1 => "target".to_owned(),
            None => format!("target-{}", i + 1),
        };
        if targets.iter().any(|other| other.name == name) {
            return Err(
                Failure::usage(anyhow::anyhow!("two targets are named `{name}`"))
                    .hint("write --target NAME=URL with a name of its own for each"),
            );
        }
        targets.push(Target {
            name,
            url: named.url.clone(),
            model: args.model.clone(),
            credentials: credentials.clone(),
            ca: args.ca.clone(),
        });
    }
    Ok(targets)
}

fn credentials(args: &ReplayArgs) -> Result<Credentials, Failure> {
    let key = match (&args.api_key_env, &args.api_key_file) {
        (Some(name), _) => std::env::var(name)
            .map_err(|_| {
                Failure::usage(anyhow::anyhow!(
                    "the environment variable {name} is not set"
                ))
            })
            .hint("export the key in it, or use --api-key-file")?,
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| Failure::could_not_run(anyhow::anyhow!("{}: {error}", path.display())))
            .hint("--api-key-file names a file that holds nothing but the key")?,
        (None, None) => return Ok(Credentials::NONE),
    };
    Ok(Credentials::by_dialect(&key)?)
}

fn named_url(text: &str) -> Result<NamedUrl, String> {
    let (name, url) = match text.split_once('=') {
        // A URL may hold `=` in its path, a name no slash.
        Some((name, url)) if !name.contains(['/', ':']) => (Some(name.trim().to_owned()), url),
        _ => (None, text),
    };
    if name.as_deref() == Some("") {
        return Err("the name before `=` is empty; write NAME=URL".to_owned());
    }
    BaseUrl::parse(url)
        .map(|url| NamedUrl { name, url })
        .map_err(|error| error.to_string())
}

#[allow(clippy::unnecessary_wraps, reason = "clap's form of a value parser")]
fn gpu(text: &str) -> Result<Gpu, String> {
    Ok(match text {
        "auto" => Gpu::Auto,
        "off" => Gpu::Off,
        path => Gpu::Library(PathBuf::from(path)),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The command line, quoted where a shell would need it. It holds no secret: keys cannot be given there.
fn command_line() -> String {
    let quoted = |arg: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            arg
        } else {
            format!("'{}'", arg.replace('\'', "'\\''"))
        }
    };
    let args = std::env::args().skip(1).map(quoted);
    std::iter::once("reenact".to_owned())
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

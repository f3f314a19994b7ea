//! `reenact replay`

mod baseline;
pub(super) mod conduct;
mod connections;
mod conversations;
mod dry_run;
mod outward;
mod plan;
pub(in crate::cli) mod progress;
mod prompts;
mod quality;
mod schedule;
mod self_check;
mod telemetry;
mod window;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::failure::{Exit, Failure};
use super::{values, without_password};
use crate::campaign::{Baseline, Campaign};
use crate::measure::MeasureOptions;
use crate::memory::in_small_pages;
use crate::replay::{BaseUrl, RunOptions, Target};
use crate::trace::StoreUrl;
use crate::verdict::Objective;
use baseline::BaselineArgs;
use connections::ConnectionArgs;
use conversations::ConversationArgs;
use outward::OutwardArgs;
use plan::PlanArgs;
use prompts::PromptArgs;
use quality::QualityArgs;
use schedule::ScheduleArgs;
use telemetry::TelemetryArgs;
use window::WindowArgs;

/// Re-enact a trace against one or more servers, measure them, and judge them
///
/// Requests are sent at their recorded instants (or faster, with --speed), whether earlier ones have been answered or not; only a
/// conversation's next turn waits for the answer that it goes on from. Prompts are made
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

    /// An objective, such as ttft.p99<800ms, errors.rate<0.1% or, against the first target, ttft.p99<+10%; repeatable
    #[arg(long = "slo", value_name = "EXPR")]
    objectives: Vec<Objective>,

    /// Write result.json, report.html, summary.md, junit.xml, requests.jsonl.zst, histograms.json.zst and gaps.json.zst to this directory, in the
    /// place of an earlier result's
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print the result document as JSON instead of the summary
    #[arg(long)]
    json: bool,

    /// Print what would be sent, and when, and send nothing: rate, duration, sessions, what is left out, then every request; with --json as
    /// lines of JSON
    #[arg(long)]
    dry_run: bool,

    /// First find out what this machine can send of this trace, against a built-in server that costs nothing, and say it beside what the plan
    /// asks for; takes about half a minute
    #[arg(long, conflicts_with = "start_at")]
    self_check: bool,

    // Groups with headings come last: what follows one would stand under its heading.
    #[command(flatten)]
    plan: PlanArgs,

    #[command(flatten)]
    conversations: ConversationArgs,

    #[command(flatten)]
    schedule: ScheduleArgs,

    #[command(flatten)]
    window: WindowArgs,

    #[command(flatten)]
    baseline: BaselineArgs,

    #[command(flatten)]
    quality: QualityArgs,

    #[command(flatten)]
    prompts: PromptArgs,

    #[command(flatten)]
    connections: ConnectionArgs,

    #[command(flatten)]
    telemetry: TelemetryArgs,

    #[command(flatten)]
    outward: OutwardArgs,
}

#[derive(Debug, Clone)]
struct NamedUrl {
    name: Option<String>,
    url: BaseUrl,
}

pub(super) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    in_small_pages();
    let targets = targets(args)?;
    let mut options = RunOptions::default();
    args.plan.apply(&mut options)?;
    args.conversations.apply(&mut options)?;
    args.prompts.apply(&mut options, args.plan.in_common()?)?;
    args.connections.apply(&mut options)?;
    let plan = args.plan.options()?;
    let mode = args.schedule.mode(targets.len(), &args.objectives, &plan)?;
    let baseline = args
        .baseline
        .choice(&targets, &args.objectives, &mode, &plan)?;
    if let (Baseline::Earlier(earlier), Some(out)) = (&baseline, &args.out) {
        values::writes_over_none(out, [&*earlier.path], "the --baseline")?;
    }
    let evaluator = args.quality.evaluator(&mode, &plan)?;
    let engine_metrics = args.telemetry.engine_metrics(&targets)?;
    let outward = args.outward.outward(args.out.as_deref())?;
    let campaign = Campaign {
        traces: args.traces.clone(),
        targets,
        mode,
        start_every: args.schedule.start_every,
        plan,
        run: options,
        objectives: args.objectives.clone(),
        measure: MeasureOptions {
            bar: args.window.bar(),
            prelude_us: values::micros(args.window.prelude),
            ..MeasureOptions::default()
        },
        baseline,
        margin: args.baseline.margin,
        out: args.out.clone(),
        gpu: args.telemetry.gpu(),
        engine_metrics,
        evaluator,
        command: Some(command_line()),
        shares_process: false,
    };
    if args.dry_run {
        return dry_run::print(&campaign, args.json);
    }
    args.telemetry.check_textfile()?;
    if args.self_check {
        self_check::check(&campaign)?;
    }
    let shown = args.telemetry.shown()?;
    let (ran, starts) = conduct::conduct(&campaign, shown.as_ref().map(|(live, _)| live))?;
    let document = &ran.document;
    conduct::print(document, args.json)?;
    if let Some(outward) = outward {
        outward.send(document, &starts);
    }
    let exit = conduct::exit(document);
    // Last: what was measured is told by now, whatever becomes of the files.
    args.telemetry.write_textfile(document)?;
    conduct::check_written(ran)?;
    Ok(exit)
}

/// Holds that a gate can run this command line: it is one of `replay`, names targets or leaves them to the callers, and leaves it to the gate where
/// results go. A trace that cannot be read is no error, since it may come before the first replay does, but said.
///
/// # Errors
/// When it does not.
pub(super) fn check_for_gate(args: &[OsString], callers_name_targets: bool) -> Result<(), Failure> {
    #[derive(clap::Parser)]
    #[command(name = "reenact replay", no_binary_name = true)]
    struct Line {
        #[command(flatten)]
        replay: ReplayArgs,
    }
    let stand_in = callers_name_targets.then(|| OsString::from("--target=named=http://localhost"));
    let line = Line::try_parse_from(args.iter().cloned().chain(stand_in)).map_err(|error| {
        let told = without_password(&error, error.to_string());
        let told: Vec<&str> = told
            .trim_start_matches("error: ")
            .lines()
            .take_while(|line| !line.is_empty())
            .map(str::trim)
            .collect();
        Failure::usage(anyhow::anyhow!("after --: {}", told.join(" ")))
            .hint("what follows -- is given to `reenact replay`; see reenact replay --help")
    })?;
    let named = usize::from(callers_name_targets);
    let replay = line.replay;
    if callers_name_targets && replay.targets.len() > named {
        return Err(Failure::usage(anyhow::anyhow!(
            "targets are named after --, and --allow-target lets callers name them"
        ))
        .hint("do one or the other"));
    }
    if replay.out.is_some() || replay.json || replay.dry_run {
        return Err(Failure::usage(anyhow::anyhow!(
            "after --: --out, --json and --dry-run are the gate's affair"
        ))
        .hint("--results says where results go"));
    }
    let stored = |path: &Path| path.to_str()?.parse::<StoreUrl>().ok();
    let local = replay.traces.iter();
    for trace in local.filter(|path| stored(path).is_none()) {
        if let Err(error) = std::fs::metadata(trace) {
            tracing::warn!(
                "{}: {error}: no replay can start until it is there to be read",
                trace.display()
            );
        }
    }
    Ok(())
}

fn targets(args: &ReplayArgs) -> Result<Vec<Target>, Failure> {
    let credentials = args.connections.credentials()?;
    let headers = args.connections.headers()?;
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
            ca: args.connections.ca.clone(),
            headers: headers.clone(),
            keep_alive: !args.connections.no_keep_alive,
            http: args.connections.http(),
        });
    }
    Ok(targets)
}

impl NamedUrl {
    /// `[NAME=]URL`, taken apart.
    fn split(text: &str) -> Result<(Option<String>, &str), String> {
        match text.split_once('=') {
            // A URL may hold `=` in its path, a name no slash.
            Some((name, url)) if !name.contains(['/', ':']) => match name.trim() {
                "" => Err("the name before `=` is empty; write NAME=URL".to_owned()),
                name => Ok((Some(name.to_owned()), url)),
            },
            _ => Ok((None, text)),
        }
    }
}

fn named_url(text: &str) -> Result<NamedUrl, String> {
    let (name, url) = NamedUrl::split(text)?;
    BaseUrl::parse(url)
        .map(|url| NamedUrl { name, url })
        .map_err(|error| error.to_string())
}

/// The command line, quoted where a shell would need it. It holds no secret: keys cannot be given there, and the values of
/// headers are left out.
pub(super) fn command_line() -> String {
    let quoted = |arg: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            arg
        } else {
            format!("'{}'", arg.replace('\'', "'\\''"))
        }
    };
    // A trace may lie under a name that is no UTF-8.
    let args = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned());
    let args = connections::without_header_values(args).map(quoted);
    std::iter::once("reenact".to_owned())
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

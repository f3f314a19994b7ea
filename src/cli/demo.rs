use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure, HintExt};
use super::replay::conduct::{self, conduct};
use crate::campaign::{Baseline, Campaign, EngineMetrics, Gpu, Mode};
use crate::interop::{self, ImportFormat, ImportOptions};
use crate::measure::MeasureOptions;
use crate::record::{Options, Recorder, TraceOptions};
use crate::replay::{
    BaseUrl, Credentials, ExtraHeaders, HttpVersion, PlanOptions, RunOptions, Target,
};
use crate::sim;
use crate::verdict::Objective;

/// See the whole story in under a minute, on this machine, with no set-up
///
/// Starts two simulated inference servers (a baseline and a slower candidate) and a recorder in front of the baseline; sends the baseline
/// eight seconds of real arrivals; replays the fresh trace against both; prints the comparison and where the report lies. The candidate is slower
/// on purpose, so an objective is missed: the demo itself ends in 0 all the same.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Where the trace and the results go
    #[arg(long, value_name = "DIR", default_value = "reenact-demo")]
    out: PathBuf,
}

pub(super) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let trace_dir = args.out.join("trace");
    clear(&trace_dir).hint("give --out another directory")?;

    step(
        1,
        "two simulated servers: a baseline, and a candidate whose every step takes 1.4 times as long",
    );
    let baseline = serve(1.0)?;
    let candidate = serve(SLOWDOWN)?;
    tell(&format!(
        "baseline {}, candidate {}",
        url(&baseline),
        url(&candidate)
    ));

    step(
        2,
        "a recorder in front of the baseline, and eight seconds of real arrivals (Azure, 2023)",
    );
    let recorder = record(&url(&baseline), &trace_dir)?;
    let arrivals = arrivals(&args.out)?;
    let through = format!(
        "http://{}",
        recorder
            .listening()
            .first()
            .copied()
            .ok_or_else(no_listener)?
    );
    let traffic = replay(
        vec![arrivals.clone()],
        vec![target("production", &through)?],
        Vec::new(),
        None,
    );
    conduct(&traffic, None)?;
    let accounts = recorder.drain();
    std::fs::remove_file(&arrivals)?;
    tell(&format!(
        "{} exchanges recorded to {}",
        accounts.recorded,
        trace_dir.display()
    ));

    step(3, "that trace, replayed against both");
    let targets = vec![
        target("baseline", &url(&baseline))?,
        target("candidate", &url(&candidate))?,
    ];
    // Of so few requests, a P99 is the slowest one.
    let objectives =
        ["ttft.p90<+10%", "tpot.p50<+10%", "errors.rate<1%"].map(str::parse::<Objective>);
    let objectives = objectives.into_iter().collect::<Result<Vec<_>, _>>()?;
    let campaign = replay(
        vec![trace_dir.clone()],
        targets,
        objectives,
        Some(args.out.clone()),
    );
    let (ran, _) = conduct(&campaign, None)?;
    baseline.shutdown();
    candidate.shutdown();

    tell("");
    conduct::print(&ran.document, false)?;
    conduct::check_written(ran)?;
    let report = args.out.join("report.html");
    let report = report.canonicalize().unwrap_or(report);
    tell(&format!("\nOpen {} in a browser.", report.display()));
    tell(&format!(
        "Next: reenact inspect {}   and docs/sidecar.md for your own traffic",
        trace_dir.display()
    ));
    Ok(Exit::Ok)
}

fn serve(slowdown: f64) -> Result<sim::ServerHandle, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let config = sim::Config::profile("small")?.with_slowdown(slowdown);
    Ok(sim::Server::start(config, listener)?)
}

fn url(server: &sim::ServerHandle) -> String {
    format!("http://{}", server.addr())
}

fn record(upstream: &str, dir: &Path) -> Result<Recorder, Failure> {
    let options = Options {
        trace: Some(TraceOptions::in_dir(dir.to_owned(), "demo")),
        ..Options::in_front_of(upstream.parse()?)
    };
    Ok(Recorder::start(&options)?)
}

/// The embedded rows as a trace of their own, for as long as they are driven.
fn arrivals(out: &Path) -> Result<PathBuf, Failure> {
    let rows = out.join("arrivals.csv");
    let trace = out.join("arrivals.rt");
    std::fs::write(&rows, include_str!("../../fixtures/demo/azure_8s.csv"))?;
    let _ = std::fs::remove_file(&trace);
    let imported = interop::import(
        ImportFormat::Azure,
        &rows,
        &trace,
        &ImportOptions::default(),
    );
    std::fs::remove_file(&rows)?;
    imported.map_err(super::import::failure)?;
    Ok(trace)
}

fn target(name: &str, url: &str) -> Result<Target, Failure> {
    Ok(Target {
        name: name.to_owned(),
        url: BaseUrl::parse(url)?,
        model: None,
        credentials: Credentials::NONE,
        ca: None,
        headers: ExtraHeaders::default(),
        keep_alive: true,
        http: HttpVersion::default(),
    })
}

fn replay(
    traces: Vec<PathBuf>,
    targets: Vec<Target>,
    objectives: Vec<Objective>,
    out: Option<PathBuf>,
) -> Campaign {
    Campaign {
        traces,
        targets,
        plan: PlanOptions::default(),
        run: RunOptions::default(),
        mode: Mode::ONCE,
        start_every: None,
        objectives,
        measure: MeasureOptions::default(),
        baseline: Baseline::First,
        margin: 0.05,
        out,
        gpu: Gpu::Auto,
        engine_metrics: EngineMetrics::Auto,
        evaluator: None,
        command: Some("reenact demo".to_owned()),
        shares_process: true,
    }
}

/// An earlier demo's trace would be read as part of this one's.
fn clear(dir: &Path) -> Result<(), Failure> {
    let ours = |path: &Path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("demo-"))
    };
    crate::directory::make(dir)
        .and_then(|()| std::fs::read_dir(dir))
        .and_then(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| ours(path))
                .try_for_each(std::fs::remove_file)
        })
        .map_err(|error| Failure::could_not_run(anyhow::anyhow!("{}: {error}", dir.display())))
}

fn no_listener() -> Failure {
    Failure::could_not_run(anyhow::anyhow!("the recorder listens nowhere"))
}

fn step(number: u32, what: &str) {
    let bold = anstyle::Style::new().bold();
    tell(&format!("\n{bold}{number}. {what}{bold:#}"));
}

#[allow(clippy::print_stderr, reason = "the story is told beside the result")]
fn tell(line: &str) {
    anstream::eprintln!("{line}");
}

const SLOWDOWN: f64 = 1.4;

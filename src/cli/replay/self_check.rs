//! `--self-check`: what this machine can send of this trace, found against a server that costs nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::conduct;
use super::progress::say;
use crate::campaign::{
    Audience, Axis, Baseline, Campaign, EngineMetrics, FindMax, Gpu, Mode, Ticket,
};
use crate::cli::failure::Failure;
use crate::measure::{MeasureOptions, TargetSummary};
use crate::replay::{
    BaseUrl, Credentials, ExtraHeaders, HttpVersion, PlanOptions, Progress, RunOptions,
    SessionMode, Stop, Target,
};
use crate::shape::Endpoint;
use crate::sim::NullServer;
use crate::verdict::Objective;

/// Searches for the largest rate at which the sends of `campaign` are on time, and says it beside what the campaign asks for.
///
/// # Errors
/// When the trace cannot be read, or this machine lacks a port or a thread.
pub(super) fn check(campaign: &Campaign) -> Result<(), Failure> {
    say(
        "self-check: this trace, ever faster, against a server in this process that answers at once",
    );
    let server = NullServer::start()
        .map_err(|error| Failure::could_not_run(anyhow::anyhow!("--self-check: {error}")))?;
    let survey = campaign.survey(&Quiet).map_err(conduct::failure)?;
    let (mean, peak) = (survey.mean_rate(), survey.peak_rate());
    let start = campaign.plan.speed * (FIRST_PER_S / mean.max(f64::MIN_POSITIVE)).max(1.0);
    let probe = against(campaign, &server, start)?;
    let ran = probe
        .run(&Quiet, &Stop::default())
        .map_err(conduct::failure)?;
    let found = ran.document.targets.first();
    let limit = found.and_then(|target| target.limit.as_ref()?.requests_per_s);
    let Some((target, per_s)) = found.zip(limit) else {
        let why = found.map_or("", |target| why(target));
        say(&format!(
            "self-check: this machine is late already at {:.0} requests/s: {why}",
            mean.max(FIRST_PER_S)
        ));
        return Ok(());
    };
    let late = &target.fidelity.lateness_ms;
    let events = target.throughput.output_tokens_per_s.unwrap_or(0.0);
    say(&format!(
        "self-check: this machine can send {per_s:.0} requests/s of this trace and read {events:.0} token events/s, {:.2} ms late at P99 ({:.2} ms at most)",
        late.p99, late.max
    ));
    let room = per_s / peak.max(f64::MIN_POSITIVE);
    say(&match room {
        ..1.0 => format!(
            "warning: the plan has {peak:.0} requests in its busiest second, more than that; deal it out with --shard (docs/scaling-out.md)"
        ),
        _ => format!(
            "self-check: {room:.1} times what the plan has in its busiest second ({peak:.0})"
        ),
    });
    Ok(())
}

/// Why the last step was no good.
fn why(target: &TargetSummary) -> &str {
    target.steps.last().map_or("", |step| step.reason.as_str())
}

/// A search for the largest rate of the same traffic that this machine can pace. Nothing waits for answers, since there are none to wait for.
fn against(campaign: &Campaign, server: &NullServer, start: f64) -> Result<Campaign, Failure> {
    let mut run = RunOptions {
        sessions: SessionMode::Independent,
        live_history: false,
        start_at: None,
        ..campaign.run.clone()
    };
    run.prompts.send_as = Some(Endpoint::ChatCompletions);
    run.prompts.model_map.clear();
    Ok(Campaign {
        targets: vec![Target {
            name: "null".to_owned(),
            url: BaseUrl::parse(&server.address().to_string())?,
            model: None,
            credentials: Credentials::NONE,
            ca: None,
            headers: ExtraHeaders::default(),
            keep_alive: true,
            http: HttpVersion::default(),
        }],
        plan: PlanOptions {
            speed: start,
            shape: None,
            loop_for_us: None,
            limit: None,
            shard: None,
            ..campaign.plan
        },
        run,
        mode: Mode::FindMax(FindMax {
            by: Axis::Speed,
            precision: 0.25,
            most: start * 10_000.0,
            step: Duration::from_secs(1),
        }),
        start_every: None,
        // What fails here fails for want of something on this machine.
        objectives: vec!["errors.rate<5%".parse::<Objective>()?],
        measure: MeasureOptions {
            prelude_us: 0,
            ..campaign.measure.clone()
        },
        baseline: Baseline::First,
        out: None,
        gpu: Gpu::Off,
        engine_metrics: EngineMetrics::Off,
        command: None,
        // The server's processor time is in the process's own.
        shares_process: true,
        ..campaign.clone()
    })
}

/// Where the search begins at least: slower steps would take long to have their requests.
const FIRST_PER_S: f64 = 200.0;

/// Hears and says nothing.
struct Quiet;

impl Audience for Quiet {
    fn say(&self, _line: &str) {}

    fn reading(&self, _exchanges: u64, _read: &Arc<AtomicU64>) -> Box<dyn Send> {
        Box::new(())
    }

    fn watch(&self, _ticket: &Ticket, _progress: &Progress) -> Box<dyn Send> {
        Box::new(())
    }
}

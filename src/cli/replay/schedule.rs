//! Options that say how often, in which order and at which loads the targets are run.

use std::time::Duration;

use crate::campaign::{Axis, FindMax, Mode, Schedule};
use crate::cli::failure::Failure;
use crate::cli::values;
use crate::replay::PlanOptions;
use crate::verdict::{Objective, boundless_goodput};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Several runs or loads")]
pub(super) struct ScheduleArgs {
    /// Run every target so many times: what varies from run to run is told, and taken into account in comparisons
    #[arg(long, default_value = "1", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,

    /// In which order targets are run: one after another, there and back (A B B A), or all at once with the same bytes at the same
    /// instants; there and back where runs are repeated, else one after another
    #[arg(long, value_name = "HOW")]
    schedule: Option<Order>,

    /// Run the trace at each of these loads, such as 1,2,4, and draw what becomes of latency and goodput
    #[arg(long, value_name = "X,X,…", value_delimiter = ',', value_parser = values::factor, conflicts_with_all = ["repeat", "schedule"])]
    sweep: Vec<f64>,

    /// What --sweep changes: how fast arrivals come, or how many conversations there are
    #[arg(long, default_value = "speed", value_name = "WHAT", requires = "sweep")]
    sweep_by: Raised,

    /// Search for the largest load that meets the objectives: double it from --speed (or --rate-scale) on until they break, then close in on the limit
    #[arg(long, conflicts_with_all = ["sweep", "repeat", "schedule"])]
    find_max: bool,

    /// What --find-max raises: how fast arrivals come, or how many conversations there are
    #[arg(
        long,
        default_value = "speed",
        value_name = "WHAT",
        requires = "find_max"
    )]
    find_max_by: Raised,

    /// How close --find-max comes to a load that does not meet the objectives
    #[arg(long, default_value = "5%", value_name = "SHARE", value_parser = precision, requires = "find_max")]
    precision: f64,

    /// Where --find-max ends at the latest
    #[arg(long, default_value = "1000", value_name = "X", value_parser = values::factor, requires = "find_max")]
    find_max_up_to: f64,

    /// How long the measured part of a step of --find-max lasts at least (30s; longer where the objectives need more requests), or a step
    /// of --sweep (the whole plan)
    ///
    /// A trace that is too short for that is replayed again and again, as --loop-for does.
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    step: Option<Duration>,

    /// Begin each further run or step so long after the one before began, counted from --start-at, not as soon as that one is over:
    /// processes that share the load (--shard) share it in every run
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration, requires = "start_at", conflicts_with = "find_max")]
    pub(super) start_every: Option<Duration>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Order {
    Serial,
    Abba,
    Interleaved,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Raised {
    Speed,
    Rate,
}

impl From<Raised> for Axis {
    fn from(raised: Raised) -> Self {
        match raised {
            Raised::Speed => Self::Speed,
            Raised::Rate => Self::Rate,
        }
    }
}

impl ScheduleArgs {
    /// Which runs there are of so many targets; `objectives` are what a search goes by, and `plan` is where it begins.
    pub(super) fn mode(
        &self,
        targets: usize,
        objectives: &[Objective],
        plan: &PlanOptions,
    ) -> Result<Mode, Failure> {
        if let Some(objective) = boundless_goodput(objectives) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--slo {} counts requests that meet every bound, and there is none on ttft, tpot or e2e",
                objective.expr
            ))
            .hint("give one beside it, such as --slo 'ttft.p99<800ms'"));
        }
        let mode = self.chosen(objectives, plan)?;
        if plan.shard.is_some_and(|shard| shard.count() > 1) {
            self.check_shared(&mode, targets)?;
        }
        Ok(mode)
    }

    /// Holds that processes which share a load share it in every run.
    fn check_shared(&self, mode: &Mode, targets: usize) -> Result<(), Failure> {
        let rounds = match mode {
            Mode::Runs { schedule, repeats } => schedule.count(targets, *repeats),
            Mode::Sweep { .. } | Mode::FindMax(_) => {
                return Err(Failure::usage(anyhow::anyhow!(
                    "--shard does not go with --sweep or --find-max: each process would take steps of its own"
                ))
                .hint("replay each load by itself, with --speed or --rate-scale, and merge its shards"));
            }
        };
        if rounds > 1 && self.start_every.is_none() {
            return Err(Failure::usage(anyhow::anyhow!(
                "--shard with {rounds} runs one after another: each process would begin its later runs when its own earlier ones are over"
            ))
            .hint("give --start-at and --start-every, longer than a run takes; or --schedule interleaved for several targets"));
        }
        Ok(())
    }

    fn chosen(&self, objectives: &[Objective], plan: &PlanOptions) -> Result<Mode, Failure> {
        if self.step.is_some() && !self.find_max && self.sweep.is_empty() {
            return Err(Failure::usage(anyhow::anyhow!(
                "--step is a step of --find-max or of --sweep, and neither is given"
            ))
            .hint("--loop-for replays a trace for as long as you like"));
        }
        if self.find_max {
            let start = match self.find_max_by {
                Raised::Speed => plan.speed,
                Raised::Rate => plan.rate_scale,
            };
            return self.search(objectives, start);
        }
        if !self.sweep.is_empty() {
            let (option, set) = match self.sweep_by {
                Raised::Speed => ("--speed", plan.speed),
                Raised::Rate => ("--rate-scale", plan.rate_scale),
            };
            if set != 1.0 {
                return Err(Failure::usage(anyhow::anyhow!(
                    "{option} {set} has no effect beside --sweep, whose steps are loads of their own"
                ))
                .hint(format!("leave {option} out, and give --sweep the loads that you mean")));
            }
            if let Some(objective) = objectives.iter().find(|it| it.is_relative()) {
                return Err(Failure::usage(anyhow::anyhow!(
                    "--slo {} compares two targets, and the steps of --sweep are each judged by themselves",
                    objective.expr
                ))
                .hint("give --sweep absolute objectives, such as --slo 'ttft.p99<800ms', and compare at one load: --speed 2 in place of --sweep"));
            }
            return Ok(Mode::Sweep {
                by: self.sweep_by.into(),
                loads: self.sweep.clone(),
                step: self.step.unwrap_or_default(),
            });
        }
        let schedule = match self.schedule {
            Some(Order::Serial) => Schedule::Serial,
            Some(Order::Abba) => Schedule::Abba,
            Some(Order::Interleaved) => Schedule::Interleaved,
            None if self.repeat > 1 => Schedule::Abba,
            None => Schedule::Serial,
        };
        Ok(Mode::Runs {
            schedule,
            repeats: self.repeat,
        })
    }

    fn search(&self, objectives: &[Objective], start: f64) -> Result<Mode, Failure> {
        if objectives.is_empty() {
            return Err(Failure::usage(anyhow::anyhow!(
                "--find-max needs an objective to find the limit of"
            ))
            .hint("give one, such as --slo 'ttft.p99<800ms'"));
        }
        if let Some(objective) = objectives.iter().find(|it| it.is_relative()) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--slo {} is relative to the first target, and --find-max takes each target to a load of its own",
                objective.expr
            ))
            .hint("give --find-max absolute objectives, such as --slo 'ttft.p99<800ms'"));
        }
        if self.find_max_up_to < start {
            return Err(Failure::usage(anyhow::anyhow!(
                "--find-max-up-to {} is below where the search begins, {start}",
                self.find_max_up_to
            ))
            .hint("give --find-max-up-to a larger load, or begin with a smaller one"));
        }
        Ok(Mode::FindMax(FindMax {
            by: self.find_max_by.into(),
            precision: self.precision,
            most: self.find_max_up_to,
            step: self.step.unwrap_or(STEP),
        }))
    }
}

/// Half a minute: enough for a queue to build up.
const STEP: Duration = Duration::from_secs(30);

/// A precision: a share from 0.5 % to 100 %.
fn precision(text: &str) -> Result<f64, String> {
    match values::rate(text) {
        Ok(share) if share >= 0.005 => Ok(share),
        Ok(_) => Err("finer than a search can tell apart; write 0.5% or more".to_owned()),
        Err(error) => Err(error),
    }
}

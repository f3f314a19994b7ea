//! Options that say what the targets are compared with, and when a difference is one.

use std::path::Path;

use crate::campaign::{Baseline, Mode};
use crate::cli::failure::Failure;
use crate::cli::values;
use crate::measure::RECORDED;
use crate::replay::{PlanOptions, Target};
use crate::report::EarlierResult;
use crate::verdict::Objective;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is measured and compared")]
pub(super) struct BaselineArgs {
    /// What relative objectives (ttft.p99<+10%) are relative to: `first`, the first target; `recorded`, what production's clients felt when
    /// the trace was recorded; or an earlier replay of the same trace, as its directory or result.json (NAME@DIR where it had several targets)
    ///
    /// Against an earlier replay, and without a relative objective, a P50 or P99 of TTFT, TPOT or E2E that is worse than --margin is a miss,
    /// as in `reenact compare`.
    #[arg(long, default_value = "first", value_name = "first|recorded|RESULT", value_parser = choice)]
    baseline: Choice,

    /// A latency within so much of the baseline's is no difference: comparisons say worse, not worse or inconclusive against it
    #[arg(long, default_value = "5%", value_name = "SHARE", value_parser = values::rate)]
    pub(super) margin: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    First,
    Recorded,
    Earlier(String),
}

impl BaselineArgs {
    /// # Errors
    /// When an objective is relative and there is nothing that it is relative to; when an earlier result cannot be read, or is none that whole
    /// runs can be compared with.
    pub(super) fn choice(
        &self,
        targets: &[Target],
        objectives: &[Objective],
        mode: &Mode,
        plan: &PlanOptions,
    ) -> Result<Baseline, Failure> {
        if let Some(target) = targets.iter().find(|target| target.name == RECORDED) {
            return Err(Failure::usage(anyhow::anyhow!(
                "a target cannot be named `{}`: that is what production's own figures are called",
                target.name
            ))
            .hint("write --target NAME=URL with another name"));
        }
        match &self.baseline {
            Choice::Recorded if !matches!(mode, Mode::Runs { .. }) => {
                return Err(Failure::usage(anyhow::anyhow!(
                    "--baseline {RECORDED}: only whole runs are compared with production"
                ))
                .hint("leave --sweep or --find-max out"));
            }
            Choice::Recorded => return Ok(Baseline::Recorded),
            Choice::Earlier(place) => return earlier(place, mode, plan),
            Choice::First => {}
        }
        if let ([_], Some(objective)) = (targets, objectives.iter().find(|it| it.is_relative())) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--slo {} is relative to the first target, and there is no other",
                objective.expr
            ))
            .hint(
                "give --target twice, the baseline first; or --baseline recorded; or --baseline with the directory of an earlier replay",
            ));
        }
        Ok(Baseline::First)
    }
}

/// Reads an earlier result, and holds that the runs to come can be compared with it.
fn earlier(place: &str, mode: &Mode, plan: &PlanOptions) -> Result<Baseline, Failure> {
    let usage = |why: String| Failure::usage(anyhow::anyhow!("--baseline {place}: {why}"));
    let Mode::Runs { repeats, .. } = mode else {
        let why = "only whole runs are compared with an earlier result".to_owned();
        return Err(usage(why).hint("leave --sweep or --find-max out"));
    };
    if plan.shard.is_some_and(|shard| shard.count() > 1) {
        let why = "a shard is not what an earlier result was".to_owned();
        return Err(usage(why)
            .hint("merge the shards, and compare the whole: reenact compare RESULT MERGED"));
    }
    let earlier = EarlierResult::read(place).map_err(|error| {
        let hint = error.hint();
        Failure::could_not_run(error).hint(hint)
    })?;
    let runs = earlier.runs.len();
    if usize::try_from(*repeats).ok() != Some(runs) {
        let why = format!("it has {runs} runs, and this replay {repeats}");
        return Err(usage(why).hint(format!("runs are compared in pairs: give --repeat {runs}")));
    }
    Ok(Baseline::Earlier(Box::new(earlier)))
}

fn choice(text: &str) -> Result<Choice, String> {
    let is_there = |path: &str| Path::new(path).exists();
    let named = text.split_once('@').is_some_and(|(_, path)| is_there(path));
    match text {
        "first" => Ok(Choice::First),
        RECORDED => Ok(Choice::Recorded),
        place if is_there(place) || named => Ok(Choice::Earlier(place.to_owned())),
        _ => Err(
            "neither `first` nor `recorded`, nor is there a file or directory of that name"
                .to_owned(),
        ),
    }
}

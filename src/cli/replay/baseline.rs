//! Options that say what the targets are compared with, and when a difference is one.

use crate::campaign::Baseline;
use crate::cli::failure::Failure;
use crate::cli::values;
use crate::measure::RECORDED;
use crate::replay::Target;
use crate::verdict::{Bound, Objective};

#[derive(Debug, clap::Args)]
pub(super) struct BaselineArgs {
    /// What relative objectives (ttft.p99<+10%) are relative to: the first target, or `recorded`, what production's clients felt when
    /// the trace was recorded
    #[arg(long, default_value = "first", value_name = "WHAT")]
    baseline: Choice,

    /// A latency within so much of the baseline's is no difference: comparisons say worse, not worse or inconclusive against it
    #[arg(long, default_value = "5%", value_name = "SHARE", value_parser = values::rate)]
    pub(super) margin: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    First,
    Recorded,
}

impl BaselineArgs {
    /// # Errors
    /// When an objective is relative and there is nothing that it is relative to.
    pub(super) fn choice(
        &self,
        targets: &[Target],
        objectives: &[Objective],
    ) -> Result<Baseline, Failure> {
        if let Some(target) = targets.iter().find(|target| target.name == RECORDED) {
            return Err(Failure::usage(anyhow::anyhow!(
                "a target cannot be named `{}`: that is what production's own figures are called",
                target.name
            ))
            .hint("write --target NAME=URL with another name"));
        }
        if self.baseline == Choice::Recorded {
            return Ok(Baseline::Recorded);
        }
        let relative = |objective: &&Objective| matches!(objective.bound, Bound::Relative(_));
        if let ([_], Some(objective)) = (targets, objectives.iter().find(relative)) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--slo {} is relative to the first target, and there is no other",
                objective.expr
            ))
            .hint("give --target twice, the baseline first; or --baseline recorded"));
        }
        Ok(Baseline::First)
    }
}

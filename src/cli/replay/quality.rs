//! Options that say who judges the answers.

use std::time::Duration;

use crate::campaign::{Evaluator, Mode};
use crate::cli::failure::Failure;
use crate::cli::values;
use crate::probe::Probe;
use crate::replay::PlanOptions;

#[derive(Debug, clap::Args)]
pub(super) struct QualityArgs {
    /// Have each target's answers judged, idle and again at the replay's full load: promptfoo:FILE runs your promptfoo by that
    /// configuration, cmd:COMMAND any other evaluator; canary compares greedy answers to fixed prompts by itself, canary:FILE to those of
    /// a file, one a line (docs/quality.md). Goes with whole runs, and not with --sweep, --find-max or --shard. Objectives: quality.pass_rate, quality.score, quality.flips, quality.canary.identical,
    /// quality.canary.distance
    #[arg(long, value_name = "EVALUATOR")]
    probe: Option<Probe>,

    /// End an evaluator that takes longer than this
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = values::duration)]
    probe_timeout: Duration,
}

impl QualityArgs {
    /// Who judges the answers of these runs.
    ///
    /// # Errors
    /// When nobody would: steps of a sweep or a search are not judged, and `reenact merge` does not put judgements together.
    pub(super) fn evaluator(
        &self,
        mode: &Mode,
        plan: &PlanOptions,
    ) -> Result<Option<Evaluator>, Failure> {
        let Some(probe) = self.probe.clone() else {
            return Ok(None);
        };
        if !matches!(mode, Mode::Runs { .. }) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--probe does not go with --sweep or --find-max: answers are judged during whole runs, and not during steps"
            ))
            .hint("find the load first, then have the answers judged at it: --probe with --speed or --rate-scale"));
        }
        if plan.shard.is_some_and(|shard| shard.count() > 1) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--probe does not go with --shard: each process would have the answers judged, and `reenact merge` carries no judgement"
            ))
            .hint("leave --probe out of the shards, and have the answers judged in a replay by one machine"));
        }
        Ok(Some(Evaluator {
            probe,
            patience: self.probe_timeout,
        }))
    }
}

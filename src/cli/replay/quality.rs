//! Options that say who judges the answers.

use std::time::Duration;

use crate::campaign::{Evaluator, Mode};
use crate::cli::failure::Failure;
use crate::cli::values;
use crate::probe::Probe;
use crate::replay::PlanOptions;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Quality of answers")]
pub(super) struct QualityArgs {
    /// Have each target's answers judged, idle and again at the replay's full load: promptfoo:FILE runs your promptfoo by that
    /// configuration, cmd:COMMAND any other evaluator; canary compares greedy answers to fixed prompts by itself, canary:FILE to those of
    /// a file, one a line (docs/quality.md). Goes with whole runs, and not with --sweep or --find-max; of several shards, the first has them judged. Objectives: quality.pass_rate, quality.score, quality.flips, quality.canary.identical,
    /// quality.canary.distance
    #[arg(long, value_name = "EVALUATOR")]
    probe: Option<Probe>,

    /// End an evaluator that takes longer than this
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = values::duration)]
    probe_timeout: Duration,
}

impl QualityArgs {
    /// Who judges the answers of these runs; of several shards, the first has them judged.
    ///
    /// # Errors
    /// When nobody would: steps of a sweep or a search are not judged.
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
        // The same tests asked by each process are not so many times as many tests, and no process would find the target idle while others ask.
        if plan.shard.is_some_and(|shard| shard.index() > 0) {
            return Ok(None);
        }
        Ok(Some(Evaluator {
            probe,
            patience: self.probe_timeout,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_shards_the_first_has_answers_judged() {
        let args = QualityArgs {
            probe: Some("canary".parse().unwrap()),
            probe_timeout: Duration::from_secs(1),
        };
        let judges = |shard: &str| {
            let plan = PlanOptions {
                shard: Some(shard.parse().unwrap()),
                ..PlanOptions::default()
            };
            args.evaluator(&Mode::ONCE, &plan).unwrap().is_some()
        };
        let judging = ["0/3", "1/3", "2/3", "0/1"].map(judges);
        assert_eq!(judging, [true, false, false, true]);
    }
}

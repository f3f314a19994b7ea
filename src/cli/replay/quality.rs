//! Options that say who judges the answers.

use std::time::Duration;

use crate::campaign::Evaluator;
use crate::cli::values;
use crate::probe::Probe;

#[derive(Debug, clap::Args)]
pub(super) struct QualityArgs {
    /// Have each target's answers judged, idle and again at the replay's full load: promptfoo:FILE runs your promptfoo by that
    /// configuration, cmd:COMMAND any other evaluator; canary compares greedy answers to fixed prompts by itself, canary:FILE to those of
    /// a file, one a line (docs/quality.md). Objectives: quality.pass_rate, quality.score, quality.flips, quality.canary.identical,
    /// quality.canary.distance
    #[arg(long, value_name = "EVALUATOR")]
    probe: Option<Probe>,

    /// End an evaluator that takes longer than this
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = values::duration)]
    probe_timeout: Duration,
}

impl QualityArgs {
    pub(super) fn evaluator(&self) -> Option<Evaluator> {
        let probe = self.probe.clone()?;
        Some(Evaluator {
            probe,
            patience: self.probe_timeout,
        })
    }
}

use serde::Serialize;

use super::sample::{Load, RunSample};

/// How the load that a target was under compares with the baseline's: a slow target slows its own conversations down, and is asked
/// for less.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadRatio {
    /// Requests sent a second, target over baseline.
    pub requests: f64,
    /// Tokens (of prompts and answers) a second, target over baseline; absent where nobody told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
    /// One of the two is off by more than 2 %: the figures beside it are no comparison.
    pub differs: bool,
}

impl LoadRatio {
    /// Over all runs of each; `None` where one of them sent nothing.
    pub(super) fn of(baseline: &[RunSample], target: &[RunSample]) -> Option<Self> {
        let runs = baseline.len().min(target.len());
        let (before, now) = (rates(baseline, runs)?, rates(target, runs)?);
        let requests = now.0 / before.0;
        let tokens = (before.1 > 0.0 && now.1 > 0.0).then(|| now.1 / before.1);
        let off = |ratio: f64| (ratio - 1.0).abs() > MOST_DIFFERENCE;
        Some(Self {
            requests,
            tokens,
            differs: off(requests) || tokens.is_some_and(off),
        })
    }
}

/// Requests and tokens a second, the mean over the first `runs`.
#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn rates(samples: &[RunSample], runs: usize) -> Option<(f64, f64)> {
    let mut sums = (0.0, 0.0);
    for sample in samples.iter().take(runs) {
        let Load {
            requests,
            tokens,
            first_us,
            last_us,
        } = sample.load;
        // A plan of one instant has no rate: its counts are compared.
        let seconds = ((last_us - first_us?) as f64 / 1e6).max(1e-6);
        sums.0 += requests as f64 / seconds;
        sums.1 += tokens as f64 / seconds;
    }
    (sums.0 > 0.0).then_some(sums)
}

/// Beyond this the two were not asked for the same.
const MOST_DIFFERENCE: f64 = 0.02;

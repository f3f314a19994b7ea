use serde::Serialize;

use super::sample::{Load, RunSample};
use crate::replay::Shape;

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
        Some(Self {
            requests,
            tokens,
            differs: off(requests) || tokens.is_some_and(off),
        })
    }
}

/// How a plan changed the load that production was under.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Arrivals came this many times as fast.
    pub speed: f64,
    /// This many times as many conversations.
    pub rate_scale: f64,
    /// The trace was repeated for this long.
    pub loop_for_s: Option<f64>,
    /// By what the rate of arrivals was multiplied over the run.
    pub shape: Option<Shape>,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            speed: 1.0,
            rate_scale: 1.0,
            loop_for_s: None,
            shape: None,
        }
    }
}

impl LoadRatio {
    /// Beside what production was under when the same requests were recorded: how much longer that took, for as many more conversations as
    /// there were. Only requests are compared, since another server counts other tokens; and by when they were due, since it is no change of
    /// the load that this machine sent one late.
    ///
    /// A trace that was repeated has no instants of its own in production: its requests are held against the plan, and that against production
    /// by its factors.
    pub(super) fn of_production(target: &[RunSample], scaling: Scaling) -> Option<Self> {
        let (mut before_s, mut now_s) = (0.0, 0.0);
        let shaped = scaling.shape.map_or(1.0, |shape| shape.mean());
        for Load {
            due,
            planned,
            recorded,
            ..
        } in target.iter().map(|sample| sample.load)
        {
            before_s += match scaling.loop_for_s {
                None => recorded.seconds(),
                Some(_) => planned.seconds() * scaling.speed * shaped,
            };
            now_s += due.seconds();
        }
        if target.iter().all(|sample| sample.load.requests == 0) {
            return None;
        }
        let requests = before_s.max(INSTANT_S) / now_s.max(INSTANT_S) * scaling.rate_scale;
        Some(Self {
            requests,
            tokens: None,
            differs: off(requests),
        })
    }
}

fn off(ratio: f64) -> bool {
    (ratio - 1.0).abs() > MOST_DIFFERENCE
}

/// Requests and tokens a second, the mean over the first `runs`.
#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn rates(samples: &[RunSample], runs: usize) -> Option<(f64, f64)> {
    let mut sums = (0.0, 0.0);
    for sample in samples.iter().take(runs) {
        let Load {
            requests,
            tokens,
            sent,
            ..
        } = sample.load;
        if sent.is_empty() {
            return None;
        }
        // A plan of one instant has no rate: its counts are compared.
        let seconds = sent.seconds().max(INSTANT_S);
        sums.0 += requests as f64 / seconds;
        sums.1 += tokens as f64 / seconds;
    }
    (sums.0 > 0.0).then_some(sums)
}

/// Beyond this the two were not asked for the same.
const MOST_DIFFERENCE: f64 = 0.02;
/// What no time at all counts as.
const INSTANT_S: f64 = 1e-6;

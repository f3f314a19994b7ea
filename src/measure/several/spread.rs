use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::RunFigures;
use super::sums::float;
use crate::measure::LatencySummary;

/// How a figure varies from run to run. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Runs.
    pub runs: u64,
    /// Runs in which it has a finite value: in the others it lies among the failures.
    pub finite: u64,
    /// Smallest.
    pub min: f64,
    /// Geometric mean of the finite values.
    pub mean: f64,
    /// Largest finite value.
    pub max: f64,
    /// 95 % interval of the geometric mean: Student's t on the logarithms, over runs. From three runs on, and only where every run has a
    /// finite value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<(f64, f64)>,
}

/// The spread of one figure over runs; `None` where it is finite in none.
pub fn spread(values: &[Option<f64>]) -> Option<Spread> {
    let finite: Vec<f64> = values.iter().copied().flatten().collect();
    let logs: Vec<f64> = finite
        .iter()
        .map(|value| value.max(f64::MIN_POSITIVE).ln())
        .collect();
    let (n, min, max) = (
        float(finite.len()),
        finite.iter().copied().reduce(f64::min)?,
        finite.iter().copied().reduce(f64::max)?,
    );
    let mean = logs.iter().sum::<f64>() / n;
    let ci95 = (finite.len() == values.len() && finite.len() >= 3)
        .then(|| {
            let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
            let half = t * (variance / n).sqrt();
            Some(((mean - half).exp(), (mean + half).exp()))
        })
        .flatten();
    Some(Spread {
        runs: values.len() as u64,
        finite: finite.len() as u64,
        min,
        mean: mean.exp(),
        max,
        ci95,
    })
}

/// How the medians and 99th percentiles of `runs` vary, by name (`ttft_ms.p99`).
pub(super) fn spreads(runs: &[RunFigures]) -> BTreeMap<String, Spread> {
    let mut spreads = BTreeMap::new();
    for name in ["ttft_ms", "itl_ms", "tpot_ms", "e2e_ms"] {
        for (label, value) in [
            (
                "p50",
                (|latency: &LatencySummary| latency.p50) as fn(&LatencySummary) -> Option<f64>,
            ),
            ("p99", |latency| latency.p99),
        ] {
            let values: Vec<Option<f64>> = runs
                .iter()
                .filter_map(|run| run.latency.get(name).map(value))
                .collect();
            if let Some(spread) = spread(&values) {
                spreads.insert(format!("{name}.{label}"), spread);
            }
        }
    }
    spreads
}

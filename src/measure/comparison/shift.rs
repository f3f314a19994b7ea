use serde::Serialize;

use super::bootstrap::Resampled;
use super::decision::{rank, widening};

/// The shift function at one quantile: by how much the target's quantile differs from the baseline's (Doksum 1974; bands as in
/// Rousselet, Pernet and Wilcox 2017).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShiftPoint {
    /// The quantile, 0 to 1.
    pub q: f64,
    /// The baseline's, in milliseconds.
    pub baseline_ms: f64,
    /// Target − baseline, in milliseconds.
    pub difference_ms: f64,
    /// Its 95 % interval by the same resamples as the ratios'; an end is absent where it lies among failures.
    pub ci95: (Option<f64>, Option<f64>),
}

/// A point for each quantile that is finite on both sides.
pub(super) fn points(quantiles: &[f64], resampled: &Resampled, runs: usize) -> Vec<ShiftPoint> {
    let observed = quantiles.iter().zip(&resampled.observed);
    observed
        .zip(&resampled.resamples)
        .filter_map(|((&q, &(baseline, target)), resamples)| {
            let difference = target - baseline;
            if !difference.is_finite() {
                return None;
            }
            let mut differences: Vec<f64> = resamples
                .iter()
                .map(|&(baseline, target)| target - baseline)
                .filter(|difference| !difference.is_nan())
                .collect();
            differences.sort_by(f64::total_cmp);
            let end = |share: f64| {
                let end = *differences.get(rank(differences.len(), share))?;
                let widened = difference + widening(runs) * (end - difference);
                widened.is_finite().then_some(widened)
            };
            Some(ShiftPoint {
                q,
                baseline_ms: baseline,
                difference_ms: difference,
                ci95: (end(0.025), end(0.975)),
            })
        })
        .collect()
}

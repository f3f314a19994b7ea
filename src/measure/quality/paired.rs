//! A figure of the same things measured twice: how it was both times, and how it changed from one to the other, each with an interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::measure::quantile_ranks;

/// A figure idle and under load, over the tests that have it both times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedFigure {
    /// Tests.
    pub n: u64,
    /// While nothing was replayed.
    pub idle: f64,
    /// Its 95 % interval; absent where the tests are too few for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ci95: Option<(f64, f64)>,
    /// Under load.
    pub loaded: f64,
    /// Its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_ci95: Option<(f64, f64)>,
    /// The mean, or the median, of what it changed by from idle to load, test by test.
    pub change: f64,
    /// Its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_ci95: Option<(f64, f64)>,
}

/// By means; `None` of no pair.
pub(super) fn paired_means(pairs: &[(f64, f64)]) -> Option<PairedFigure> {
    paired(pairs, mean, mean_ci95)
}

/// By medians; `None` of no pair.
pub(super) fn paired_medians(pairs: &[(f64, f64)]) -> Option<PairedFigure> {
    paired(pairs, median, median_ci95)
}

/// Student's 95 % interval of a mean; `None` of a single value, and of values that are all the same, which tell nothing of how far others stray.
pub(super) fn mean_ci95(values: &[f64]) -> Option<(f64, f64)> {
    let (middle, n) = (mean(values)?, float(values.len()));
    let degrees = n - 1.0;
    if degrees < 1.0 {
        return None;
    }
    let squares = values.iter().map(|value| (value - middle).powi(2));
    let error = (squares.sum::<f64>() / degrees / n).sqrt();
    let student = StudentsT::new(0.0, 1.0, degrees).ok()?.inverse_cdf(0.975);
    let half = student * error;
    (half > 0.0).then_some((middle - half, middle + half))
}

fn paired(
    pairs: &[(f64, f64)],
    middle: fn(&[f64]) -> Option<f64>,
    ci95: fn(&[f64]) -> Option<(f64, f64)>,
) -> Option<PairedFigure> {
    let (idle, loaded): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let changes: Vec<f64> = pairs.iter().map(|(idle, loaded)| loaded - idle).collect();
    Some(PairedFigure {
        n: pairs.len() as u64,
        idle: middle(&idle)?,
        idle_ci95: ci95(&idle),
        loaded: middle(&loaded)?,
        loaded_ci95: ci95(&loaded),
        change: middle(&changes)?,
        change_ci95: ci95(&changes),
    })
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / float(values.len()))
}

fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// Between which order statistics a median lies (see [`quantile_ranks`]); `None` below six values.
fn median_ci95(values: &[f64]) -> Option<(f64, f64)> {
    let ranks = quantile_ranks(values.len() as u64, 0.5)?;
    let sorted = sorted(values);
    let at = |rank: u64| {
        sorted
            .get(usize::try_from(rank).ok()?.checked_sub(1)?)
            .copied()
    };
    at(ranks.lower).zip(at(ranks.upper?))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_books() {
        // t(4) at 97.5 % is 2.776; of 1 to 5 the standard error is sqrt(2.5 / 5).
        let (low, high) = mean_ci95(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!(
            (low - 1.0368).abs() < 1e-3 && (high - 4.9632).abs() < 1e-3,
            "{low} {high}"
        );
        // The second and the ninth of ten (Hahn and Meeker, table A.16).
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(median_ci95(&ten), Some((2.0, 9.0)));
        assert_eq!(median(&ten), Some(5.5));
    }

    #[test]
    fn too_little_has_no_interval() {
        assert_eq!(mean_ci95(&[1.0]), None);
        assert_eq!(mean_ci95(&[1.0, 1.0, 1.0]), None);
        assert_eq!(median_ci95(&[1.0, 2.0, 3.0, 4.0, 5.0]), None);
        assert_eq!(paired_means(&[]), None);
        assert_eq!(paired_medians(&[]), None);
    }
}

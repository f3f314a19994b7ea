//! What a bootstrap says of a ratio: its interval, the verdict against a margin, and how many more runs would decide.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// What an interval says against a margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonVerdict {
    /// All of the interval is above the margin.
    Worse,
    /// All of the interval is at or below the margin.
    NotWorse,
    /// The interval holds the margin.
    Inconclusive,
    /// The two were under different load: nothing can be said.
    UnlikeLoad,
}

/// A ratio with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ratio {
    /// Target over baseline; infinite where the target's lies among its failures.
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Ratio {
    /// From the observed pair (baseline, target) and those of the resamples, of `runs` runs.
    ///
    /// The percentile interval, widened around the observed ratio (on the logarithm) for the few runs that there are: resampling K
    /// runs shows only (K − 1) / K of their variance, and its tails are Student's, not the normal's. With one run
    /// nothing is known of other runs, and the interval speaks of this one.
    pub(super) fn of(observed: (f64, f64), resamples: &[(f64, f64)], runs: usize) -> Self {
        let value = ratio(observed);
        // One that drew only requests without the figure tells nothing.
        let drawn = resamples.iter().filter(|(a, b)| !a.is_nan() && !b.is_nan());
        let mut ratios: Vec<f64> = drawn.map(|&pair| ratio(pair)).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = ratios.len().saturating_sub(1);
            ratios.get(rank(ratios.len(), share).min(last)).copied()
        };
        let widened = |end: f64| {
            if value.is_finite() && value > 0.0 && end.is_finite() && end > 0.0 {
                value * (widening(runs) * (end / value).ln()).exp()
            } else {
                end
            }
        };
        Self {
            value,
            low: widened(at(0.025).unwrap_or(value)),
            high: widened(at(0.975).unwrap_or(value)),
        }
    }

    pub(super) fn verdict(&self, margin: f64) -> ComparisonVerdict {
        if self.low > 1.0 + margin {
            ComparisonVerdict::Worse
        } else if self.high <= 1.0 + margin {
            ComparisonVerdict::NotWorse
        } else {
            ComparisonVerdict::Inconclusive
        }
    }

    /// How many runs more would decide, if the ratio stays as it is and the interval shrinks with the root of the runs (and with
    /// what fewer of them cost, see [`Ratio::of`]); `None` where it is decided, or where more than [`MOST_RUNS`] would not do.
    pub(super) fn more_runs(&self, margin: f64, runs: usize) -> Option<u64> {
        if self.verdict(margin) != ComparisonVerdict::Inconclusive || !self.value.is_finite() {
            return None;
        }
        let distance = (self.value.ln() - (1.0 + margin).ln()).abs();
        let end = if self.value > 1.0 + margin {
            self.low
        } else {
            self.high
        };
        let half = (self.value.ln() - end.ln()).abs();
        let shrinks = |to: usize| widening(to) / widening(runs) * (count(runs) / count(to)).sqrt();
        (runs + 1..=MOST_RUNS)
            .find(|&to| half * shrinks(to) < distance)
            .map(|to| (to - runs) as u64)
    }
}

/// Beyond so many runs nobody goes.
const MOST_RUNS: usize = 100;

/// √(K / (K − 1)) · t(K − 1) / z, at 97.5 %; 1 for a single run.
pub(super) fn widening(runs: usize) -> f64 {
    if runs < 2 {
        return 1.0;
    }
    let degrees = count(runs - 1);
    let student = StudentsT::new(0.0, 1.0, degrees).map_or(1.96, |t| t.inverse_cdf(0.975));
    (count(runs) / degrees).sqrt() * student / 1.959_964
}

/// Target over baseline: infinite where only the target's is, 0 where only the baseline's is, 1 where both are.
fn ratio((baseline, target): (f64, f64)) -> f64 {
    match (baseline.is_finite(), target.is_finite()) {
        // Tokens that come all at once take no time each, on either side.
        (true, true) if target == baseline => 1.0,
        (true, true) => target / baseline.max(f64::MIN_POSITIVE),
        (true, false) => f64::INFINITY,
        (false, true) => 0.0,
        (false, false) => 1.0,
    }
}

/// Index of the `q` quantile among `len` rising values: nearest rank.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped"
)]
pub(super) fn rank(len: usize, q: f64) -> usize {
    ((len as f64 * q).ceil() as usize).clamp(1, len.max(1)) - 1
}

#[allow(clippy::cast_precision_loss, reason = "a handful of runs")]
fn count(runs: usize) -> f64 {
    runs as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio_of(value: f64, spread: f64, runs: usize) -> Ratio {
        let resamples: Vec<(f64, f64)> = (0..=1000)
            .map(|i| (1.0, value * (1.0 + spread * (f64::from(i) / 500.0 - 1.0))))
            .collect();
        Ratio::of((1.0, value), &resamples, runs)
    }

    #[test]
    fn few_runs_widen_an_interval() {
        assert!((widening(1) - 1.0).abs() < 1e-9);
        assert!((widening(2) - 9.17).abs() < 0.01, "{}", widening(2));
        assert!((widening(5) - 1.58).abs() < 0.01, "{}", widening(5));
        let (one, five) = (ratio_of(1.0, 0.1, 1), ratio_of(1.0, 0.1, 5));
        assert!(one.low > five.low && one.high < five.high);
    }

    #[test]
    fn an_inconclusive_ratio_says_how_many_runs_would_decide() {
        let near = ratio_of(1.08, 0.05, 5);
        assert_eq!(near.verdict(0.05), ComparisonVerdict::Inconclusive);
        let more = near.more_runs(0.05, 5).unwrap();
        assert!((1..40).contains(&more), "{more}");
        let clear = ratio_of(1.5, 0.05, 5);
        assert_eq!(clear.verdict(0.05), ComparisonVerdict::Worse);
        assert_eq!(clear.more_runs(0.05, 5), None);
        let on_the_margin = ratio_of(1.0501, 0.05, 5);
        assert_eq!(
            on_the_margin.more_runs(0.05, 5),
            None,
            "no number of runs would do"
        );
    }

    #[test]
    fn nothing_is_as_much_as_nothing() {
        let none = Ratio::of((0.0, 0.0), &[(0.0, 0.0); 100], 1);
        assert_eq!((none.value, none.low, none.high), (1.0, 1.0, 1.0));
    }
}

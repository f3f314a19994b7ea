//! The paired bootstrap over conversations nested in runs (Davison and Hinkley 1997, section 3.8).
//!
//! A resample draws as many runs as there are, with replacement, and in each as many conversations; baseline and target are drawn
//! alike, so what both have in common (the trace's bursts) cancels out. Quantiles of a resample are found by walking the values,
//! sorted once, from the largest down, adding up how often each one's conversation was drawn.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One latency of both sides, conversation by conversation.
#[derive(Debug, Default)]
pub(super) struct Column {
    baseline: Values,
    target: Values,
    /// Where each run's clusters begin.
    runs: Vec<std::ops::Range<usize>>,
}

/// One side's values.
#[derive(Debug, Default)]
struct Values {
    /// Each with the cluster that it is of.
    falling: Vec<(f32, u32)>,
    /// How many each cluster has.
    sizes: Vec<u32>,
    /// The sum and the number of the finite ones of each cluster whose request has finite ones on both sides.
    sums: Vec<(f64, f64)>,
}

/// The values of one request: the baseline's, the target's.
pub(super) type Both<'a> = (&'a [f32], &'a [f32]);

/// What resampling a column gave, for each of the quantiles asked for and, last, for the mean: the figures themselves, then one pair (baseline,
/// target) for each resample. A figure that a resample does not have is not a number.
pub(super) struct Resampled {
    pub(super) observed: Vec<(f64, f64)>,
    pub(super) resamples: Vec<Vec<(f64, f64)>>,
}

impl Column {
    /// Opens the next run.
    pub(super) fn open_run(&mut self) {
        let begin = self.clusters();
        self.runs.push(begin..begin);
    }

    /// Adds one conversation of the run: both sides' values of each of its requests, which are one to each side, or as many as there are
    /// gaps between its tokens.
    pub(super) fn add(&mut self, requests: &[Both<'_>]) {
        let (Some(run), Ok(cluster)) =
            (self.runs.last_mut(), u32::try_from(self.target.sizes.len()))
        else {
            return;
        };
        if requests
            .iter()
            .all(|(baseline, target)| baseline.is_empty() && target.is_empty())
        {
            return;
        }
        run.end += 1;
        self.baseline.open_cluster();
        self.target.open_cluster();
        for &(baseline, target) in requests {
            // A mean is of requests that both answered: of those that one failed at, only the other's values would be in it.
            let both = [baseline, target]
                .iter()
                .all(|values| values.iter().all(|value| value.is_finite()));
            self.baseline.add(baseline, cluster, both);
            self.target.add(target, cluster, both);
        }
    }

    /// Values of the side that has fewer.
    pub(super) fn pairs(&self) -> usize {
        self.target.falling.len().min(self.baseline.falling.len())
    }

    /// Conversations over all runs.
    pub(super) fn clusters(&self) -> usize {
        self.target.sizes.len()
    }

    /// The `quantiles` (rising) and the mean of the column and of `count` resamples of it. `None` where there is nothing.
    pub(super) fn resample(
        mut self,
        quantiles: &[f64],
        count: usize,
        seed: u64,
    ) -> Option<Resampled> {
        self.runs.retain(|run| !run.is_empty());
        if self.pairs() == 0 {
            return None;
        }
        for side in [&mut self.baseline, &mut self.target] {
            side.falling.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        }
        let mut weights = vec![1_u32; self.clusters()];
        let observed = self.figures(&weights, quantiles);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut resamples = vec![Vec::with_capacity(count); quantiles.len() + 1];
        for _ in 0..count {
            weights.fill(0);
            for _ in 0..self.runs.len() {
                let run = self.runs.get(rng.random_range(0..self.runs.len()))?.clone();
                let begin = u32::try_from(run.start).ok()?;
                let end = u32::try_from(run.end).ok()?;
                for _ in run {
                    // Drawn as u32: half the random bits of a usize.
                    let drawn = rng.random_range(begin..end);
                    *weights.get_mut(drawn as usize)? += 1;
                }
            }
            for (kept, pair) in resamples.iter_mut().zip(self.figures(&weights, quantiles)) {
                kept.push(pair);
            }
        }
        Some(Resampled {
            observed,
            resamples,
        })
    }

    fn figures(&self, weights: &[u32], quantiles: &[f64]) -> Vec<(f64, f64)> {
        let baseline = self.baseline.figures(weights, quantiles);
        let target = self.target.figures(weights, quantiles);
        baseline.into_iter().zip(target).collect()
    }
}

impl Values {
    fn open_cluster(&mut self) {
        self.sizes.push(0);
        self.sums.push((0.0, 0.0));
    }

    fn add(&mut self, values: &[f32], cluster: u32, in_mean: bool) {
        self.falling
            .extend(values.iter().map(|&value| (value, cluster)));
        if let Some(size) = self.sizes.last_mut() {
            *size = size.saturating_add(u32::try_from(values.len()).unwrap_or(u32::MAX));
        }
        if let Some((sum, count)) = self.sums.last_mut().filter(|_| in_mean) {
            for &value in values {
                *sum += f64::from(value);
                *count += 1.0;
            }
        }
    }

    fn figures(&self, weights: &[u32], quantiles: &[f64]) -> Vec<f64> {
        let total: u64 = self
            .sizes
            .iter()
            .zip(weights)
            .map(|(&size, &weight)| u64::from(size) * u64::from(weight))
            .sum();
        let mut found = weighted(&self.falling, weights, total, quantiles);
        let sums = self.sums.iter().zip(weights);
        let (sum, count) = sums.fold((0.0, 0.0), |all, (&(sum, count), &weight)| {
            let weight = f64::from(weight);
            (all.0 + weight * sum, all.1 + weight * count)
        });
        // Not a number where nothing counts.
        found.push(sum / count);
        found
    }
}

/// The quantiles (nearest rank) of falling values, each as often as its cluster's weight says.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks stay below 2^53"
)]
fn weighted(falling: &[(f32, u32)], weights: &[u32], total: u64, quantiles: &[f64]) -> Vec<f64> {
    let mut found = vec![f64::NAN; quantiles.len()];
    if total == 0 {
        return found;
    }
    let mut above = 0_u64;
    let mut values = falling.iter();
    let mut value = f64::NAN;
    for (slot, &q) in found.iter_mut().zip(quantiles).rev() {
        let rank = ((total as f64 * q).ceil() as u64).clamp(1, total);
        // As many values from the top as the rank's place counted from there.
        let wanted = total - rank + 1;
        while above < wanted {
            let Some(&(next, cluster)) = values.next() else {
                break;
            };
            value = f64::from(next);
            above += u64::from(weights.get(cluster as usize).copied().unwrap_or(0));
        }
        *slot = value;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mean_is_of_the_requests_that_both_sides_answered() {
        let mut column = Column::default();
        column.open_run();
        let lost: &[f32] = &[f32::INFINITY];
        column.add(&[(&[1.0], &[2.0]), (&[100.0], lost)]);
        column.add(&[(&[3.0], &[4.0])]);
        let found = column.resample(&[0.5], 50, 1).unwrap();
        assert_eq!(found.observed, [(3.0, 4.0), (2.0, 3.0)]);
        let means = &found.resamples[1];
        assert!(means.contains(&(1.0, 2.0)) && means.contains(&(3.0, 4.0)));
        assert!(means.iter().all(|(before, now)| now - before == 1.0));
    }

    #[test]
    fn sides_of_unlike_numbers_of_values_each_have_their_own_quantiles() {
        let mut column = Column::default();
        column.open_run();
        column.add(&[(&[1.0, 2.0, 3.0], &[10.0])]);
        column.add(&[(&[4.0], &[20.0, 30.0, 40.0])]);
        assert_eq!((column.pairs(), column.clusters()), (4, 2));
        let found = column.resample(&[0.5, 0.9], 10, 1).unwrap();
        assert_eq!(found.observed, [(2.0, 20.0), (4.0, 40.0), (2.5, 25.0)]);
    }

    proptest! {
        #[test]
        fn weighted_quantiles_are_those_of_the_values_written_out(
            clusters in prop::collection::vec((prop::collection::vec(0.0_f32..100.0, 1..5), 0_u32..4), 1..20),
            q in 0.01_f64..0.999,
        ) {
            let mut falling = Vec::new();
            let mut written_out = Vec::new();
            for (cluster, (values, weight)) in clusters.iter().enumerate() {
                for &value in values {
                    falling.push((value, u32::try_from(cluster).unwrap()));
                    written_out.extend(std::iter::repeat_n(value, *weight as usize));
                }
            }
            prop_assume!(!written_out.is_empty());
            falling.sort_by(|a, b| b.0.total_cmp(&a.0));
            written_out.sort_by(f32::total_cmp);
            let weights: Vec<u32> = clusters.iter().map(|cluster| cluster.1).collect();
            let total = written_out.len() as u64;
            let rank = ((total as f64 * q).ceil() as usize).clamp(1, written_out.len());
            let found = weighted(&falling, &weights, total, &[q]);
            prop_assert_eq!(found[0], f64::from(written_out[rank - 1]));
        }
    }
}

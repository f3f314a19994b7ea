//! The paired bootstrap over conversations nested in runs (Davison and Hinkley 1997, section 3.8).
//!
//! A resample draws as many runs as there are, with replacement, and in each as many conversations; baseline and target are drawn
//! alike, so what both have in common (the trace's bursts) cancels out. Quantiles of a resample are found by walking the values,
//! sorted once, from the largest down, adding up how often each one's conversation was drawn.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One latency of both sides, request by request.
#[derive(Debug, Default)]
pub(super) struct Column {
    baseline: Vec<(f32, u32)>,
    target: Vec<(f32, u32)>,
    /// How many requests each cluster has.
    sizes: Vec<u32>,
    /// Where each run's clusters begin.
    runs: Vec<std::ops::Range<usize>>,
}

/// What resampling a column gave, for each of the quantiles asked for: the figures themselves, then one pair (baseline, target) for each resample.
pub(super) struct Resampled {
    pub(super) observed: Vec<(f64, f64)>,
    pub(super) resamples: Vec<Vec<(f64, f64)>>,
}

impl Column {
    /// Opens the next run.
    pub(super) fn open_run(&mut self) {
        let begin = self.sizes.len();
        self.runs.push(begin..begin);
    }

    /// Adds one conversation of the run: the two sides' values of each of its requests.
    pub(super) fn add(&mut self, pairs: &[(f32, f32)]) {
        let (Some(run), Ok(cluster), Ok(size)) = (
            self.runs.last_mut(),
            u32::try_from(self.sizes.len()),
            u32::try_from(pairs.len()),
        ) else {
            return;
        };
        if pairs.is_empty() {
            return;
        }
        run.end += 1;
        self.sizes.push(size);
        for &(baseline, target) in pairs {
            self.baseline.push((baseline, cluster));
            self.target.push((target, cluster));
        }
    }

    pub(super) fn pairs(&self) -> usize {
        self.target.len()
    }

    /// The `quantiles` (rising) of the column and of `count` resamples of it. `None` where there is nothing.
    pub(super) fn resample(
        mut self,
        quantiles: &[f64],
        count: usize,
        seed: u64,
    ) -> Option<Resampled> {
        self.runs.retain(|run| !run.is_empty());
        if self.target.is_empty() {
            return None;
        }
        for side in [&mut self.baseline, &mut self.target] {
            side.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        }
        let mut weights = vec![1_u32; self.sizes.len()];
        let observed = self.quantiles(&weights, quantiles);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut resamples = vec![Vec::with_capacity(count); quantiles.len()];
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
            for (kept, pair) in resamples
                .iter_mut()
                .zip(self.quantiles(&weights, quantiles))
            {
                kept.push(pair);
            }
        }
        Some(Resampled {
            observed,
            resamples,
        })
    }

    fn quantiles(&self, weights: &[u32], quantiles: &[f64]) -> Vec<(f64, f64)> {
        let total: u64 = self
            .sizes
            .iter()
            .zip(weights)
            .map(|(&size, &weight)| u64::from(size) * u64::from(weight))
            .sum();
        let baseline = weighted(&self.baseline, weights, total, quantiles);
        let target = weighted(&self.target, weights, total, quantiles);
        baseline.into_iter().zip(target).collect()
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
    let mut above = 0_u64;
    let mut values = falling.iter();
    let mut value = f64::NAN;
    for (slot, &q) in found.iter_mut().zip(quantiles).rev() {
        let rank = ((total as f64 * q).ceil() as u64).clamp(1, total.max(1));
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

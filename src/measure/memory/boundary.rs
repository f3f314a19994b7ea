use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::measure::median::median;

/// Where a memory runs out: how full it is, against the tokens in flight, drawn out to full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boundary {
    /// Tokens in flight at which it is full; absent where that lies further than twice what was seen, or it does not fill with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_tokens: Option<f64>,
    /// 95 % interval of it (bootstrap over stretches of the run); an end that lies too far to be told is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci95: Option<(Option<f64>, Option<f64>)>,
    /// The most tokens in flight that were seen.
    pub seen_tokens: f64,
    /// The fullest that was seen, 0 to 1.
    pub seen_share: f64,
    /// Share that a token in flight takes.
    pub share_per_token: f64,
    /// Share in use with nothing in flight.
    pub share_at_rest: f64,
    /// In words, for a person.
    pub reason: String,
}

/// Where a memory runs out, from `(tokens in flight, share in use)` in order of time; `None` for fewer than [`FEWEST`] or where the
/// load never varied.
///
/// A line through the medians (Theil 1950, Sen 1968) of what lies below [`FULL`]: beyond, a cache is full and requests wait, and the tokens of those
/// in flight say nothing of what it holds. The interval is a moving-block bootstrap (Künsch 1989), since neighbours in time depend on each other.
pub(super) fn boundary(points: &[(f64, f64)]) -> Option<Boundary> {
    let seen_tokens = points.iter().map(|&(tokens, _)| tokens).fold(0.0, f64::max);
    let seen_share = points.iter().map(|&(_, share)| share).fold(0.0, f64::max);
    let open: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|&(tokens, share)| share < FULL && tokens > 0.0)
        .collect();
    if open.len() < FEWEST {
        return None;
    }
    let step = open.len().div_ceil(MOST);
    let open: Vec<(f64, f64)> = open.into_iter().step_by(step).collect();
    let line = Line::through(&open)?;
    let furthest = FURTHEST * seen_tokens;
    let within = |tokens: f64| (tokens > 0.0 && tokens <= furthest).then_some(tokens);
    let found = line.full_at();
    let ends = interval(&open);
    let ci95 = ends.map(|(low, high)| (low.and_then(within), high.and_then(within)));
    // A slope that may as well be none fills nothing.
    let fills = ends.is_some_and(|(low, high)| low.is_some() && high.is_some());
    let in_flight_tokens = found.filter(|_| fills).and_then(within);
    let reason = match (in_flight_tokens, found.filter(|_| fills)) {
        (Some(full), _) if seen_share >= FULL => {
            format!("it was full: at some {full:.0} tokens in flight")
        }
        (Some(full), _) => format!(
            "full at some {full:.0} tokens in flight, {:.2} times the most that was seen",
            full / seen_tokens
        ),
        (None, Some(_)) => {
            "it would be full at more than twice the tokens in flight that were seen, which is too far to tell".to_owned()
        }
        (None, None) => "it does not fill with the tokens in flight".to_owned(),
    };
    Some(Boundary {
        in_flight_tokens,
        ci95: in_flight_tokens.and(ci95),
        seen_tokens,
        seen_share,
        share_per_token: line.slope,
        share_at_rest: line.rest,
        reason,
    })
}

struct Line {
    slope: f64,
    rest: f64,
}

impl Line {
    /// Theil and Sen's line: the median of the slopes of all pairs, and the median of what it leaves.
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        let mut slopes: Vec<f64> = points
            .iter()
            .enumerate()
            .flat_map(|(i, &a)| points.iter().skip(i + 1).map(move |&b| (a, b)))
            .filter(|(a, b)| (b.0 - a.0).abs() > f64::EPSILON)
            .map(|(a, b)| (b.1 - a.1) / (b.0 - a.0))
            .collect();
        let slope = median(&mut slopes)?;
        let mut rests: Vec<f64> = points
            .iter()
            .map(|&(tokens, share)| share - slope * tokens)
            .collect();
        Some(Self {
            slope,
            rest: median(&mut rests)?,
        })
    }

    /// Tokens at which the share is 1; `None` where it never is.
    fn full_at(&self) -> Option<f64> {
        let tokens = (1.0 - self.rest) / self.slope;
        (self.slope > 0.0 && tokens.is_finite() && tokens > 0.0).then_some(tokens)
    }
}

/// The 2.5th and the 97.5th percentile of where resampled lines are full; an end at which they never are is absent.
fn interval(points: &[(f64, f64)]) -> Option<(Option<f64>, Option<f64>)> {
    // Pairs are quadratic, so what is resampled is thinner than what is fitted.
    let step = points.len().div_ceil(RESAMPLED);
    let points: Vec<(f64, f64)> = points.iter().copied().step_by(step).collect();
    let block = (points.len() / 8).max(2);
    let starts = points.len().checked_sub(block)? + 1;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut full: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut sample = Vec::with_capacity(points.len() + block);
            while sample.len() < points.len() {
                let start = rng.random_range(0..starts);
                sample.extend_from_slice(points.get(start..start + block).unwrap_or_default());
            }
            let line = Line::through(&sample);
            line.and_then(|line| line.full_at())
                .unwrap_or(f64::INFINITY)
        })
        .collect();
    full.sort_by(f64::total_cmp);
    let at = |share: usize| {
        let value = full.get(full.len() * share / 1000).copied();
        value.filter(|value| value.is_finite())
    };
    Some((at(25), at(974)))
}

/// Samples below which nothing is said.
const FEWEST: usize = 10;
/// Samples that a line is put through at most: all pairs of them are looked at.
const MOST: usize = 600;
const RESAMPLED: usize = 120;
const RESAMPLES: usize = 400;
/// From here on a memory is full.
const FULL: f64 = 0.98;
/// How far beyond what was seen is told.
const FURTHEST: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// A load that rises and falls, and a cache of 100,000 tokens that it fills, seen with noise.
    fn run(most_tokens: f64, noise: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..120)
            .map(|i| {
                let wave = 0.55 + 0.45 * (f64::from(i) / 9.0).sin();
                let tokens = most_tokens * wave;
                let share = 0.02 + tokens / 100_000.0 + noise * (rng.random::<f64>() - 0.5);
                (tokens, share.clamp(0.0, 1.0))
            })
            .collect()
    }

    #[test]
    fn the_boundary_is_told_from_sixty_percent_of_the_load() {
        for seed in 0..20 {
            let found = boundary(&run(60_000.0, 0.05, seed)).unwrap();
            let full = found.in_flight_tokens.unwrap();
            assert!((full / 98_000.0 - 1.0).abs() < 0.1, "{found:?}");
            let (low, high) = found.ci95.unwrap();
            assert!(
                low.unwrap() < full && full < high.unwrap_or(f64::INFINITY),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_lies_too_far_or_does_not_fill_is_not_told() {
        let far = boundary(&run(20_000.0, 0.01, 1)).unwrap();
        assert_eq!(far.in_flight_tokens, None);
        assert!(far.reason.contains("twice"), "{far:?}");
        let still: Vec<(f64, f64)> = run(60_000.0, 0.0, 1)
            .iter()
            .map(|&(x, _)| (x, 0.9))
            .collect();
        let still = boundary(&still).unwrap();
        assert_eq!(still.in_flight_tokens, None);
        assert!(still.reason.contains("does not fill"), "{still:?}");
        assert_eq!(
            boundary(&[(1.0, 0.5); 100]),
            None,
            "a load that never varied"
        );
        assert_eq!(boundary(&run(60_000.0, 0.0, 1)[..5]), None);
    }

    #[test]
    fn a_full_cache_with_a_queue_does_not_bend_the_line() {
        let found = boundary(&run(180_000.0, 0.02, 3)).unwrap();
        assert!(
            (found.in_flight_tokens.unwrap() / 98_000.0 - 1.0).abs() < 0.05,
            "{found:?}"
        );
        assert!(found.reason.starts_with("it was full"), "{found:?}");
    }
}

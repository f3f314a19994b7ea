/// A trend in a series of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// Theil–Sen slope: the median of the slopes of all pairs, in units of the value per second.
    pub per_s: f64,
    /// Its 95 % interval (Sen 1968, by Kendall's variance).
    pub ci95: (f64, f64),
    /// Whether the Mann–Kendall test sees a monotone trend at 5 %.
    pub significant: bool,
}

/// The trend of `(seconds, value)` samples, in rising order of time; `None` for fewer than ten.
///
/// All pairs are looked at, so a longer series is thinned evenly to 600 samples first. Sources: Theil 1950, Sen 1968,
/// Mann 1945, Kendall 1975 (variance with ties).
pub fn growth(samples: &[(f64, f64)]) -> Option<Growth> {
    if samples.len() < FEWEST {
        return None;
    }
    let step = samples.len().div_ceil(MOST);
    let thinned: Vec<(f64, f64)> = samples.iter().copied().step_by(step).collect();
    let mut slopes = Vec::with_capacity(thinned.len() * thinned.len() / 2);
    let mut score = 0_i64;
    for (i, &(t0, v0)) in thinned.iter().enumerate() {
        for &(t1, v1) in thinned.iter().skip(i + 1) {
            if t1 > t0 {
                slopes.push((v1 - v0) / (t1 - t0));
                score += match v1.total_cmp(&v0) {
                    std::cmp::Ordering::Greater => 1,
                    std::cmp::Ordering::Less => -1,
                    std::cmp::Ordering::Equal => 0,
                };
            }
        }
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_by(f64::total_cmp);
    let deviation = kendall_variance(thinned.iter().map(|&(_, value)| value)).sqrt();
    let (per_s, ci95) = middle(&slopes, deviation)?;
    #[allow(
        clippy::cast_precision_loss,
        reason = "scores are at most MOST squared"
    )]
    let z = (score as f64 - (score.signum() as f64)) / deviation.max(f64::MIN_POSITIVE);
    let significant = score != 0 && deviation > 0.0 && z.abs() > 1.96;
    Some(Growth {
        per_s,
        ci95,
        significant,
    })
}

/// The median of sorted slopes and its 95 % interval, where the number of those that rise less the number of those that fall has this
/// standard deviation: the M1th and the (M2 + 1)th, counted from 1, with M = (slopes ∓ 1.96 deviations) / 2 (Gilbert 1987, section 16.5).
/// `None` where there is no slope.
pub(in crate::measure) fn middle(sorted: &[f64], deviation: f64) -> Option<(f64, (f64, f64))> {
    let all = float(sorted.len());
    let half = 1.96 * deviation;
    let at = |rank: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the list"
        )]
        let index = rank.clamp(0.0, (all - 1.0).max(0.0)) as usize;
        sorted.get(index).copied()
    };
    let low = at(((all - half) / 2.0).floor() - 1.0)?;
    let high = at(((all + half) / 2.0).ceil())?;
    Some((at((all / 2.0).floor())?, (low, high)))
}

/// Variance of Mann and Kendall's score, less what ties take from it.
pub(in crate::measure) fn kendall_variance(values: impl IntoIterator<Item = f64>) -> f64 {
    let term = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let ties: f64 = values
        .chunk_by(|a, b| a == b)
        .map(|tied| term(float(tied.len())))
        .sum();
    ((term(float(values.len())) - ties) / 18.0).max(0.0)
}

#[allow(clippy::cast_precision_loss, reason = "lengths stay below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

/// Samples that a trend takes.
pub(super) const FEWEST: usize = 10;
const MOST: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn series(slope: f64, noise: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..1200)
            .map(|i| {
                (
                    f64::from(i) / 10.0,
                    1000.0 + slope * f64::from(i) / 10.0 + noise * (rng.random::<f64>() - 0.5),
                )
            })
            .collect()
    }

    #[test]
    fn a_slope_is_found_within_its_interval() {
        let found = growth(&series(2.0, 50.0, 1)).unwrap();
        assert!(
            found.significant && found.ci95.0 <= 2.0 && found.ci95.1 >= 2.0,
            "{found:?}"
        );
        assert!((found.per_s - 2.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn noise_and_stillness_are_no_growth() {
        let alarms = (0..40)
            .filter(|&seed| growth(&series(0.0, 50.0, seed)).unwrap().significant)
            .count();
        assert!(alarms <= 6, "{alarms} of 40");
        let flat = growth(&series(0.0, 0.0, 1)).unwrap();
        assert_eq!((flat.per_s, flat.significant), (0.0, false));
        assert_eq!(growth(&[(0.0, 1.0); 5]), None);
        assert_eq!(growth(&[(0.0, 1.0); 50]), None, "all at one instant");
    }
}

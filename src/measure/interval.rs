use statrs::distribution::{Binomial, DiscreteCDF};

/// Ranks (from 1, rising) between which a quantile of the population lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    /// Rank of the lower end.
    pub lower: u64,
    /// Rank of the upper end; `None` where the sample is too small to have one.
    pub upper: Option<u64>,
}

/// The distribution-free 95 % interval of the `q` quantile of `n` samples, as ranks of order statistics. An end is one of the samples' values
/// only if the truth lies beyond all of them in at most 2.5 % of the cases.
///
/// The number of samples below the quantile is B(n, q); the interval takes 2.5 % off each side (Hahn and Meeker, *Statistical
/// Intervals*, section 5.2). For a P99 there is no upper end below n = 368. It speaks of this run on this trace only: requests
/// that wait in one queue are correlated, so it says nothing of other runs (docs/metrics.md).
///
/// `None` where there is no lower end: below six samples for a median, below two for a P90; and where `q` is not inside (0, 1).
pub fn quantile_ranks(n: u64, q: f64) -> Option<Ranks> {
    if n == 0 {
        return None;
    }
    let below = Binomial::new(q, n).ok().filter(|_| q > 0.0 && q < 1.0)?;
    // Lower: the largest l with P(B < l) = P(B <= l - 1) <= 2.5 %. Upper: the smallest u with P(B >= u) <= 2.5 %.
    let lower = match smallest_with(&below, n, TAIL) {
        // The largest l is 0: even below the smallest sample the truth lies too often.
        0 => return None,
        // P(B <= l) is 2.5 % at most, too.
        lower if below.cdf(lower) <= TAIL => lower + 1,
        lower => lower,
    };
    let upper = smallest_with(&below, n, 1.0 - TAIL) + 1;
    Some(Ranks {
        lower,
        upper: (upper <= n).then_some(upper),
    })
}

/// The smallest k with P(B <= k) >= `p`. (The library's own inverse fails on small samples.)
fn smallest_with(below: &Binomial, n: u64, p: f64) -> u64 {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        if below.cdf(middle) >= p {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

const TAIL: f64 = 0.025;

#[cfg(test)]
mod tests {
    use super::*;

    /// As "the k-th largest": how such tables are usually printed.
    fn from_top(n: u64) -> (u64, Option<u64>) {
        let ranks = quantile_ranks(n, 0.99).unwrap();
        (n - ranks.lower + 1, ranks.upper.map(|upper| n - upper + 1))
    }

    #[test]
    fn p99_intervals_are_those_of_the_table() {
        assert_eq!(from_top(300).1, None);
        assert_eq!(from_top(367).1, None);
        assert_eq!(
            from_top(368).1,
            Some(1),
            "368 is the first sample size with a finite upper end"
        );
        assert_eq!(from_top(1000), (18, Some(4)));
        assert_eq!(from_top(2000), (30, Some(12)));
        assert_eq!(from_top(5000), (65, Some(37)));
        assert_eq!(from_top(10_000), (121, Some(81)));
    }

    #[test]
    fn there_is_no_interval_of_nothing() {
        assert_eq!(quantile_ranks(0, 0.99), None);
        assert_eq!(quantile_ranks(10, 1.0), None);
    }

    #[test]
    fn every_end_keeps_its_promise_or_is_not_there() {
        for q in [0.5, 0.9, 0.95, 0.99, 0.999] {
            for n in 1..500 {
                let below = Binomial::new(q, n).unwrap();
                let Some(ranks) = quantile_ranks(n, q) else {
                    assert!(below.cdf(0) > TAIL, "{q} of {n} has a lower end");
                    continue;
                };
                assert!(below.cdf(ranks.lower - 1) <= TAIL, "{q} of {n}");
                assert!(below.cdf(ranks.lower) > TAIL, "{q} of {n}: too wide");
                match ranks.upper {
                    Some(upper) => assert!(below.sf(upper - 1) <= TAIL + 1e-12, "{q} of {n}"),
                    None => assert!(below.sf(n - 1) > TAIL, "{q} of {n}"),
                }
            }
        }
        assert_eq!(quantile_ranks(5, 0.5), None);
        let (lower, upper) = (1, Some(6));
        assert_eq!(quantile_ranks(6, 0.5), Some(Ranks { lower, upper }));
        assert_eq!(quantile_ranks(1, 0.9), None);
        let (lower, upper) = (1, None);
        assert_eq!(quantile_ranks(2, 0.9), Some(Ranks { lower, upper }));
    }

    /// Two uniform draws as a value.
    type Shape = fn(f64, f64) -> f64;

    /// A uniform share as an exponential value: its `q` quantile is −ln(1 − q).
    fn exponential(uniform: f64) -> f64 {
        -(-uniform).ln_1p()
    }

    /// Independent values of several shapes, and where their `q` quantile truly lies.
    fn shapes(q: f64) -> [(&'static str, Shape, f64); 4] {
        use statrs::distribution::{ContinuousCDF, LogNormal};
        let log_normal = LogNormal::new(0.0, 1.0).unwrap();
        [
            ("uniform", |one, _| one, q),
            ("exponential", |one, _| exponential(one), exponential(q)),
            (
                "log-normal",
                // Box and Muller 1958.
                |one, other| {
                    let radius = (2.0 * exponential(one)).sqrt();
                    (radius * (std::f64::consts::TAU * other).cos()).exp()
                },
                log_normal.inverse_cdf(q),
            ),
            (
                "two humps",
                // Nine of ten near 1, one of ten near 10.
                |one, other| if other < 0.9 { 1.0 + one } else { 10.0 + one },
                if q < 0.9 {
                    1.0 + q / 0.9
                } else {
                    10.0 + (q - 0.9) / 0.1
                },
            ),
        ]
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says_whatever_the_shape() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for (q, n) in [(0.5, 400), (0.95, 1000), (0.99, 2500)] {
            let ranks = quantile_ranks(n, q).unwrap();
            let upper = ranks.upper.unwrap();
            // What the binomial promises for these ranks: at least 95 %, and more where ranks are coarse.
            let below = Binomial::new(q, n).unwrap();
            let promised = below.cdf(upper - 1) - below.cdf(ranks.lower - 1);
            assert!(promised >= 0.95, "{promised} at {q}");
            for (shape, draw, truth) in shapes(q) {
                let samples = 2000;
                let covered = (0..samples)
                    .filter(|_| {
                        let drawn = (0..n).map(|_| draw(rng.random(), rng.random()));
                        let until = drawn.filter(|value| *value <= truth).count() as u64;
                        // The truth lies between the values of these ranks.
                        ranks.lower <= until && until < upper
                    })
                    .count();
                let share = covered as f64 / f64::from(samples);
                // Four standard errors of 2,000 draws.
                assert!(
                    (share - promised).abs() < 0.02 && (0.93..=0.97).contains(&share),
                    "{share} of {shape} at {q}, {promised} promised"
                );
            }
        }
    }
}

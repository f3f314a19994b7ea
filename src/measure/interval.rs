use statrs::distribution::{Binomial, DiscreteCDF};

/// Ranks (from 1, rising) between which a quantile of the population lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    /// Rank of the lower end.
    pub lower: u64,
    /// Rank of the upper end; `None` where the sample is too small to have one.
    pub upper: Option<u64>,
}

/// The distribution-free 95 % interval of the `q` quantile of `n` samples, as ranks of order statistics.
///
/// The number of samples below the quantile is B(n, q); the interval takes 2.5 % off each side (Hahn and Meeker, *Statistical
/// Intervals*, section 5.2). For a P99 there is no upper end below n = 368. It speaks of this run on this trace only: requests
/// that wait in one queue are correlated, so it says nothing of other runs (docs/metrics.md).
///
/// `None` where there are no samples or `q` is not inside (0, 1).
pub fn quantile_ranks(n: u64, q: f64) -> Option<Ranks> {
    if n == 0 {
        return None;
    }
    let below = Binomial::new(q, n).ok().filter(|_| q > 0.0 && q < 1.0)?;
    // Lower: the largest l with P(B < l) = P(B <= l - 1) <= 2.5 %. Upper: the smallest u with P(B >= u) <= 2.5 %.
    let lower = smallest_with(&below, n, TAIL).max(1);
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
        assert_eq!(
            quantile_ranks(1, 0.5),
            Some(Ranks {
                lower: 1,
                upper: None
            })
        );
    }

    #[test]
    fn the_interval_covers_as_often_as_it_says() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for n in [400_u64, 1000] {
            let ranks = quantile_ranks(n, 0.99).unwrap();
            let runs = 2000;
            let covered = (0..runs)
                .filter(|_| {
                    let mut sample: Vec<f64> = (0..n).map(|_| rng.random::<f64>()).collect();
                    sample.sort_by(f64::total_cmp);
                    let at = |rank: u64| sample[usize::try_from(rank - 1).unwrap()];
                    at(ranks.lower) <= 0.99 && ranks.upper.is_some_and(|upper| at(upper) >= 0.99)
                })
                .count();
            let share = covered as f64 / f64::from(runs);
            assert!((0.93..=0.985).contains(&share), "{share} at n = {n}");
        }
    }
}

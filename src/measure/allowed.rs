use statrs::distribution::{Binomial, DiscreteCDF};

/// What a number of misses among so many requests says of a share that may miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Fewer miss than may.
    Within,
    /// More miss than may.
    Beyond,
    /// So few requests cannot tell.
    Open,
}

/// Whether `misses` of `n` requests are within the share that may miss, by one-sided binomial tests (the bounds of Clopper and Pearson,
/// 1934): each answer is wrong in at most `alpha` of the cases in which requests miss at exactly that share. It speaks of this trace and
/// this run: requests that wait in one queue are correlated.
pub fn allowed(n: u64, misses: u64, share: f64, alpha: f64) -> Allowed {
    let Ok(at_limit) = Binomial::new(share, n) else {
        return Allowed::Open;
    };
    if n == 0 || share <= 0.0 || share >= 1.0 {
        return Allowed::Open;
    }
    if at_limit.cdf(misses) <= alpha {
        Allowed::Within
    } else if misses > 0 && at_limit.sf(misses - 1) <= alpha {
        Allowed::Beyond
    } else {
        Allowed::Open
    }
}

/// Requests that a verdict on a share needs at least: the fewest of which one may miss and the share is still held with 99 % confidence.
/// 662 for one in a hundred, 64 for one in ten, 6,636 for one in a thousand (the floor of `MLPerf`'s early stopping).
///
/// `None` for a share that is not inside (0, 1).
pub fn fewest_requests(share: f64) -> Option<u64> {
    if !(share > 0.0 && share < 1.0) {
        return None;
    }
    let keep = 1.0 - share;
    // P(B(n, share) <= 1) <= 1 %, which falls with n.
    let enough = |n: u64| {
        let n = float(n);
        keep.powf(n) * (1.0 + n * share / keep) <= FLOOR_ALPHA
    };
    let mut high = 2_u64;
    while !enough(high) {
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn float(n: u64) -> f64 {
    n as f64
}

const FLOOR_ALPHA: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn the_fewest_requests_are_those_of_the_table() {
        assert_eq!(fewest_requests(0.01), Some(662));
        assert_eq!(fewest_requests(0.1), Some(64));
        assert_eq!(fewest_requests(0.001), Some(6636));
        assert_eq!(fewest_requests(0.0), None);
        assert_eq!(fewest_requests(1.0), None);
    }

    #[test]
    fn few_misses_pass_many_fail_and_those_between_leave_it_open() {
        assert_eq!(allowed(662, 1, 0.01, 0.01), Allowed::Within);
        assert_eq!(allowed(661, 1, 0.01, 0.01), Allowed::Open);
        assert_eq!(allowed(662, 7, 0.01, 0.01), Allowed::Open);
        assert_eq!(allowed(662, 15, 0.01, 0.01), Allowed::Beyond);
        assert_eq!(allowed(3, 3, 0.01, 0.01), Allowed::Beyond);
        assert_eq!(allowed(0, 0, 0.01, 0.01), Allowed::Open);
        assert_eq!(allowed(100, 1, 0.0, 0.01), Allowed::Open);
    }

    #[test]
    fn an_answer_is_wrong_as_rarely_as_it_says() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
        let tries = 3000;
        let mut wrong = [0_u32; 2];
        for _ in 0..tries {
            let misses = (0..1324).filter(|_| rng.random::<f64>() < 0.01).count() as u64;
            match allowed(1324, misses, 0.01, 0.05) {
                Allowed::Within => wrong[0] += 1,
                Allowed::Beyond => wrong[1] += 1,
                Allowed::Open => {}
            }
        }
        assert!(
            wrong.iter().all(|&wrong| wrong * 100 <= tries * 6),
            "{wrong:?} of {tries}"
        );
    }
}

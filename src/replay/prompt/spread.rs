/// One taker of a spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// In proportion to this.
    pub(super) weight: u64,
    /// At least this, where the total allows.
    pub(super) min: u64,
    /// At most this, where the total allows.
    pub(super) max: u64,
    /// What it got.
    pub(super) got: u64,
}

impl Share {
    pub(super) fn new(weight: u64, (min, max): (u64, u64)) -> Self {
        Self {
            weight,
            min,
            max,
            got: 0,
        }
    }
}

/// Hands out exactly `total`: in proportion to the weights, and within every share's bounds as long as that can be. Beyond what
/// the bounds allow, the excess (or the want) is spread in proportion, too. With no share there is nothing to hand out.
pub(super) fn spread(total: u64, shares: &mut [Share]) {
    let least = sum(shares, |share| share.min);
    let most = sum(shares, |share| share.max);
    if total <= least {
        set(total, shares, |_| 0, |share| share.min);
    } else if total >= most {
        set(
            total - most,
            shares,
            |share| share.max,
            |share| share.weight,
        );
    } else {
        set(total, shares, |_| 0, |share| share.weight);
        for share in shares.iter_mut() {
            share.got = share.got.clamp(share.min, share.max);
        }
        let given = sum(shares, |share| share.got);
        if given <= total {
            set(
                total - given,
                shares,
                |share| share.got,
                |share| share.max - share.got,
            );
        } else {
            set(
                total - least,
                shares,
                |share| share.min,
                |share| share.got - share.min,
            );
        }
    }
}

fn sum(shares: &[Share], of: impl Fn(&Share) -> u64) -> u64 {
    shares.iter().map(of).fold(0, u64::saturating_add)
}

/// Sets every share to its base plus its part of `total`, in proportion to its weight: running sums are rounded, so the parts add
/// up exactly and each is at most its weight where the total is at most the sum of weights. Without any weight the last takes all.
fn set(
    total: u64,
    shares: &mut [Share],
    base: impl Fn(&Share) -> u64,
    weight: impl Fn(&Share) -> u64,
) {
    let whole = sum(shares, &weight);
    let last = shares.len().saturating_sub(1);
    let (mut weight_so_far, mut given) = (0_u64, 0_u64);
    for (i, share) in shares.iter_mut().enumerate() {
        weight_so_far = weight_so_far.saturating_add(weight(share));
        let due = if whole > 0 {
            let due = u128::from(total) * u128::from(weight_so_far) / u128::from(whole);
            u64::try_from(due).unwrap_or(total).min(total)
        } else if i == last {
            total
        } else {
            0
        };
        share.got = base(share).saturating_add(due - given);
        given = due;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_total_is_met_and_bounds_hold_where_they_can(
            total in 0_u64..5000,
            items in prop::collection::vec((0_u64..100, 0_u64..20, 0_u64..50), 1..40),
        ) {
            let mut shares: Vec<Share> = items
                .iter()
                .map(|&(weight, min, more)| Share::new(weight, (min, min + more)))
                .collect();
            spread(total, &mut shares);
            prop_assert_eq!(sum(&shares, |s| s.got), total);
            let (least, most) = (sum(&shares, |s| s.min), sum(&shares, |s| s.max));
            for share in &shares {
                prop_assert!(total < least || share.got >= share.min);
                prop_assert!(total > most || share.got <= share.max);
            }
        }
    }

    #[test]
    fn parts_follow_weights() {
        let mut shares = [
            Share::new(64, (6, 21)),
            Share::new(32, (3, 10)),
            Share::new(32, (3, 10)),
        ];
        spread(32, &mut shares);
        assert_eq!(shares.map(|s| s.got), [16, 8, 8]);
    }
}

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// A number that depends on the seed, on what it is for and on whom it is for, and on nothing else: the same in every process, on
/// every machine, whatever else is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::replay) struct Draw(u64);

/// What is drawn for.
#[derive(Debug, Clone, Copy)]
pub(in crate::replay) enum Purpose {
    /// Whether a session is kept.
    Keep,
    /// Where a copy of it is moved.
    Shift(u32),
    /// Which shard sends it.
    Shard,
    /// Whether its client takes answers slowly.
    ReadSlowly,
    /// Whether a span of it is sent to a collector.
    Export,
}

impl Draw {
    pub(in crate::replay) fn new(seed: u64, purpose: Purpose, subject: u64) -> Self {
        let (kind, number) = match purpose {
            Purpose::Keep => (1, 0),
            Purpose::Shift(copy) => (2, copy),
            Purpose::Shard => (3, 0),
            Purpose::ReadSlowly => (4, 0),
            Purpose::Export => (5, 0),
        };
        // Apart from the words, which are drawn with the same seed.
        let mut hasher = SipHasher24::new_with_keys(seed, PLAN ^ kind);
        hasher.write(&subject.to_le_bytes());
        hasher.write(&number.to_le_bytes());
        Self(hasher.finish())
    }

    /// True for a `share` of all subjects; those of a smaller share are among those of a larger one.
    #[allow(clippy::cast_precision_loss, reason = "2^-53 of a share")]
    pub(in crate::replay) fn is_among(self, share: f64) -> bool {
        ((self.0 >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    /// From 0 up to `bound`, itself not included.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the high half of a 128-bit product fits 64 bits"
    )]
    pub(super) fn below(self, bound: u64) -> u64 {
        ((u128::from(self.0) * u128::from(bound)) >> 64) as u64
    }
}

/// Whether a request is among the `share` that is exported: by its conversation where it has one, so that none is torn.
pub fn is_exported(seed: u64, session: Option<u64>, index: u64, share: f64) -> bool {
    let subject = session.unwrap_or(index | ALONE);
    Draw::new(seed, Purpose::Export, subject).is_among(share)
}

/// Sets the numbers of requests apart from those of sessions.
const ALONE: u64 = 1 << 63;
const PLAN: u64 = 0x70_6c61_6e00_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_nested_and_as_large_as_asked() {
        let kept = |share| {
            let draws = (0..20_000).map(|n| Draw::new(5, Purpose::Keep, n));
            draws
                .enumerate()
                .filter_map(move |(n, draw)| draw.is_among(share).then_some(n))
                .collect::<Vec<_>>()
        };
        let (half, more) = (kept(0.5), kept(0.75));
        assert!((9_700..10_300).contains(&half.len()), "{}", half.len());
        assert!(half.iter().all(|n| more.binary_search(n).is_ok()));
        assert_eq!(kept(1.0).len(), 20_000);
        assert_eq!(kept(0.0).len(), 0);
    }

    #[test]
    fn draws_never_change_between_versions() {
        let draws = [Purpose::Keep, Purpose::Shift(1), Purpose::Shard]
            .map(|purpose| Draw::new(1, purpose, 2).below(1_000_000));
        assert_eq!(draws, PINNED);
    }

    const PINNED: [u64; 3] = [183_769, 941_126, 124_453];
}

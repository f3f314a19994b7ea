use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::shape::BlockId;

/// What sets one run's words apart from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(u64, u64);

/// Whether targets (and steps, and repeats) of one replay may find each other's prompts in a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    /// Each gets words of its own: nothing is warm that was not warm in the trace.
    #[default]
    Fresh,
    /// All get the same words.
    Keep,
}

impl Salt {
    /// The salt of a run: the replay's seed, and which of its runs this is.
    pub const fn new(seed: u64, cache: Cache, run: u64) -> Self {
        match cache {
            Cache::Fresh => Self(seed, run.wrapping_add(1)),
            Cache::Keep => Self(seed, 0),
        }
    }
}

/// What a stretch of text belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject {
    /// A block, wherever it stands.
    Block(BlockId),
    /// The end of a message that comes before its block's own text.
    Head(u64),
    /// What follows the blocks in one request of the plan.
    Tail(u64),
}

/// A fountain of numbers that depends on nothing but the salt and the subject: the same in every process, on every machine.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(salt: Salt, subject: Subject) -> Self {
        let mut hasher = SipHasher24::new_with_keys(salt.0, salt.1);
        match subject {
            Subject::Block(id) => {
                hasher.write_u8(0);
                hasher.write(&id.0.to_le_bytes());
            }
            Subject::Head(head) => {
                hasher.write_u8(2);
                hasher.write(&head.to_le_bytes());
            }
            Subject::Tail(index) => {
                hasher.write_u8(1);
                hasher.write(&index.to_le_bytes());
            }
        }
        Self(hasher.finish())
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The `place`-th number of a fountain beside this one's.
    pub(super) fn nth(mut self, place: u64) -> u64 {
        self.0 ^= place.wrapping_add(1).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.next()
    }

    /// A number below `bound` (0 where the bound is 0).
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the high half of a 128-bit product fits 64 bits"
    )]
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(salt: Salt, subject: Subject) -> Vec<u64> {
        let mut dice = Dice::new(salt, subject);
        (0..4).map(|_| dice.below(1 << 60)).collect()
    }

    #[test]
    fn draws_depend_on_seed_run_and_subject_and_on_nothing_else() {
        let salt = Salt::new(7, Cache::Fresh, 0);
        let block = Subject::Block(BlockId(3));
        assert_eq!(
            draws(salt, block)[0],
            Dice::new(salt, block).below(1 << 60),
            "the same again"
        );
        assert_ne!(draws(salt, block), draws(salt, Subject::Tail(3)));
        assert_ne!(
            draws(salt, block),
            draws(Salt::new(8, Cache::Fresh, 0), block)
        );
        assert_ne!(
            draws(salt, block),
            draws(Salt::new(7, Cache::Fresh, 1), block)
        );
        let kept = |run| draws(Salt::new(7, Cache::Keep, run), block);
        assert_eq!(kept(0), kept(1));
    }

    #[test]
    fn the_numbers_never_change_between_versions() {
        assert_eq!(
            draws(Salt::new(1, Cache::Keep, 0), Subject::Block(BlockId(0))),
            PINNED
        );
    }

    const PINNED: [u64; 4] = [
        10_476_254_448_281_629,
        869_302_055_048_858_122,
        1_094_855_188_910_026_990,
        72_673_555_280_436_276,
    ];
}

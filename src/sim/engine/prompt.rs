use std::sync::Arc;

use crate::sim::noise::mix;

/// A prompt's tokens and the hash chain over its full blocks. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    tokens: Arc<[u32]>,
    chain: Arc<[u64]>,
    hash: u64,
}

impl Prompt {
    /// A prompt of these tokens, cut into blocks of `block_tokens`.
    pub(crate) fn new(tokens: Vec<u32>, block_tokens: u32) -> Self {
        let blocks = tokens.chunks_exact(block_tokens.max(1) as usize);
        let rest = blocks.remainder();
        let mut last = CHAIN_ROOT;
        let chain: Arc<[u64]> = blocks
            .map(|block| {
                last = extend_chain(last, block.iter().copied());
                last
            })
            .collect();
        let hash = extend_chain(last, rest.iter().copied());
        Self {
            tokens: tokens.into(),
            chain,
            hash,
        }
    }

    /// How many tokens it has.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }

    /// A hash of all of it.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The chain hashes of its full blocks.
    pub(crate) fn chain(&self) -> &[u64] {
        &self.chain
    }

    pub(crate) fn token(&self, position: u32) -> Option<u32> {
        self.tokens.get(position as usize).copied()
    }
}

/// What the first block's chain hash is built on.
pub(crate) const CHAIN_ROOT: u64 = 0x7265_656e_6163_7421;

/// The chain hash of the block of `tokens` that follows `last`.
pub(crate) fn extend_chain(last: u64, tokens: impl Iterator<Item = u32>) -> u64 {
    tokens.fold(mix(last, 0), |hash, token| mix(hash, u64::from(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_agree_exactly_as_far_as_the_tokens_do() {
        let one: Vec<u32> = (0..50).collect();
        let mut other = one.clone();
        other[33] = 7;
        let (one, other) = (Prompt::new(one, 16), Prompt::new(other, 16));
        assert_eq!(one.chain().len(), 3);
        assert_eq!(one.chain()[..2], other.chain()[..2]);
        assert_ne!(one.chain()[2], other.chain()[2]);
        assert_ne!(one.hash(), other.hash());
    }
}

//! Block hashes of other traces, as numbers; what one block covers, as far as the rows show.

use super::input::Numbering;
use crate::shape::{BlockId, BlockSpec, BlockUnit};

/// Numbers a file's blocks in order of first appearance.
pub(super) struct Blocks {
    numbers: Numbering<u64>,
    spec: BlockSpec,
    /// Whether a row has shown if a part-filled last block has an id.
    shown: bool,
}

impl Blocks {
    /// Blocks of so many tokens, the last of them part-filled unless a row shows otherwise.
    pub(super) fn of_tokens(size: u32) -> Self {
        Self {
            numbers: Numbering::default(),
            spec: BlockSpec {
                unit: BlockUnit::Tokens,
                size,
                partial_last: true,
            },
            shown: false,
        }
    }

    /// The ids of a prompt of `tokens`.
    ///
    /// # Errors
    /// When there are more different ones than numbers.
    pub(super) fn number(&mut self, hashes: &[u64], tokens: u32) -> Result<Vec<BlockId>, String> {
        if !self.shown && !tokens.is_multiple_of(self.spec.size.max(1)) && !hashes.is_empty() {
            let full = tokens / self.spec.size.max(1);
            self.shown = true;
            self.spec.partial_last = hashes.len() as u64 != u64::from(full);
        }
        hashes
            .iter()
            .map(|&hash| self.numbers.number(hash).map(BlockId))
            .collect()
    }

    /// What a block covers. Size 0 is a size that nobody told.
    pub(super) fn spec(&self) -> Option<BlockSpec> {
        (self.spec.size > 0).then_some(self.spec)
    }

    /// Takes the size of blocks that a row tells.
    ///
    /// # Errors
    /// When an earlier row told another: a trace has blocks of one size.
    pub(super) fn told(&mut self, size: u32) -> Result<(), String> {
        if self.spec.size == 0 {
            self.spec.size = size;
        }
        if self.spec.size == size {
            Ok(())
        } else {
            Err(format!(
                "its blocks have {size} tokens, and those before it {}",
                self.spec.size
            ))
        }
    }

    /// The same hashes mean other blocks from here on.
    pub(super) fn forget(&mut self) {
        self.numbers.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_can_shows_whether_a_last_block_is_part_filled() {
        let mut blocks = Blocks::of_tokens(16);
        blocks.number(&[7, 8], 32).unwrap();
        assert!(blocks.spec().unwrap().partial_last, "nothing was shown");
        assert_eq!(blocks.number(&[7, 9], 33), Ok(vec![BlockId(0), BlockId(2)]));
        assert!(!blocks.spec().unwrap().partial_last);
        blocks.number(&[7, 9, 1], 33).unwrap();
        assert!(!blocks.spec().unwrap().partial_last, "the first decides");
    }

    #[test]
    fn blocks_have_one_size() {
        let mut blocks = Blocks::of_tokens(0);
        assert_eq!(blocks.spec(), None);
        blocks.told(64).unwrap();
        assert!(blocks.told(32).unwrap_err().contains("64"));
        assert_eq!(blocks.spec().unwrap().size, 64);
    }
}

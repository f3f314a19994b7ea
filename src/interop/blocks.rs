//! Block hashes of other traces, as numbers; what one block covers, as far as the rows show.

use super::input::Numbering;
use crate::shape::{BlockId, BlockSpec, BlockUnit};

/// Numbers a file's blocks in order of first appearance.
pub(super) struct Blocks {
    numbers: Numbering<u64>,
    spec: BlockSpec,
    /// Whether a row has shown if a part-filled last block has an id.
    shown: bool,
    /// Whether the trace's header says what a block covers by now.
    settled: bool,
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
            settled: false,
        }
    }

    /// The ids of a prompt of `tokens`.
    ///
    /// # Errors
    /// When the prompt's last block is not like those of the rows before; when there are more different ids than numbers.
    pub(super) fn number(&mut self, hashes: &[u64], tokens: u32) -> Result<Vec<BlockId>, String> {
        if let Some(partial_last) = self.shows_partial_last(hashes.len(), tokens) {
            if !self.shown && !self.settled {
                self.spec.partial_last = partial_last;
            }
            if self.spec.partial_last != partial_last {
                return Err(match partial_last {
                    true => "its part-filled last block has an id, and those of the rows before it have none",
                    false => "its part-filled last block has no id, and those of the rows before it have one",
                }
                .to_owned());
            }
            self.shown = true;
        }
        hashes
            .iter()
            .map(|&hash| self.numbers.number(hash).map(BlockId))
            .collect()
    }

    /// Whether a part-filled last block has an id, where this prompt has such a block and as many ids as either way would give it.
    fn shows_partial_last(&self, ids: usize, tokens: u32) -> Option<bool> {
        let size = self.spec.size.max(1);
        if ids == 0 || tokens.is_multiple_of(size) {
            return None;
        }
        let full = u64::from(tokens / size);
        match (ids as u64).checked_sub(full) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        }
    }

    /// Whether rows have shown all that can be known of what a block covers.
    pub(super) fn is_shown(&self) -> bool {
        self.shown && self.spec.size > 0
    }

    /// From here on a row that shows otherwise is wrong: what a block covers is written.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// What a block covers. Size 0 is a size that nobody told.
    pub(super) fn spec(&self) -> Option<BlockSpec> {
        (self.spec.size > 0).then_some(self.spec)
    }

    /// Takes the size of blocks that a row tells.
    ///
    /// # Errors
    /// When it is none; when an earlier row told another, or none did for too long: a trace has blocks of one size.
    pub(super) fn told(&mut self, size: u32) -> Result<(), String> {
        if size == 0 {
            return Err("its blocks have 0 tokens".to_owned());
        }
        if self.spec.size == 0 && self.settled {
            return Err(
                "it tells of blocks, and more rows before it than can be held back told of none"
                    .to_owned(),
            );
        }
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
        let reason = blocks.number(&[7, 9, 1], 33).unwrap_err();
        assert!(reason.contains("last block"), "{reason}");
        assert!(!blocks.spec().unwrap().partial_last, "the first decides");
        blocks.number(&[7, 9, 1, 4], 33).unwrap();
    }

    #[test]
    fn what_was_settled_is_not_changed_by_later_rows() {
        let mut blocks = Blocks::of_tokens(0);
        assert!(!blocks.is_shown());
        blocks.settle();
        assert!(blocks.told(64).unwrap_err().contains("before it"));
        assert_eq!(blocks.spec(), None);
        let mut blocks = Blocks::of_tokens(16);
        blocks.settle();
        assert!(blocks.number(&[1, 2], 33).is_err(), "none for the last");
        assert!(blocks.number(&[1, 2, 3], 33).is_ok());
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

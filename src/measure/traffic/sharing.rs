use serde::Serialize;

use super::ratio;
use super::seen::SeenIds;
use crate::shape::{BlockSpec, BlockUnit, RequestShape};

/// How much of the prompts repeats the beginning of an earlier one: what a prefix cache without limits would save.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrefixSharing {
    /// Prompts with a chain.
    pub prompts: u64,
    /// Share of prompt tokens that stand in leading blocks of an earlier prompt; absent where prompts' tokens are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_share: Option<f64>,
    /// The same of blocks.
    pub block_share: f64,
    /// Blocks of all prompts.
    pub blocks_total: u64,
    /// Blocks that stand in leading blocks of an earlier prompt.
    pub blocks_repeated: u64,
    /// Different blocks.
    pub blocks_distinct: u64,
}

/// Gathers [`PrefixSharing`].
pub struct SharingMeter {
    spec: BlockSpec,
    seen: SeenIds,
    prompts: u64,
    blocks: u64,
    repeated: u64,
    tokens: u64,
    repeated_tokens: u64,
}

impl SharingMeter {
    /// A meter for prompts whose blocks are so large.
    pub fn new(spec: BlockSpec) -> Self {
        Self {
            spec,
            seen: SeenIds::default(),
            prompts: 0,
            blocks: 0,
            repeated: 0,
            tokens: 0,
            repeated_tokens: 0,
        }
    }

    /// Adds a prompt. They must come in order.
    pub fn add(&mut self, request: &RequestShape) {
        let mut leading = true;
        let mut repeated = 0;
        for block in &request.blocks {
            leading &= !self.seen.insert(block.0);
            repeated += u64::from(leading);
        }
        let blocks = request.blocks.len() as u64;
        self.prompts += u64::from(blocks > 0);
        self.blocks += blocks;
        self.repeated += repeated;
        // A short prompt has no full block and still counts: none of its tokens repeat.
        if let Some(tokens) = request.prompt_tokens {
            let tokens = u64::from(tokens.count);
            let units = repeated * u64::from(self.spec.size);
            let repeated_tokens = match self.spec.unit {
                BlockUnit::Tokens => units,
                BlockUnit::Bytes => tokens
                    .saturating_mul(units)
                    .checked_div(request.rendered_bytes())
                    .unwrap_or(0),
            };
            self.tokens += tokens;
            self.repeated_tokens += repeated_tokens.min(tokens);
        }
    }

    /// Begins to count here: what was added so far has been seen, so that later prompts repeat it, and is in no figure.
    pub fn begin(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        *self = Self {
            seen,
            ..Self::new(self.spec)
        };
    }

    /// The figures; `None` where no prompt had blocks.
    pub fn finish(self) -> Option<PrefixSharing> {
        Some(PrefixSharing {
            prompts: self.prompts,
            prefix_share: ratio(self.repeated_tokens, self.tokens),
            block_share: ratio(self.repeated, self.blocks)?,
            blocks_total: self.blocks,
            blocks_repeated: self.repeated,
            blocks_distinct: self.seen.count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{BlockId, MessageShape, Role, TokenCount, TokenSource};

    fn prompt(blocks: &[u32], tokens: u32, bytes: u32) -> RequestShape {
        RequestShape {
            messages: vec![MessageShape {
                role: Role::User,
                bytes: bytes - 1,
                tokens: None,
            }],
            prompt_tokens: Some(TokenCount {
                count: tokens,
                source: TokenSource::Usage,
            }),
            blocks: blocks.iter().copied().map(BlockId).collect(),
            ..RequestShape::default()
        }
    }

    #[test]
    fn what_came_before_the_beginning_is_repeated_and_not_counted() {
        let mut meter = SharingMeter::new(BlockSpec::MOONCAKE);
        meter.add(&prompt(&[1, 2], 1024, 4096));
        meter.begin();
        meter.add(&prompt(&[1, 3], 1024, 4096));
        let told = meter.finish().unwrap();
        assert_eq!((told.prompts, told.prefix_share), (1, Some(0.5)));
    }

    #[test]
    fn only_leading_blocks_are_shared() {
        let mut meter = SharingMeter::new(BlockSpec::MOONCAKE);
        meter.add(&prompt(&[0, 1, 2], 1200, 1));
        meter.add(&prompt(&[0, 1, 2], 1200, 1));
        meter.add(&prompt(&[0, 3, 2], 1100, 1));
        let sharing = meter.finish().unwrap();
        assert_eq!(
            (
                sharing.blocks_total,
                sharing.blocks_repeated,
                sharing.blocks_distinct
            ),
            (9, 4, 4)
        );
        // All of the second, the first block of the third.
        assert_eq!(sharing.prefix_share, Some(f64::from(1200 + 512) / 3500.0));
    }

    #[test]
    fn blocks_of_bytes_share_tokens_in_proportion() {
        let mut meter = SharingMeter::new(BlockSpec::LIVE);
        meter.add(&prompt(&[0, 1], 40, 160));
        meter.add(&prompt(&[0, 5], 40, 160));
        let sharing = meter.finish().unwrap();
        assert_eq!(sharing.prefix_share, Some(16.0 / 80.0));
    }

    #[test]
    fn a_trace_without_blocks_has_no_sharing() {
        let mut meter = SharingMeter::new(BlockSpec::LIVE);
        meter.add(&prompt(&[], 10, 20));
        assert_eq!(meter.finish(), None);
    }
}

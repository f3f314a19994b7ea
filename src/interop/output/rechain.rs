use std::collections::HashMap;
use std::io::{self, Write};

use super::rows::LeftOut;
use crate::shape::{BlockId, BlockSpec, BlockUnit, RequestShape};

/// Cuts a trace's own prompt chains into another format's blocks of tokens, such that prompts which shared blocks still do.
///
/// Blocks of bytes have no exact place among tokens. The first prompt that comes along a chain spreads its tokens evenly
/// over its bytes and so fixes which of the chain's blocks each of the format's ends with; every prompt that shares that
/// much of the chain takes the same blocks. A prompt's last, part-filled block is shared by prompts of the same chain and
/// length only. Without chains nothing is known to be shared, and every block is new.
pub(in crate::interop) struct Rechain {
    spec: Option<BlockSpec>,
    target: BlockSpec,
    /// The format's blocks that end within a block of the chain, in order.
    ends: HashMap<BlockId, Vec<u64>>,
    /// Part-filled last blocks, by the chain's last block and the prompt's tokens.
    tails: HashMap<(Option<BlockId>, u32), u64>,
    next: u64,
}

/// The most blocks that a prompt is cut into; an import takes no more list elements in one row, either.
const MAX_BLOCKS: u64 = 1 << 19;

impl Rechain {
    /// From chains of `spec` to blocks of `target`, which are tokens and whose last one is part-filled.
    pub(in crate::interop) fn new(spec: Option<BlockSpec>, target: BlockSpec) -> Self {
        Self {
            spec,
            target,
            ends: HashMap::new(),
            tails: HashMap::new(),
            // Beside the trace's own numbers, where those are taken as they are.
            next: if spec == Some(target) { 1 << 32 } else { 0 },
        }
    }

    /// Whether a prompt can be cut: one of more blocks than a trace takes at once could not be read back, and a length that
    /// nobody ever sent (4 billion tokens) would take as many ids.
    ///
    /// # Errors
    /// When it has too many.
    pub(in crate::interop) fn check(&self, prompt_tokens: u32) -> Result<(), LeftOut> {
        match u64::from(prompt_tokens).div_ceil(self.size()) > MAX_BLOCKS {
            true => Err(LeftOut::TooManyBlocks),
            false => Ok(()),
        }
    }

    /// Writes the ids of a prompt that was [checked](Self::check) as a JSON list.
    pub(in crate::interop) fn write(
        &mut self,
        request: &RequestShape,
        prompt_tokens: u32,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut before = "[";
        for id in self.blocks(request, prompt_tokens) {
            write!(out, "{before}{id}")?;
            before = ", ";
        }
        out.write_all(if before == "[" { b"[]" } else { b"]" })
    }

    /// The prompt's ids.
    fn blocks(&mut self, request: &RequestShape, prompt_tokens: u32) -> Vec<u64> {
        match self.spec {
            Some(spec) if !request.blocks.is_empty() => {
                if spec == self.target {
                    request.blocks.iter().map(|id| id.0.into()).collect()
                } else {
                    self.cut(request, prompt_tokens, spec)
                }
            }
            _ => (0..u64::from(prompt_tokens).div_ceil(self.size()))
                .map(|_| self.new_block())
                .collect(),
        }
    }

    fn size(&self) -> u64 {
        u64::from(self.target.size.max(1))
    }

    fn cut(&mut self, request: &RequestShape, prompt_tokens: u32, spec: BlockSpec) -> Vec<u64> {
        let block_tokens = self.size();
        let tokens = u64::from(prompt_tokens);
        let wanted = usize::try_from(tokens.div_ceil(block_tokens)).unwrap_or(usize::MAX);
        let full = usize::try_from(tokens / block_tokens).unwrap_or(usize::MAX);
        let mut out = Vec::new();
        // What earlier prompts fixed.
        let mut place = 0;
        for (at, id) in request.blocks.iter().enumerate() {
            if out.len() == full {
                break;
            }
            if let Some(blocks) = self.ends.get(id) {
                out.extend(blocks.iter().take(full - out.len()));
                place = at + 1;
            }
        }
        // The rest, evenly.
        let left_tokens = tokens
            .saturating_sub(out.len() as u64 * block_tokens)
            .max(1);
        let size = u64::from(spec.size);
        let left_units = units(request, prompt_tokens, spec).saturating_sub(place as u64 * size);
        let from = place as u64;
        let known = out.len();
        while out.len() < full {
            let tokens_in = (out.len() - known + 1) as u64 * block_tokens;
            let units_in = left_units.saturating_mul(tokens_in) / left_tokens;
            let end = from + units_in.div_ceil(size.max(1));
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            let block = self.new_block();
            // Within the part of the chain that is known, all is fixed already.
            let last = end.checked_sub(1).filter(|&last| last >= place);
            if let Some(&last) = last.and_then(|last| request.blocks.get(last)) {
                self.ends.entry(last).or_default().push(block);
            }
            out.push(block);
        }
        if out.len() < wanted {
            let key = (request.blocks.last().copied(), prompt_tokens);
            let block = match self.tails.get(&key) {
                Some(&block) => block,
                None => {
                    let block = self.new_block();
                    self.tails.insert(key, block);
                    block
                }
            };
            out.push(block);
        }
        out
    }

    fn new_block(&mut self) -> u64 {
        let block = self.next;
        self.next += 1;
        block
    }
}

/// The prompt's length in what its chain counts.
fn units(request: &RequestShape, prompt_tokens: u32, spec: BlockSpec) -> u64 {
    match spec.unit {
        BlockUnit::Tokens => prompt_tokens.into(),
        BlockUnit::Bytes => {
            let rendered = request.rendered_bytes();
            // A shape without sizes still has its chain.
            rendered.max(request.blocks.len() as u64 * u64::from(spec.size))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{MessageShape, Role};

    /// A prompt of `blocks` live blocks and a little more, at about `tokens_per_block`.
    fn prompt(blocks: &[u32], tokens: u32) -> (RequestShape, u32) {
        let request = RequestShape {
            messages: vec![MessageShape {
                role: Role::User,
                bytes: u32::try_from(blocks.len()).unwrap() * 64 + 10,
                tokens: None,
            }],
            blocks: blocks.iter().copied().map(BlockId).collect(),
            ..RequestShape::default()
        };
        (request, tokens)
    }

    #[test]
    fn a_longer_turn_shares_the_full_blocks_of_the_one_before() {
        let mut rechain = Rechain::new(Some(BlockSpec::LIVE), BlockSpec::MOONCAKE);
        let chain: Vec<u32> = (0..400).collect();
        let mut blocks = |len: usize, tokens: u32| {
            let (request, tokens) = prompt(&chain[..len], tokens);
            rechain.blocks(&request, tokens)
        };
        let first = blocks(100, 1600);
        assert_eq!(first, [0, 1, 2, 3]);
        // The next turn has other words, so a little more tokens to the byte.
        assert_eq!(blocks(200, 3300), [0, 1, 2, 4, 5, 6, 7]);
        assert_eq!(blocks(100, 1600), first, "the same prompt again");
    }

    #[test]
    fn finer_blocks_share_as_much_as_coarser_ones() {
        let spec = |size, partial_last| BlockSpec {
            unit: BlockUnit::Tokens,
            size,
            partial_last,
        };
        let mut rechain = Rechain::new(Some(spec(64, false)), spec(16, true));
        let mut blocks = |ids: &[u32], tokens: u32| {
            let (request, tokens) = prompt(ids, tokens);
            rechain.blocks(&request, tokens)
        };
        let first = blocks(&[0, 1, 2], 200);
        assert_eq!(first.len(), 13);
        let second = blocks(&[0, 1, 3, 4], 270);
        assert_eq!(second.len(), 17);
        let shared = first.iter().zip(&second).take_while(|(a, b)| a == b);
        assert_eq!(shared.count(), 8, "two blocks of 64 are eight of 16");
        assert_eq!(blocks(&[0, 1, 2], 200), first);
    }

    #[test]
    fn prompts_of_other_chains_share_nothing() {
        let mut rechain = Rechain::new(Some(BlockSpec::LIVE), BlockSpec::MOONCAKE);
        let (a, tokens) = prompt(&(0..100).collect::<Vec<_>>(), 1600);
        let (b, _) = prompt(&(100..200).collect::<Vec<_>>(), 1600);
        let (a, b) = (rechain.blocks(&a, tokens), rechain.blocks(&b, tokens));
        assert!(a.iter().all(|id| !b.contains(id)));
        assert_eq!((a.len(), b.len()), (4, 4));
    }

    #[test]
    fn a_prompt_of_an_absurd_length_is_left_out() {
        let rechain = Rechain::new(None, BlockSpec::MOONCAKE);
        assert!(rechain.check(u32::MAX).is_err());
        assert!(rechain.check(10_000_000).is_ok());
    }

    #[test]
    fn every_prompt_has_as_many_blocks_as_its_tokens_fill() {
        let mut rechain = Rechain::new(Some(BlockSpec::LIVE), BlockSpec::MOONCAKE);
        for tokens in [0, 1, 511, 512, 513, 5000, 100_000] {
            for len in [1, 7, 300] {
                let (request, tokens) = prompt(&(0..len).collect::<Vec<_>>(), tokens);
                let blocks = rechain.blocks(&request, tokens);
                assert_eq!(blocks.len(), tokens.div_ceil(512) as usize);
            }
        }
        let (request, _) = prompt(&[], 0);
        assert_eq!(
            Rechain::new(None, BlockSpec::MOONCAKE)
                .blocks(&request, 513)
                .len(),
            2
        );
    }
}

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::prefix_view::{PrefixTree, view};
use crate::shape::{BlockId, BlockSpec, BlockUnit, RequestShape};

/// The prompts of a trace as a tree: a node is a run of blocks that the same prompts go through, its children are what
/// follows. Equal block ids mean equal blocks with equal blocks before them, so a block has one place in the tree; and blocks
/// are numbered in order of first appearance, so that what follows a shared beginning is a run of successive numbers. A
/// node is such a run, found by its numbers: a prompt costs a look-up for each run, not for each block.
///
/// Memory is bounded: when [`MOST`] nodes are full, the half that the fewest prompts went through (of those, the half that was
/// not seen for the longest) is let go. A prompt goes through every node above one that it goes through, so what is
/// let go is always whole branches.
#[derive(Debug)]
pub(super) struct PrefixTreeMeter {
    spec: BlockSpec,
    pub(super) most: usize,
    pub(super) prompts: u64,
    pub(super) prompt_tokens: u64,
    pub(super) nodes: BTreeMap<u32, Node>,
    pub(super) let_go: u64,
    /// A node that was let go starts anew when it is seen again: its count is short by what it had.
    pub(super) short_by_at_most: u64,
}

/// A run of blocks, found by its first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Blocks in it.
    pub(super) blocks: u32,
    /// Blocks before it.
    pub(super) depth: u32,
    /// The block right before it; none at the beginning of prompts.
    pub(super) parent: Option<BlockId>,
    /// Prompts that go through it.
    pub(super) prompts: u64,
    /// Tokens that prompts after the first have in each block of it.
    repeated_tokens_per_block: f64,
    /// How many of those are missing in its last block, where prompts end in it part-filled.
    missing_in_last: f64,
    last_seen: u64,
}

impl Node {
    /// Tokens of it that a cache would have spared, over all prompts.
    pub(super) fn repeated_tokens(&self) -> f64 {
        (self.repeated_tokens_per_block * f64::from(self.blocks) - self.missing_in_last).max(0.0)
    }

    /// Blocks of it that a cache would have spared, over all prompts.
    pub(super) fn repeated_blocks(&self) -> u64 {
        (self.prompts - 1).saturating_mul(self.blocks.into())
    }
}

/// Nodes at most, in about 6 MiB.
const MOST: usize = 1 << 16;

/// What a prompt's blocks are in tokens.
#[derive(Clone, Copy)]
struct TokensInBlocks {
    each: f64,
    missing_in_last: f64,
}

impl PrefixTreeMeter {
    pub(super) fn new(spec: BlockSpec) -> Self {
        Self {
            spec,
            most: MOST,
            prompts: 0,
            prompt_tokens: 0,
            nodes: BTreeMap::new(),
            let_go: 0,
            short_by_at_most: 0,
        }
    }

    /// Adds a prompt.
    pub(super) fn add(&mut self, request: &RequestShape) {
        let tokens = request.prompt_tokens.map_or(0, |tokens| tokens.count);
        self.prompt_tokens += u64::from(tokens);
        let blocks = request.blocks.as_slice();
        if blocks.is_empty() {
            return;
        }
        self.prompts += 1;
        let in_blocks = self.tokens_in_blocks(request, tokens);
        let mut at = 0;
        while let Some(rest) = blocks.get(at..).filter(|rest| !rest.is_empty()) {
            let parent = at.checked_sub(1).and_then(|before| blocks.get(before));
            let Some(run) = self.pass(rest, at, parent.copied(), in_blocks) else {
                break;
            };
            at += run;
        }
        // Only between prompts: within one, what it goes through must stay.
        if self.nodes.len() > self.most {
            self.let_rare_go();
        }
    }

    fn tokens_in_blocks(&self, request: &RequestShape, tokens: u32) -> TokensInBlocks {
        let (tokens, size) = (f64::from(tokens), f64::from(self.spec.size));
        match self.spec.unit {
            BlockUnit::Tokens => {
                #[allow(clippy::cast_precision_loss, reason = "blocks of one prompt")]
                let held = size * request.blocks.len() as f64;
                TokensInBlocks {
                    each: if tokens > 0.0 { size } else { 0.0 },
                    missing_in_last: (held - tokens).clamp(0.0, size) * f64::from(tokens > 0.0),
                }
            }
            #[allow(clippy::cast_precision_loss, reason = "bytes of one prompt")]
            BlockUnit::Bytes => TokensInBlocks {
                each: tokens * size / request.rendered_bytes().max(1) as f64,
                missing_in_last: 0.0,
            },
        }
    }

    /// Goes through the node at the beginning of `rest`, or makes it; says how many blocks it has. `None` where the chain is none
    /// (its blocks do not keep their places), so that there is nothing to learn from the rest of it.
    fn pass(
        &mut self,
        rest: &[BlockId],
        at: usize,
        parent: Option<BlockId>,
        tokens: TokensInBlocks,
    ) -> Option<usize> {
        let first = rest.first()?.0;
        let run = run_length(rest);
        let Some(known) = self.node_of(first) else {
            let free = self.nodes.range(first..).next();
            let free = free.map_or(u32::MAX, |(&next, _)| next - first);
            let blocks = run.min(free);
            let node = Node {
                blocks,
                depth: u32::try_from(at).ok()?,
                parent,
                prompts: 1,
                repeated_tokens_per_block: 0.0,
                missing_in_last: 0.0,
                last_seen: self.prompts,
            };
            self.nodes.insert(first, node);
            return usize::try_from(blocks).ok();
        };
        if known != first {
            return None;
        }
        let blocks = self.nodes.get(&first)?.blocks.min(run);
        self.split(first, blocks);
        let seen = self.prompts;
        let node = self.nodes.get_mut(&first)?;
        if node.last_seen == seen {
            return None;
        }
        node.prompts += 1;
        node.last_seen = seen;
        node.repeated_tokens_per_block += tokens.each;
        let blocks = usize::try_from(blocks).ok()?;
        if blocks == rest.len() {
            node.missing_in_last += tokens.missing_in_last;
        }
        Some(blocks)
    }

    /// The first block of the node that a block lies in.
    pub(super) fn node_of(&self, block: u32) -> Option<u32> {
        let (&first, node) = self.nodes.range(..=block).next_back()?;
        (block - first < node.blocks).then_some(first)
    }

    /// Makes a node of the blocks after the first `keep` of one.
    fn split(&mut self, first: u32, keep: u32) {
        let Some(head) = self.nodes.get_mut(&first) else {
            return;
        };
        if head.blocks <= keep {
            return;
        }
        let tail = Node {
            blocks: head.blocks - keep,
            depth: head.depth.saturating_add(keep),
            parent: Some(BlockId(first + keep - 1)),
            ..head.clone()
        };
        head.blocks = keep;
        head.missing_in_last = 0.0;
        self.nodes.insert(first + keep, tail);
    }

    fn let_rare_go(&mut self) {
        let mut order: Vec<_> = self
            .nodes
            .iter()
            .map(|(&first, node)| (node.prompts, node.last_seen, Reverse(node.depth), first))
            .collect();
        order.sort_unstable();
        let mut most = 0;
        for (prompts, _, _, first) in order.into_iter().take(self.nodes.len() - self.most / 2) {
            self.nodes.remove(&first);
            self.let_go += 1;
            most = prompts;
        }
        self.short_by_at_most += most;
    }

    /// What of the tree is told; `None` where no prompt has a chain.
    pub(super) fn finish(self) -> Option<PrefixTree> {
        (self.prompts > 0).then(|| view(&self))
    }
}

/// How many blocks from the first on are numbered one after the other.
fn run_length(blocks: &[BlockId]) -> u32 {
    let steps = blocks
        .windows(2)
        .take_while(|pair| matches!(pair, [a, b] if a.0.checked_add(1) == Some(b.0)));
    u32::try_from(steps.count() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::measure::traffic::sharing::SharingMeter;
    use crate::shape::{TokenCount, TokenSource};
    use proptest::prelude::*;
    use std::collections::HashMap;

    pub(in super::super) fn prompt(blocks: &[u32], tokens: u32) -> RequestShape {
        RequestShape {
            prompt_tokens: Some(TokenCount {
                count: tokens,
                source: TokenSource::Usage,
            }),
            blocks: blocks.iter().copied().map(BlockId).collect(),
            ..RequestShape::default()
        }
    }

    /// Numbers every different prefix in order of first appearance, as a trace does.
    fn chains(prompts: &[Vec<u8>]) -> Vec<Vec<u32>> {
        let mut ids: HashMap<Vec<u8>, u32> = HashMap::new();
        let number = |prompt: &Vec<u8>, ids: &mut HashMap<Vec<u8>, u32>| {
            (1..=prompt.len())
                .map(|end| {
                    let next = ids.len() as u32;
                    *ids.entry(prompt[..end].to_vec()).or_insert(next)
                })
                .collect()
        };
        prompts
            .iter()
            .map(|prompt| number(prompt, &mut ids))
            .collect()
    }

    fn meter(chains: &[Vec<u32>], most: usize) -> PrefixTreeMeter {
        let mut meter = PrefixTreeMeter::new(BlockSpec::MOONCAKE);
        meter.most = most;
        for chain in chains {
            // The last block holds 100 tokens of 512.
            let tokens = (chain.len() as u32 * 512).saturating_sub(412);
            meter.add(&prompt(chain, tokens));
            assert!(meter.nodes.len() <= most);
        }
        meter
    }

    #[test]
    fn a_shared_beginning_is_one_node_and_what_follows_are_its_children() {
        let chains = [vec![0, 1, 2, 3], vec![0, 1, 4, 5], vec![0, 1, 2, 6]];
        let meter = meter(&chains, 100);
        let told: Vec<_> = meter
            .nodes
            .iter()
            .map(|(&first, node)| (first, node.blocks, node.depth, node.prompts, node.parent))
            .collect();
        assert_eq!(
            told,
            [
                (0, 2, 0, 3, None),
                (2, 1, 2, 2, Some(BlockId(1))),
                (3, 1, 3, 1, Some(BlockId(2))),
                (4, 2, 2, 1, Some(BlockId(1))),
                (6, 1, 3, 1, Some(BlockId(2))),
            ]
        );
    }

    proptest! {
        #[test]
        fn the_nodes_add_up_to_what_sharing_measures(
            prompts in prop::collection::vec(prop::collection::vec(0_u8..3, 0..8), 0..60),
        ) {
            let chains = chains(&prompts);
            let meter = meter(&chains, 10_000);
            let mut sharing = SharingMeter::new(BlockSpec::MOONCAKE);
            for chain in &chains {
                sharing.add(&prompt(chain, (chain.len() as u32 * 512).saturating_sub(412)));
            }
            let Some(sharing) = sharing.finish() else { return Ok(()) };
            let repeated: u64 = meter.nodes.values().map(Node::repeated_blocks).sum();
            prop_assert_eq!(repeated, sharing.blocks_repeated);
            let distinct: u64 = meter.nodes.values().map(|node| u64::from(node.blocks)).sum();
            prop_assert_eq!(distinct, sharing.blocks_distinct);
            let tokens: f64 = meter.nodes.values().map(Node::repeated_tokens).sum();
            let expected = sharing.prefix_share.unwrap_or(0.0) * meter.prompt_tokens as f64;
            prop_assert!((tokens - expected).abs() < 1e-6 * expected.max(1.0), "{} {}", tokens, expected);
        }

        #[test]
        fn a_full_tree_lets_whole_branches_go_and_undercounts_by_no_more_than_it_says(
            prompts in prop::collection::vec(prop::collection::vec(0_u8..4, 1..6), 1..200),
        ) {
            let chains = chains(&prompts);
            let (small, whole) = (meter(&chains, 16), meter(&chains, 10_000));
            for (&first, node) in &small.nodes {
                if let Some(parent) = node.parent {
                    let above = small.node_of(parent.0);
                    prop_assert!(above.is_some(), "its parent is there");
                    prop_assert!(small.nodes[&above.unwrap()].prompts >= node.prompts);
                }
                let truth = &whole.nodes[&whole.node_of(first).unwrap()];
                prop_assert!(node.prompts <= truth.prompts);
                prop_assert!(truth.prompts <= node.prompts + small.short_by_at_most);
            }
        }

        #[test]
        fn chains_that_are_none_are_taken(
            chains in prop::collection::vec(prop::collection::vec(0_u32..6, 0..8), 0..40),
        ) {
            let meter = meter(&chains, 16);
            let mut end = 0;
            for (&first, node) in &meter.nodes {
                prop_assert!(first >= end && node.blocks > 0);
                end = first + node.blocks;
            }
            meter.finish();
        }
    }
}

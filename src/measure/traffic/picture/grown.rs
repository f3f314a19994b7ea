use std::collections::BTreeMap;

use super::prefix_tree::{Node, PrefixTreeMeter};

/// The shared nodes by what they grow from, runs that are cut only by their numbers joined.
pub(super) struct Grown {
    pub(super) limbs: Vec<Limb>,
    pub(super) roots: Vec<usize>,
}

/// A run of blocks that the same prompts go through.
pub(super) struct Limb {
    pub(super) depth: u64,
    pub(super) blocks: u64,
    pub(super) prompts: u64,
    pub(super) repeated_blocks: u64,
    pub(super) repeated_tokens: f64,
    /// Its own and those of all that grows from it.
    pub(super) repeated_below: u64,
    /// Blocks that prompts go through in it and in all that grows from it.
    pub(super) passed_below: u64,
    pub(super) children: Vec<usize>,
}

impl Grown {
    pub(super) fn of(tree: &PrefixTreeMeter) -> Self {
        let shared = || tree.nodes.iter().filter(|(_, node)| node.prompts > 1);
        // By depth, so that what a node grows from stands before it.
        let mut order: Vec<_> = shared().map(|(&first, node)| (node.depth, first)).collect();
        order.sort_unstable();
        let mut grown = Self {
            limbs: Vec::with_capacity(order.len()),
            roots: Vec::new(),
        };
        let mut limb_of: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, first) in order {
            let Some(node) = tree.nodes.get(&first) else {
                continue;
            };
            let above = node.parent.and_then(|block| tree.node_of(block.0));
            let above = above.and_then(|above| limb_of.get(&above).copied());
            let limb = grown.attach(node, above);
            limb_of.insert(first, limb);
        }
        // Children stand behind what they grow from, so from the end every sum below is whole when it is needed.
        for limb in (0..grown.limbs.len()).rev() {
            let children = grown.children(limb).iter();
            let (repeated, passed) = children.filter_map(|&child| grown.limbs.get(child)).fold(
                (0, 0),
                |(repeated, passed), child| {
                    (repeated + child.repeated_below, passed + child.passed_below)
                },
            );
            if let Some(limb) = grown.limbs.get_mut(limb) {
                limb.repeated_below = limb.repeated_blocks + repeated;
                limb.passed_below = limb.blocks * limb.prompts + passed;
            }
        }
        grown
    }

    /// Adds a node to the limb it goes on from, or as a new one.
    fn attach(&mut self, node: &Node, above: Option<usize>) -> usize {
        let new = self.limbs.len();
        if let Some(above) = above
            && let Some(limb) = self.limbs.get_mut(above)
        {
            // All prompts of the one go on in the other: one run, cut by its numbers alone.
            if limb.prompts == node.prompts {
                limb.blocks += u64::from(node.blocks);
                limb.repeated_blocks += node.repeated_blocks();
                limb.repeated_tokens += node.repeated_tokens();
                return above;
            }
            limb.children.push(new);
        } else {
            self.roots.push(new);
        }
        self.limbs.push(Limb {
            depth: node.depth.into(),
            blocks: node.blocks.into(),
            prompts: node.prompts,
            repeated_blocks: node.repeated_blocks(),
            repeated_tokens: node.repeated_tokens(),
            repeated_below: 0,
            passed_below: 0,
            children: Vec::new(),
        });
        new
    }

    fn children(&self, limb: usize) -> &[usize] {
        self.limbs.get(limb).map_or(&[], |limb| &limb.children)
    }

    pub(super) fn below(&self, limb: usize) -> u64 {
        self.limbs.get(limb).map_or(0, |limb| limb.repeated_below)
    }
}

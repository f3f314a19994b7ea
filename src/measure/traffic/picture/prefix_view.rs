use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;

use super::super::ratio;
use super::grown::Grown;
use super::prefix_tree::{Node, PrefixTreeMeter};

/// Where prompts share their beginnings, as a prefix cache without limits would see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrefixTree {
    /// Prompts with a chain.
    pub prompts: u64,
    /// Blocks that repeat an earlier prompt's beginning, as far as the tree knows.
    pub repeated_blocks: u64,
    /// What those blocks are shared by, from few prompts (turns of one conversation) to many (a system prompt).
    pub bands: Vec<PassBand>,
    /// The beginnings that spare the most, heaviest first: at most 12.
    pub heaviest: Vec<SharedPrefix>,
    /// The tree, parents before children: branches that at least 0.5 % of the prompts go through, at most 160 of those that
    /// spare the most; what else is shared is summed up beside them, by how many prompts go through each.
    pub branches: Vec<Branch>,
    /// Runs of blocks that had to be let go to keep memory bounded: those that the fewest prompts went through.
    pub let_go: u64,
    /// How much a count of prompts can be short because of that.
    pub short_by_at_most: u64,
}

/// The blocks that a number of prompts share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PassBand {
    /// Shared by this many prompts at least.
    pub from: u64,
    /// And by this many at most.
    pub to: u64,
    /// Different blocks.
    pub blocks: u64,
    /// How often one of them was repeated.
    pub repeated_blocks: u64,
    /// Of all repeated blocks, from 0 to 1.
    pub share: f64,
}

/// A beginning that prompts share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SharedPrefix {
    /// Its length, from the beginning of the prompt.
    pub blocks: u64,
    /// The part of it that only these prompts share, at its end.
    pub own_blocks: u64,
    /// Prompts that begin with it.
    pub prompts: u64,
    /// Share of all prompt tokens that repeat its own part; absent where prompts' tokens are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_share: Option<f64>,
}

/// A branch of the tree, or several beside each other that are too thin to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Branch {
    /// Which of the branches it grows from; none at the beginning of prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// How many branches this is: 1, or more where they are summed up with all that grows from them.
    pub branches: u64,
    /// Whether it is a sum (of one branch, where it was too thin to be told alone).
    pub summed_up: bool,
    /// Blocks before it.
    pub depth: u64,
    /// Its blocks; of a sum, how many shared ones a prompt goes through from here on, on average.
    pub blocks: f64,
    /// Prompts that go through it (of a sum, one or another).
    pub prompts: u64,
    /// Prompts that go through each branch of it, at most.
    pub prompts_each: u64,
    /// Share of all repeated blocks that lie in it (of several, and in all that grows from them).
    pub repeated_share: f64,
}

const HEAVIEST: usize = 12;
const TOLD: usize = 160;
/// Thinner than this, a branch cannot be seen in a drawing.
const THINNEST: f64 = 0.005;

/// What of a tree is told.
pub(super) fn view(tree: &PrefixTreeMeter) -> PrefixTree {
    let grown = Grown::of(tree);
    let repeated_blocks = tree.nodes.values().map(Node::repeated_blocks).sum();
    PrefixTree {
        prompts: tree.prompts,
        repeated_blocks,
        bands: bands(tree, repeated_blocks),
        heaviest: heaviest(tree, &grown),
        branches: branches(tree, &grown, repeated_blocks),
        let_go: tree.let_go,
        short_by_at_most: tree.short_by_at_most,
    }
}

/// Bands of doubling numbers of prompts: 2, 3 to 4, 5 to 8, …
fn bands(tree: &PrefixTreeMeter, all: u64) -> Vec<PassBand> {
    let mut bands: BTreeMap<u64, PassBand> = BTreeMap::new();
    for node in tree.nodes.values().filter(|node| node.prompts > 1) {
        let to = node.prompts.next_power_of_two();
        let band = bands.entry(to).or_insert(PassBand {
            from: to / 2 + 1,
            to,
            blocks: 0,
            repeated_blocks: 0,
            share: 0.0,
        });
        band.blocks += u64::from(node.blocks);
        band.repeated_blocks += node.repeated_blocks();
    }
    let mut bands: Vec<_> = bands.into_values().collect();
    for band in &mut bands {
        band.share = ratio(band.repeated_blocks, all).unwrap_or(0.0);
    }
    bands
}

fn heaviest(tree: &PrefixTreeMeter, grown: &Grown) -> Vec<SharedPrefix> {
    let mut order: Vec<_> = grown.limbs.iter().collect();
    order.sort_by_key(|limb| (Reverse(limb.repeated_blocks), limb.depth));
    order
        .into_iter()
        .take(HEAVIEST)
        .map(|limb| SharedPrefix {
            blocks: limb.depth + limb.blocks,
            own_blocks: limb.blocks,
            prompts: limb.prompts,
            prompt_tokens_share: (tree.prompt_tokens > 0)
                .then(|| limb.repeated_tokens / float(tree.prompt_tokens)),
        })
        .collect()
}

/// The branches that are told, the heaviest taken first, in an order in which parents stand before their children.
fn branches(tree: &PrefixTreeMeter, grown: &Grown, all: u64) -> Vec<Branch> {
    let share = |blocks| ratio(blocks, all).unwrap_or(0.0);
    let thinnest = THINNEST * float(tree.prompts);
    let mut told = Vec::new();
    let mut taken = vec![None; grown.limbs.len()];
    let mut open: BinaryHeap<(u64, Reverse<usize>, Option<usize>)> = BinaryHeap::new();
    let offer = |open: &mut BinaryHeap<_>, limbs: &[usize], parent| {
        open.extend(
            limbs
                .iter()
                .map(|&limb| (grown.below(limb), Reverse(limb), parent)),
        );
    };
    offer(&mut open, &grown.roots, None);
    while let Some((_, Reverse(index), parent)) = open.pop() {
        let Some(limb) = grown.limbs.get(index) else {
            continue;
        };
        if told.len() >= TOLD || float(limb.prompts) < thinnest {
            continue;
        }
        if let Some(place) = taken.get_mut(index) {
            *place = Some(told.len());
        }
        offer(&mut open, &limb.children, Some(told.len()));
        told.push(Branch {
            parent,
            branches: 1,
            summed_up: false,
            prompts_each: limb.prompts,
            depth: limb.depth,
            #[allow(clippy::cast_precision_loss, reason = "for display")]
            blocks: limb.blocks as f64,
            prompts: limb.prompts,
            repeated_share: share(limb.repeated_blocks),
        });
    }
    let is_told = |limb: &usize| taken.get(*limb).copied().flatten();
    let mut rest = Vec::new();
    let mut sum_up = |siblings: &[usize], parent: Option<usize>, depth: u64| {
        let untold = siblings.iter().filter(|limb| is_told(limb).is_none());
        let mut sums: BTreeMap<u64, Sum> = BTreeMap::new();
        for limb in untold.filter_map(|&limb| grown.limbs.get(limb)) {
            let sum = sums.entry(limb.prompts.next_power_of_two()).or_default();
            sum.branches += 1;
            sum.prompts += limb.prompts;
            sum.repeated += limb.repeated_below;
            sum.passed += limb.passed_below;
        }
        rest.extend(sums.into_iter().rev().map(|(prompts_each, sum)| Branch {
            parent,
            branches: sum.branches,
            summed_up: true,
            prompts_each,
            depth,
            blocks: ratio(sum.passed, sum.prompts).unwrap_or(0.0),
            prompts: sum.prompts,
            repeated_share: share(sum.repeated),
        }));
    };
    sum_up(&grown.roots, None, 0);
    for (index, limb) in grown.limbs.iter().enumerate() {
        if let Some(place) = is_told(&index) {
            sum_up(&limb.children, Some(place), limb.depth + limb.blocks);
        }
    }
    told.extend(rest);
    told
}

/// Branches beside each other that about as many prompts go through, with all that grows from them.
#[derive(Default)]
struct Sum {
    branches: u64,
    prompts: u64,
    repeated: u64,
    passed: u64,
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::super::prefix_tree::tests::prompt;
    use super::*;
    use crate::shape::BlockSpec;

    fn tree(chains: &[&[u32]]) -> PrefixTree {
        let mut meter = PrefixTreeMeter::new(BlockSpec::MOONCAKE);
        for chain in chains {
            meter.add(&prompt(chain, chain.len() as u32 * 512));
        }
        meter.finish().unwrap()
    }

    #[test]
    fn the_tree_tells_what_is_shared_and_by_how_many() {
        let told = tree(&[
            &[0, 1, 2, 3, 4],
            &[0, 1, 2, 3, 5],
            &[0, 1, 6],
            &[0, 1, 7],
            &[8],
        ]);
        assert_eq!((told.prompts, told.repeated_blocks), (5, 8));
        let bands: Vec<_> = told
            .bands
            .iter()
            .map(|band| {
                (
                    band.from,
                    band.to,
                    band.blocks,
                    band.repeated_blocks,
                    band.share,
                )
            })
            .collect();
        assert_eq!(bands, [(2, 2, 2, 2, 0.25), (3, 4, 2, 6, 0.75)]);
        let heaviest: Vec<_> = told
            .heaviest
            .iter()
            .map(|prefix| (prefix.blocks, prefix.own_blocks, prefix.prompts))
            .collect();
        assert_eq!(heaviest, [(2, 2, 4), (4, 2, 2)]);
        let share = told.heaviest[0].prompt_tokens_share.unwrap();
        assert!((share - 6.0 / 17.0).abs() < 1e-12);
        let branches: Vec<_> = told
            .branches
            .iter()
            .map(|branch| (branch.parent, branch.depth, branch.blocks, branch.prompts))
            .collect();
        assert_eq!(branches, [(None, 0, 2.0, 4), (Some(0), 2, 2.0, 2)]);
    }

    #[test]
    fn a_run_cut_by_its_numbers_alone_is_one_branch() {
        let told = tree(&[&[0, 5], &[0, 5], &[0, 5]]);
        let [branch] = told.branches.as_slice() else {
            panic!("{:?}", told.branches)
        };
        assert_eq!((branch.blocks, branch.prompts), (2.0, 3));
        assert_eq!(told.heaviest[0].own_blocks, 2);
    }

    #[test]
    fn thin_branches_are_summed_up_by_their_prompts_and_nothing_is_lost() {
        let mut chains: Vec<Vec<u32>> = Vec::new();
        for pair in 0..1000 {
            let (first, turn) = (1 + pair * 3, [2 + pair * 3, 3 + pair * 3]);
            chains.extend([vec![0, first, turn[0]], vec![0, first, turn[0], turn[1]]]);
            if pair < 100 {
                chains.push(vec![0, first]);
            }
        }
        let chains: Vec<&[u32]> = chains.iter().map(Vec::as_slice).collect();
        let told = tree(&chains);
        let [root, three, two] = told.branches.as_slice() else {
            panic!("{:?}", told.branches)
        };
        assert_eq!((root.prompts, root.summed_up), (2100, false));
        assert_eq!(
            (
                three.parent,
                three.branches,
                three.prompts,
                three.prompts_each
            ),
            (Some(0), 100, 300, 4)
        );
        // Three go through the first block of it, two of them through the second.
        assert!((three.blocks - 5.0 / 3.0).abs() < 1e-12);
        assert_eq!((two.branches, two.prompts, two.blocks), (900, 1800, 2.0));
        let shares: f64 = told
            .branches
            .iter()
            .map(|branch| branch.repeated_share)
            .sum();
        assert!((shares - 1.0).abs() < 1e-9);
    }
}

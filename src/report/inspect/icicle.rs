//! The tree of shared beginnings as an icicle: from left to right deeper into the prompt, from top to bottom all prompts; a
//! rectangle is as high as the share of prompts that go through it. Only where things stand is worked out here.

use super::reading::{blocks, float};
use crate::measure::traffic::picture::{Branch, PrefixTree};
use crate::report::figures::{count, percent};
use crate::shape::BlockSpec;

/// A drawn tree.
pub(super) struct Icicle {
    pub(super) cells: Vec<Cell>,
    /// (percent from the left, what stands there)
    pub(super) depths: Vec<(f64, String)>,
}

/// A rectangle; places and sizes in percent of the drawing's.
pub(super) struct Cell {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// How strong its colour is, in percent.
    pub(super) shade: f64,
    /// Several branches summed up.
    pub(super) several: bool,
    /// What fits in it; empty where nothing does.
    pub(super) label: String,
    /// All that there is to say of it.
    pub(super) title: String,
}

impl Icicle {
    /// `None` where nothing is shared.
    pub(super) fn of(tree: &PrefixTree, spec: BlockSpec) -> Option<Self> {
        let deepest = tree.branches.iter().map(end).fold(0.0, f64::max);
        if deepest <= 0.0 {
            return None;
        }
        // A logarithm, because a system prompt of ten blocks and a conversation of a thousand both have to be seen.
        let across = |depth: f64| 100.0 * (1.0 + depth).log2() / (1.0 + deepest).log2();
        let tops = tops(tree);
        let cells = tree
            .branches
            .iter()
            .zip(tops)
            .map(|(branch, top)| {
                let left = across(float(branch.depth));
                let (width, height) = (across(end(branch)) - left, share(branch, tree));
                Cell {
                    left,
                    top,
                    width,
                    height,
                    shade: 16.0 + 42.0 * branch.repeated_share.sqrt(),
                    several: branch.summed_up,
                    label: label(branch, width, height),
                    title: title(branch, spec),
                }
            })
            .collect();
        Some(Self {
            cells,
            depths: depths(deepest, spec)
                .into_iter()
                .map(|(depth, name)| (across(depth), name))
                .collect(),
        })
    }
}

/// Where each branch begins from the top: right where the one above it in order of weight ends.
fn tops(tree: &PrefixTree) -> Vec<f64> {
    let mut tops: Vec<f64> = Vec::with_capacity(tree.branches.len());
    let mut used = vec![0.0; tree.branches.len()];
    let mut used_by_roots = 0.0;
    for branch in &tree.branches {
        let height = share(branch, tree);
        let top = match branch.parent {
            None => {
                used_by_roots += height;
                used_by_roots - height
            }
            // Parents stand before their children, so their tops are known.
            Some(parent) => {
                let begins = tops.get(parent).copied().unwrap_or(0.0);
                used.get_mut(parent).map_or(begins, |used| {
                    *used += height;
                    begins + *used - height
                })
            }
        };
        tops.push(top);
    }
    tops
}

fn end(branch: &Branch) -> f64 {
    float(branch.depth) + branch.blocks
}

fn share(branch: &Branch, tree: &PrefixTree) -> f64 {
    100.0 * float(branch.prompts) / float(tree.prompts.max(1))
}

fn label(branch: &Branch, width: f64, height: f64) -> String {
    // About the size of a line of text in a drawing of usual size.
    if height < 5.5 || width < 7.0 {
        String::new()
    } else if branch.summed_up {
        format!("{} prompts in {}", count(branch.prompts), several(branch))
    } else {
        format!("{} prompts", count(branch.prompts))
    }
}

fn title(branch: &Branch, spec: BlockSpec) -> String {
    let length = blocks(branch.blocks, spec);
    let (prompts, depth) = (count(branch.prompts), count(branch.depth));
    let repeated = percent(branch.repeated_share);
    if branch.summed_up {
        format!(
            "{prompts} prompts in {}: each shares {length} on average after {depth} blocks, {repeated} of all that repeats",
            several(branch)
        )
    } else {
        format!(
            "{prompts} prompts share {length} after {depth} blocks: {repeated} of all that repeats"
        )
    }
}

/// `686 branches of 3 to 4 each`
fn several(branch: &Branch) -> String {
    let each = match branch.prompts_each {
        2 => "2".to_owned(),
        most => format!("{} to {}", count(most / 2 + 1), count(most)),
    };
    match branch.branches {
        1 => format!("1 branch of {each}"),
        many => format!("{} branches of {each} each", count(many)),
    }
}

/// The depths that are named below the drawing: the ends, and powers of four between them that are not too close to the end.
fn depths(deepest: f64, spec: BlockSpec) -> Vec<(f64, String)> {
    let between = (0..16).map(|power| 4_f64.powi(power) * 4.0);
    let mut depths: Vec<f64> = std::iter::once(0.0)
        .chain(between.take_while(|depth| depth * 2.2 < deepest))
        .collect();
    depths.push(deepest);
    let last = depths.len() - 1;
    depths
        .into_iter()
        .enumerate()
        .map(|(index, depth)| {
            let name = match index {
                0 => "start of prompt".to_owned(),
                index if index == last => blocks(depth, spec),
                _ => format!("{depth:.0}"),
            };
            (depth, name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::traffic::picture::PictureMeter;
    use crate::shape::{BlockId, Endpoint, Exchange, Method, TraceTime};

    fn tree(chains: &[&[u32]]) -> PrefixTree {
        let mut meter = PictureMeter::new(Some(BlockSpec::MOONCAKE));
        for chain in chains {
            let mut exchange = Exchange::bare(
                TraceTime::from_us(0),
                Endpoint::ChatCompletions,
                Method::Post,
            );
            exchange.request.blocks = chain.iter().copied().map(BlockId).collect();
            meter.add(&exchange);
        }
        meter.finish().prefix_tree.unwrap()
    }

    #[test]
    fn children_stand_within_what_they_grow_from() {
        let tree = tree(&[
            &[0, 1, 2],
            &[0, 1, 2],
            &[0, 3, 4],
            &[0, 3, 4],
            &[5, 6],
            &[5, 6],
            &[7],
        ]);
        let icicle = Icicle::of(&tree, BlockSpec::MOONCAKE).unwrap();
        assert_eq!(icicle.cells.len(), 4);
        for (branch, cell) in tree.branches.iter().zip(&icicle.cells) {
            assert!(cell.left >= 0.0 && cell.left + cell.width <= 100.0 + 1e-9);
            assert!(cell.top >= 0.0 && cell.top + cell.height <= 100.0 + 1e-9);
            if let Some(parent) = branch.parent.map(|parent| &icicle.cells[parent]) {
                assert!((parent.left + parent.width - cell.left).abs() < 1e-9);
                assert!(cell.top >= parent.top - 1e-9);
                assert!(cell.top + cell.height <= parent.top + parent.height + 1e-9);
            }
        }
        let mut spans: Vec<_> = icicle
            .cells
            .iter()
            .filter(|cell| cell.left == 0.0)
            .map(|cell| (cell.top, cell.top + cell.height))
            .collect();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(spans[0].1 <= spans[1].0 + 1e-9, "none covers another");
    }

    #[test]
    fn nothing_shared_is_nothing_drawn() {
        assert!(Icicle::of(&tree(&[&[0, 1], &[2]]), BlockSpec::MOONCAKE).is_none());
    }
}

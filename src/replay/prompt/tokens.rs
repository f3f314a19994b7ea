use crate::shape::BlockId;

use super::dice::{Dice, Salt, Subject};
use super::spread::{Share, spread};
use super::words::Words;

/// Writes a prompt whose blocks are counted in tokens (or that has no chain): block `i` holds words `i * size ..` of the
/// prompt, the first of them always the first of the block's own stream; what the chain does not cover is unique to the
/// request. Messages cut the one run of words where their weights say.
pub(super) fn write(
    salt: Salt,
    index: u64,
    chain: &[BlockId],
    block_words: u64,
    words: u64,
    weights: &[u64],
    list: &Words,
) -> Vec<String> {
    let mut shares: Vec<Share> = weights
        .iter()
        .map(|&weight| Share::new(weight, (0, u64::MAX >> 8)))
        .collect();
    spread(words, &mut shares);
    let mut source = Source {
        salt,
        index,
        chain: chain.iter(),
        block_words: block_words.max(1),
        left: 0,
        dice: None,
    };
    let mut texts = Vec::with_capacity(shares.len());
    for share in shares {
        let room = share.got.saturating_mul(6);
        let mut text = String::with_capacity(usize::try_from(room).unwrap_or(0));
        for word in 0..share.got {
            if word > 0 {
                text.push(' ');
            }
            text.push_str(list.everyday(word == 0, source.next()));
        }
        texts.push(text);
    }
    texts
}

/// Where the next word comes from: the blocks in turn, then the tail.
struct Source<'a> {
    salt: Salt,
    index: u64,
    chain: std::slice::Iter<'a, BlockId>,
    block_words: u64,
    left: u64,
    dice: Option<Dice>,
}

impl Source<'_> {
    fn next(&mut self) -> &mut Dice {
        if self.left == 0 {
            let (subject, words) = match self.chain.next() {
                Some(&block) => (Subject::Block(block), self.block_words),
                None => (Subject::Tail(self.index), u64::MAX),
            };
            self.left = words;
            self.dice = Some(Dice::new(self.salt, subject));
        }
        self.left -= 1;
        let (salt, index) = (self.salt, self.index);
        self.dice
            .get_or_insert_with(|| Dice::new(salt, Subject::Tail(index)))
    }
}

/// A text of exactly `words` words, unique to `index`: for probes.
pub(in crate::replay) fn plain_words(salt: Salt, index: u64, words: u64, list: &Words) -> String {
    write(salt, index, &[], 1, words, &[1], list)
        .pop()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::dice::Cache;
    use super::super::tests::sim_tokens;
    use super::*;

    const SALT: Salt = Salt::new(1, Cache::Fresh, 0);

    fn ids(ids: &[u32]) -> Vec<BlockId> {
        ids.iter().copied().map(BlockId).collect()
    }

    #[test]
    fn prompts_share_exactly_the_words_of_their_shared_blocks() {
        let one = |index, chain: &[u32]| {
            write(SALT, index, &ids(chain), 512, 1300, &[1], &Words::house()).remove(0)
        };
        let (a, b) = (one(0, &[0, 1, 2]), one(1, &[0, 1, 3]));
        assert_eq!((sim_tokens(&a), sim_tokens(&b)), (1300, 1300));
        let shared = a
            .split(' ')
            .zip(b.split(' '))
            .take_while(|(x, y)| x == y)
            .count();
        assert_eq!(shared, 1024);
        assert_eq!(a, one(7, &[0, 1, 2]), "no tail, so the index is not in it");
    }

    #[test]
    fn without_a_chain_every_request_has_its_own_words() {
        let (a, b) = (
            plain_words(SALT, 0, 257, &Words::house()),
            plain_words(SALT, 1, 257, &Words::house()),
        );
        assert_eq!((sim_tokens(&a), sim_tokens(&b)), (257, 257));
        assert_ne!(a.split(' ').next_back(), b.split(' ').next_back());
    }

    #[test]
    fn messages_take_words_by_weight() {
        let texts = write(SALT, 0, &ids(&[4]), 512, 100, &[1, 3], &Words::house());
        assert_eq!(
            texts.iter().map(|t| sim_tokens(t)).collect::<Vec<_>>(),
            [25, 75]
        );
    }
}

//! Paged KV memory with a prefix cache, as vLLM V1 keeps it: a block whose last user is gone stays findable under the hash
//! of its chain until the memory is wanted for something else, least recently used first.

use std::collections::HashMap;

/// A block's place in the table.
pub(crate) type BlockIndex = u32;

/// All blocks. An index handed out by [`Self::allocate`] stays valid until it is released, so indexing cannot fail.
#[derive(Debug)]
pub(crate) struct KvCache {
    blocks: Vec<Block>,
    /// Ends of the list of free blocks: the head is taken next.
    head: BlockIndex,
    tail: BlockIndex,
    free: u32,
    cached: HashMap<u64, BlockIndex>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    users: u32,
    /// Under which chain hash it is cached.
    hash: Option<u64>,
    /// Neighbours in the free list, while nobody uses it.
    previous: BlockIndex,
    next: BlockIndex,
}

const NONE: BlockIndex = BlockIndex::MAX;

impl KvCache {
    pub(crate) fn new(blocks: u32) -> Self {
        let mut cache = Self {
            blocks: vec![
                Block {
                    users: 0,
                    hash: None,
                    previous: NONE,
                    next: NONE,
                };
                blocks as usize
            ],
            head: NONE,
            tail: NONE,
            free: 0,
            cached: HashMap::new(),
        };
        for index in 0..blocks {
            cache.push_back(index);
        }
        cache
    }

    pub(crate) fn capacity(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Blocks that nobody uses; some of them may still be cached.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    pub(crate) fn used(&self) -> u32 {
        self.capacity() - self.free
    }

    /// The blocks cached for the leading `hashes`, up to the first that is not.
    pub(crate) fn leading(&self, hashes: impl Iterator<Item = u64>) -> Vec<BlockIndex> {
        hashes
            .map_while(|hash| self.cached.get(&hash).copied())
            .collect()
    }

    /// How many of `blocks` nobody uses at the moment.
    pub(crate) fn unused_among(&self, blocks: &[BlockIndex]) -> u32 {
        let unused = blocks
            .iter()
            .filter(|index| self.blocks[**index as usize].users == 0)
            .count();
        u32::try_from(unused).unwrap_or(u32::MAX)
    }

    /// One more user of a cached block.
    pub(crate) fn share(&mut self, index: BlockIndex) {
        if self.blocks[index as usize].users == 0 {
            self.unlink(index);
        }
        self.blocks[index as usize].users += 1;
    }

    /// A block for new content: an empty one, or the least recently used of the cached. `None` when all are in use.
    pub(crate) fn allocate(&mut self) -> Option<BlockIndex> {
        let index = self.head;
        if index == NONE {
            return None;
        }
        self.unlink(index);
        let block = &mut self.blocks[index as usize];
        block.users = 1;
        if let Some(hash) = block.hash.take() {
            self.cached.remove(&hash);
        }
        Some(index)
    }

    /// Makes a full block findable. The first block of a content wins; a second copy is not kept once released.
    pub(crate) fn publish(&mut self, index: BlockIndex, hash: u64) {
        if self.blocks[index as usize].hash.is_none() && !self.cached.contains_key(&hash) {
            self.cached.insert(hash, index);
            self.blocks[index as usize].hash = Some(hash);
        }
    }

    /// Ends a sequence's use of its chain of blocks. The chain's end becomes the first to be evicted, since a block is of
    /// no use without those before it.
    pub(crate) fn release(&mut self, chain: &[BlockIndex]) {
        for &index in chain.iter().rev() {
            let block = &mut self.blocks[index as usize];
            block.users -= 1;
            if block.users == 0 {
                if block.hash.is_some() {
                    self.push_back(index);
                } else {
                    self.push_front(index);
                }
            }
        }
    }

    fn push_back(&mut self, index: BlockIndex) {
        let tail = self.tail;
        let block = &mut self.blocks[index as usize];
        block.previous = tail;
        block.next = NONE;
        match tail {
            NONE => self.head = index,
            tail => self.blocks[tail as usize].next = index,
        }
        self.tail = index;
        self.free += 1;
    }

    fn push_front(&mut self, index: BlockIndex) {
        let head = self.head;
        let block = &mut self.blocks[index as usize];
        block.previous = NONE;
        block.next = head;
        match head {
            NONE => self.tail = index,
            head => self.blocks[head as usize].previous = index,
        }
        self.head = index;
        self.free += 1;
    }

    fn unlink(&mut self, index: BlockIndex) {
        let Block { previous, next, .. } = self.blocks[index as usize];
        match previous {
            NONE => self.head = next,
            previous => self.blocks[previous as usize].next = next,
        }
        match next {
            NONE => self.tail = previous,
            next => self.blocks[next as usize].previous = previous,
        }
        self.free -= 1;
    }
}

#[cfg(test)]
impl KvCache {
    /// Every block is either used or in the free list, once, and the map and the blocks agree.
    pub(crate) fn assert_sound(&self) {
        let mut seen = 0;
        let mut index = self.head;
        while index != NONE {
            assert_eq!(self.blocks[index as usize].users, 0);
            seen += 1;
            assert!(seen <= self.capacity(), "the free list is a ring");
            index = self.blocks[index as usize].next;
        }
        assert_eq!(seen, self.free);
        let idle = self.blocks.iter().filter(|block| block.users == 0).count();
        assert_eq!(idle, self.free as usize);
        let hashed = self
            .blocks
            .iter()
            .filter(|block| block.hash.is_some())
            .count();
        assert_eq!(hashed, self.cached.len());
        for (hash, index) in &self.cached {
            assert_eq!(self.blocks[*index as usize].hash, Some(*hash));
        }
    }

    pub(crate) fn total_users(&self) -> usize {
        self.blocks.iter().map(|block| block.users as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(cache: &mut KvCache, hashes: &[u64]) -> Vec<BlockIndex> {
        hashes
            .iter()
            .map(|hash| {
                let index = cache.allocate().unwrap();
                cache.publish(index, *hash);
                index
            })
            .collect()
    }

    #[test]
    fn the_least_recently_used_chain_loses_its_end_first() {
        let mut cache = KvCache::new(4);
        let old = chain(&mut cache, &[1, 2]);
        let new = chain(&mut cache, &[3, 4]);
        assert_eq!(cache.allocate(), None);
        cache.release(&old);
        cache.release(&new);
        assert_eq!((cache.free(), cache.used()), (4, 0));

        assert_eq!(cache.allocate(), Some(old[1]), "the old chain's end");
        assert_eq!(cache.leading([1, 2].into_iter()), [old[0]]);
        assert_eq!(cache.leading([3, 4].into_iter()), new);
        cache.assert_sound();
    }

    #[test]
    fn a_hit_makes_a_block_recent_again() {
        let mut cache = KvCache::new(2);
        let first = chain(&mut cache, &[1]);
        let second = chain(&mut cache, &[2]);
        cache.release(&first);
        cache.release(&second);
        cache.share(first[0]);
        cache.release(&first);
        assert_eq!(cache.allocate(), Some(second[0]));
        cache.assert_sound();
    }

    #[test]
    fn blocks_that_hold_nothing_findable_are_taken_before_cached_ones() {
        let mut cache = KvCache::new(3);
        let kept = chain(&mut cache, &[1]);
        let partial = cache.allocate().unwrap();
        let copy = cache.allocate().unwrap();
        cache.publish(copy, 1);
        cache.release(&kept);
        cache.release(&[partial]);
        cache.release(&[copy]);
        assert_eq!(cache.allocate(), Some(copy), "a second copy is not kept");
        assert_eq!(cache.allocate(), Some(partial));
        assert_eq!(cache.allocate(), Some(kept[0]));
        assert!(cache.leading([1].into_iter()).is_empty());
        cache.assert_sound();
    }

    #[test]
    fn a_shared_block_is_free_only_after_its_last_user() {
        let mut cache = KvCache::new(1);
        let block = chain(&mut cache, &[1]);
        cache.share(block[0]);
        cache.release(&block);
        assert_eq!((cache.free(), cache.unused_among(&block)), (0, 0));
        cache.release(&block);
        assert_eq!((cache.free(), cache.unused_among(&block)), (1, 1));
    }
}

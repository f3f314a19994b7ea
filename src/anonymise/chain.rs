use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::keyed::Generations;
use super::tokenizer::PromptTokenizer;
use crate::shape::{BlockId, BlockSpec};

/// The secrets that key every hash of what prompts say. Never written, wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ChainKey {
    /// For the blocks of one trace file.
    blocks: [u8; 16],
    /// For [`Conversation`](super::Conversation)s, over all files of one recorder, where they are wanted.
    conversations: Option<[u8; 16]>,
    /// What cuts prompts into tokens; they are cut into bytes where absent.
    #[zeroize(skip)]
    tokenizer: Option<PromptTokenizer>,
}

impl ChainKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = Self::from_bytes([0; 16]);
        getrandom::fill(&mut key.blocks)?;
        Ok(key)
    }

    /// The same key, with which conversations are recognised, too. That costs a second hash of how each prompt begins.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn recognising_conversations(mut self) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        self.conversations = Some(bytes);
        Ok(self)
    }

    /// The same key, with which prompts are cut into blocks of tokens, and texts that no server counted are counted.
    #[must_use]
    pub fn cutting_tokens(mut self, tokenizer: Option<PromptTokenizer>) -> Self {
        self.tokenizer = tokenizer;
        self
    }

    /// What cuts texts into tokens.
    pub fn tokenizer(&self) -> Option<PromptTokenizer> {
        self.tokenizer.clone()
    }

    /// A key for the next file: its blocks cannot be linked to the last one's, conversations are still known.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn next(&self) -> Result<Self, getrandom::Error> {
        let mut key = self.clone();
        getrandom::fill(&mut key.blocks)?;
        Ok(key)
    }

    /// A fixed key, for tests and for reproducible fixtures.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self {
            blocks: bytes,
            conversations: None,
            tokenizer: None,
        }
    }

    /// The operator's keys: the same for every file and every recorder that has them.
    pub(super) const fn of_operator(blocks: [u8; 16], conversations: Option<[u8; 16]>) -> Self {
        Self {
            blocks,
            conversations,
            tokenizer: None,
        }
    }

    /// Bytes for another purpose of the same file, which tell nothing of the key.
    pub(super) fn derive<const N: usize>(&self, purpose: &[u8]) -> [u8; N] {
        derived(&self.blocks, purpose)
    }

    /// A keyed digest of something that prompts refer to.
    pub(super) fn digest(&self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_key(&self.blocks).hash(bytes)
    }

    pub(super) fn conversations(&self) -> Option<&[u8; 16]> {
        self.conversations.as_ref()
    }
}

/// Bytes that only who has the key can tell from random ones: SipHash over the purpose and a counter.
pub(super) fn derived<const N: usize>(key: &[u8; 16], purpose: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    for (number, piece) in (0_u64..).zip(bytes.chunks_mut(size_of::<u64>())) {
        let mut hasher = SipHasher13::new_with_key(key);
        hasher.write_u64(number);
        hasher.write(purpose);
        let hash = hasher.finish().to_le_bytes();
        piece.copy_from_slice(hash.get(..piece.len()).unwrap_or_default());
    }
    bytes
}

/// The keyed hashes of one prompt's full blocks, each over the hash before it and its block. Opaque: it can only be traded for
/// [`BlockId`]s at the gate.
///
/// SipHash-1-3, as the standard library's tables have it: a hash leaves neither this process nor its file's time, so what is
/// asked of it is that nobody can make two prompts meet, at half of what SipHash-2-4 costs.
#[derive(Clone, Default)]
pub struct Chain(Vec<u64>);

impl Chain {
    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }
}

/// Cuts a byte stream into blocks of [`BlockSpec::LIVE`] (as long as those of [`BlockSpec::TOKENS`] are at four bytes a token) and
/// hashes them as they fill; holds at most one block of text.
pub(super) struct ChainBuilder {
    hasher: SipHasher13,
    /// The hash before, and the block as far as it is filled.
    link: [u8; LINK],
    filled: usize,
    links: Vec<u64>,
}

const BLOCK: usize = BlockSpec::LIVE.size as usize;
const BEFORE: usize = size_of::<u64>();
const LINK: usize = BEFORE + BLOCK;

impl ChainBuilder {
    pub(super) fn new(key: &ChainKey) -> Self {
        Self {
            hasher: SipHasher13::new_with_key(&key.blocks),
            link: [0; LINK],
            filled: BEFORE,
            links: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        // A long text is a long chain: one allocation for it instead of a dozen.
        self.links.reserve(bytes.len() / BLOCK);
        while !bytes.is_empty() {
            let take = bytes.len().min(LINK - self.filled);
            let (head, rest) = bytes.split_at(take);
            if let Some(free) = self.link.get_mut(self.filled..self.filled + take) {
                free.copy_from_slice(head);
            }
            self.filled += take;
            bytes = rest;
            if self.filled == LINK {
                let hash = self.hasher.hash(&self.link);
                self.links.push(hash);
                if let Some(before) = self.link.first_chunk_mut() {
                    *before = hash.to_le_bytes();
                }
                self.filled = BEFORE;
            }
        }
    }

    pub(super) fn finish(mut self) -> Chain {
        Chain(std::mem::take(&mut self.links))
    }

    /// A keyed digest of everything so far. Equal for two prompts exactly when both begin with the same bytes and this is where
    /// they are.
    pub(super) fn so_far(&self) -> u64 {
        // A full block is hashed with its link at full length, so no digest of a part is one of a block.
        self.hasher
            .hash(self.link.get(..self.filled).unwrap_or(&self.link))
    }

    /// A keyed digest of something that stands in the prompt by reference (an image), so that its bytes need not.
    pub(super) fn digest(&self, bytes: &[u8]) -> [u8; 8] {
        self.hasher.hash(bytes).to_le_bytes()
    }
}

impl Drop for ChainBuilder {
    fn drop(&mut self) {
        self.link.zeroize();
    }
}

/// Numbers blocks in order of first appearance. Bounded: a block not seen for a whole [generation](Generations) is forgotten and
/// would get a new number (sharing across that distance is lost, nothing else).
pub(super) struct BlockTable {
    numbers: Generations<BlockId>,
    next: u32,
}

impl BlockTable {
    /// A table of at most `bytes`.
    pub(super) fn within(bytes: u64) -> Self {
        Self {
            numbers: Generations::within(bytes, size_of::<BlockId>()),
            next: 0,
        }
    }

    /// The chain as block numbers. Past 2^32 blocks in one file the rest of a chain is cut: rotation comes long before.
    pub(super) fn number(&mut self, chain: &Chain) -> Vec<BlockId> {
        let mut ids = Vec::with_capacity(chain.0.len());
        for &hash in &chain.0 {
            let id = match self.numbers.get(hash) {
                Some(id) => id,
                None => {
                    let Some(next) = self.next.checked_add(1) else {
                        break;
                    };
                    let id = BlockId(self.next);
                    self.next = next;
                    self.numbers.insert(hash, id);
                    id
                }
            };
            ids.push(id);
        }
        ids
    }

    /// A block that no prompt has.
    pub(super) fn fresh(&mut self) -> Option<BlockId> {
        let next = self.next.checked_add(1)?;
        Some(BlockId(std::mem::replace(&mut self.next, next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(key: u8, text: &[u8]) -> Chain {
        let mut builder = ChainBuilder::new(&ChainKey::from_bytes([key; 16]));
        builder.push(text);
        builder.finish()
    }

    #[test]
    fn prompts_share_as_many_ids_as_leading_blocks() {
        let mut table = BlockTable::within(1 << 20);
        let mut text = vec![b'a'; 64 * 5 + 10];
        let first = table.number(&chain(1, &text));
        assert_eq!(first, [0, 1, 2, 3, 4].map(BlockId));
        text[64 * 3] = b'b';
        assert_eq!(table.number(&chain(1, &text)), [0, 1, 2, 5, 6].map(BlockId));
    }

    #[test]
    fn numbers_do_not_depend_on_the_key_or_on_how_the_text_arrives() {
        let text: Vec<u8> = (0..1000_u32).map(|i| (i % 251) as u8).collect();
        let whole = BlockTable::within(1 << 20).number(&chain(1, &text));
        assert_eq!(BlockTable::within(1 << 20).number(&chain(9, &text)), whole);
        let mut builder = ChainBuilder::new(&ChainKey::from_bytes([1; 16]));
        for byte in &text {
            builder.push(std::slice::from_ref(byte));
        }
        assert_eq!(builder.finish().0, chain(1, &text).0);
    }

    #[test]
    fn a_full_table_forgets_the_oldest_and_keeps_the_busy() {
        let mut table = BlockTable::within(400);
        let busy = table.number(&chain(1, &[b's'; 64]));
        for i in 0..100_u8 {
            table.number(&chain(1, &[i; 64]));
            assert_eq!(table.number(&chain(1, &[b's'; 64])), busy);
        }
        assert_ne!(
            table.number(&chain(1, &[0; 64]))[0],
            BlockId(1),
            "forgotten long ago, so a new number"
        );
    }
}

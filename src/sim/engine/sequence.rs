use super::kv::BlockIndex;
use super::prompt::{CHAIN_ROOT, extend_chain};
use super::submission::Planned;
use super::{Prompt, RequestId};
use crate::sim::answer::Answer;

/// One sequence's name, never used again.
pub(super) type SequenceId = u64;

/// A prompt and the part of its answer that has been generated.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) request: RequestId,
    pub(super) choice: u32,
    pub(super) prompt: Prompt,
    pub(super) answer: Answer,
    pub(super) leads: bool,
    /// Its place in the queue while it waits.
    pub(super) order: i64,
    pub(super) running: bool,
    /// It has been admitted before: coming back after a preemption is no news.
    pub(super) admitted: bool,
    pub(super) generated: u32,
    /// Tokens whose keys and values are in its blocks.
    pub(super) computed: u32,
    pub(super) blocks: Vec<BlockIndex>,
    /// How many of its blocks are findable in the prefix cache.
    pub(super) published: u32,
    pub(super) last_token_us: Option<u64>,
    /// Chain hashes of the full blocks after the prompt's own.
    tail: Vec<u64>,
}

impl Sequence {
    pub(super) fn new(request: RequestId, choice: u32, planned: Planned, order: i64) -> Self {
        Self {
            request,
            choice,
            prompt: planned.prompt,
            answer: planned.answer,
            leads: planned.leads,
            order,
            running: false,
            admitted: false,
            generated: 0,
            computed: 0,
            blocks: Vec::new(),
            published: 0,
            last_token_us: None,
            tail: Vec::new(),
        }
    }

    /// Tokens it consists of at the moment.
    pub(super) fn len(&self) -> u32 {
        self.prompt.len() + self.generated
    }

    /// The chain hash of its full block number `block`.
    pub(super) fn chain_hash(&mut self, block: u32, block_tokens: u32) -> u64 {
        let of_prompt = self.prompt.chain().len();
        let block = block as usize;
        if let Some(hash) = self.prompt.chain().get(block) {
            return *hash;
        }
        while self.tail.len() <= block - of_prompt {
            let index = of_prompt + self.tail.len();
            let last = self
                .tail
                .last()
                .or_else(|| self.prompt.chain().last())
                .copied()
                .unwrap_or(CHAIN_ROOT);
            let start = u32::try_from(index).unwrap_or(u32::MAX) * block_tokens;
            let tokens = (start..start + block_tokens).map(|position| self.token(position));
            let hash = extend_chain(last, tokens);
            self.tail.push(hash);
        }
        self.tail
            .get(block - of_prompt)
            .copied()
            .unwrap_or(CHAIN_ROOT)
    }

    fn token(&self, position: u32) -> u32 {
        self.prompt
            .token(position)
            .unwrap_or_else(|| self.answer.token_id(position - self.prompt.len()))
    }
}

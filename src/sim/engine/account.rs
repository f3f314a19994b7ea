use serde::{Deserialize, Serialize};

/// What the engine knows about itself: the truth that measurements of it are held against. Totals count from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Sequences in the batch.
    pub running: u32,
    /// Sequences that wait, preempted ones included.
    pub waiting: u32,
    /// Most sequences that ever ran at once.
    pub running_peak: u32,
    /// Most sequences that ever waited at once.
    pub waiting_peak: u32,
    /// Tokens' worth of KV blocks in use.
    pub kv_used_tokens: u32,
    /// The most that ever was.
    pub kv_peak_tokens: u32,
    /// Tokens' worth of KV blocks there are.
    pub kv_capacity_tokens: u32,
    /// Sequences thrown out of the batch because blocks ran out.
    pub preemptions: u64,
    /// Prompt tokens looked up in the prefix cache (once per prompt, when it is first admitted).
    pub prefix_queries: u64,
    /// Those of them that were found.
    pub prefix_hits: u64,
    /// Prompt tokens of admitted requests.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generation_tokens: u64,
    /// Requests that ended with all their tokens.
    pub completed: u64,
    /// Those of them that ended because they reached their limit of tokens.
    pub completed_by_length: u64,
    /// Requests that were cancelled.
    pub aborted: u64,
    /// Requests that found the queue full.
    pub rejected: u64,
    /// Steps made.
    pub steps: u64,
    /// Times the machine was too slow to keep up with the model, so that its clock was moved on.
    pub late_steps: u64,
}

impl Stats {
    /// Share of the KV cache in use.
    pub fn kv_usage(&self) -> f64 {
        f64::from(self.kv_used_tokens) / f64::from(self.kv_capacity_tokens.max(1))
    }
}

//! The model of the engine: requests in, events out, on a clock that the caller owns. No I/O and no threads, so that
//! everything it does can be tested in virtual time and repeats exactly.
//!
//! It works in steps, as engines with continuous batching do. [`Engine::begin_step`] decides what the step computes and how
//! long that takes; [`Engine::finish_step`], at that step's end, yields its tokens. In between, requests may come
//! ([`Engine::submit`]) and go ([`Engine::cancel`]).

mod account;
mod kv;
mod prompt;
mod schedule;
mod sequence;
mod submission;

use std::collections::{BTreeMap, HashMap};

pub use account::Stats;
pub(super) use prompt::Prompt;
pub(crate) use submission::check_fit;
pub(super) use submission::{Refusal, Submission};

use super::answer::Finish;
use super::config::Config;
use kv::KvCache;
use schedule::Step;
use sequence::{Sequence, SequenceId};

/// One request's name, given by the caller.
pub(super) type RequestId = u64;

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// One of its prompts began to be computed (for the first time).
    Admitted {
        /// Which request.
        request: RequestId,
        /// Tokens of that prompt found in the prefix cache.
        cached_tokens: u32,
        /// Microseconds since it arrived.
        queued_us: u64,
    },
    /// One of its sequences has its next token.
    Token {
        /// Which request.
        request: RequestId,
        /// Which sequence.
        choice: u32,
        /// Which token, from 0.
        ordinal: u32,
        /// Microseconds since the token before it; for the first, since the request arrived.
        after_us: u64,
    },
    /// All of its sequences are complete.
    Done {
        /// Which request.
        request: RequestId,
        /// [`Finish::Length`] where any of them ended so.
        finish: Finish,
        /// Microseconds since it arrived.
        e2e_us: u64,
    },
}

/// The simulated engine.
#[derive(Debug)]
pub(super) struct Engine {
    config: Config,
    kv: KvCache,
    requests: HashMap<RequestId, Request>,
    sequences: HashMap<SequenceId, Sequence>,
    next_sequence: SequenceId,
    /// First come, first served; a preempted sequence returns to the head.
    waiting: BTreeMap<i64, SequenceId>,
    /// In order of admission.
    running: Vec<SequenceId>,
    step: Option<Step>,
    stats: Stats,
}

#[derive(Debug)]
struct Request {
    arrived_us: u64,
    sequences: Vec<SequenceId>,
    unfinished: usize,
    finish: Finish,
}

impl Engine {
    /// An idle engine.
    pub(super) fn new(config: Config) -> Self {
        Self {
            kv: KvCache::new(config.kv_blocks()),
            requests: HashMap::new(),
            sequences: HashMap::new(),
            next_sequence: 0,
            waiting: BTreeMap::new(),
            running: Vec::new(),
            step: None,
            stats: Stats {
                kv_capacity_tokens: config.kv_blocks() * config.block_tokens,
                ..Stats::default()
            },
            config,
        }
    }

    /// Queues a request that arrived at `now_us`. `request` must be new.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`].
    pub(super) fn submit(
        &mut self,
        now_us: u64,
        request: RequestId,
        submission: Submission,
    ) -> Result<(), Refusal> {
        let wanted = submission.sequences.len();
        if let Some(limit) = self.config.max_waiting {
            // What can start with the next step does not wait.
            let starting = (self.config.max_num_seqs as usize).saturating_sub(self.running.len());
            if self.waiting.len() + wanted > limit as usize + starting {
                self.stats.rejected += 1;
                return Err(Refusal::QueueFull);
            }
        }
        let first = self
            .waiting
            .last_key_value()
            .map_or(0, |(order, _)| order + 1);
        let mut ids = Vec::with_capacity(wanted);
        for ((choice, planned), order) in (0..).zip(submission.sequences).zip(first..) {
            let id = self.next_sequence;
            self.next_sequence += 1;
            self.sequences
                .insert(id, Sequence::new(request, choice, planned, order));
            self.waiting.insert(order, id);
            ids.push(id);
        }
        self.requests.insert(
            request,
            Request {
                arrived_us: now_us,
                unfinished: wanted,
                sequences: ids,
                finish: Finish::Stop,
            },
        );
        self.count_load();
        Ok(())
    }

    /// Ends a request before its time and frees what it held. `false` when it is not (or no longer) there.
    pub(super) fn cancel(&mut self, request: RequestId) -> bool {
        let Some(gone) = self.requests.remove(&request) else {
            return false;
        };
        for id in gone.sequences {
            if let Some(sequence) = self.sequences.remove(&id) {
                self.kv.release(&sequence.blocks);
                if sequence.running {
                    self.running.retain(|running| *running != id);
                } else {
                    self.waiting.remove(&sequence.order);
                }
            }
        }
        self.stats.aborted += 1;
        self.count_load();
        true
    }

    /// The truth, as of now.
    pub(super) fn stats(&self) -> Stats {
        self.stats
    }

    fn count_load(&mut self) {
        let stats = &mut self.stats;
        stats.running = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        stats.waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        stats.running_peak = stats.running_peak.max(stats.running);
        stats.waiting_peak = stats.waiting_peak.max(stats.waiting);
        stats.kv_used_tokens = self.kv.used() * self.config.block_tokens;
        stats.kv_peak_tokens = stats.kv_peak_tokens.max(stats.kv_used_tokens);
    }
}

#[cfg(test)]
mod tests;

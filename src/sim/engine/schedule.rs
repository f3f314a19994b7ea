//! What a step computes, how long that takes, and what comes of it.

use super::sequence::SequenceId;
use super::{Engine, Event};
use crate::sim::answer::Finish;
use crate::sim::noise::{mix, unit};

/// A step under way.
#[derive(Debug)]
pub(super) struct Step {
    end_us: u64,
    work: Vec<Work>,
}

#[derive(Debug, Clone, Copy)]
struct Work {
    sequence: SequenceId,
    tokens: u32,
}

/// What a step has to do, as its time depends on it.
#[derive(Debug, Clone, Copy, Default)]
struct StepLoad {
    sequences: u32,
    prefill_tokens: u64,
    context_tokens: u64,
}

impl Engine {
    /// Starts a step at `now_us` and says when it ends; `None` when there is nothing to do. No step may be under way.
    pub(crate) fn begin_step(&mut self, now_us: u64, events: &mut Vec<Event>) -> Option<u64> {
        debug_assert!(self.step.is_none(), "one step at a time");
        let mut work = Vec::with_capacity(self.running.len() + 1);
        let mut load = StepLoad::default();
        let mut budget = self.config.max_num_batched_tokens;
        let preempted = self.schedule_running(&mut work, &mut load, &mut budget);
        // As in vLLM: what was just thrown out must not come straight back in.
        if !preempted {
            self.schedule_waiting(now_us, &mut work, &mut load, &mut budget, events);
        }
        self.count_load();
        if work.is_empty() {
            return None;
        }
        self.stats.steps += 1;
        let end_us = now_us.saturating_add(self.step_us(load));
        self.step = Some(Step { end_us, work });
        Some(end_us)
    }

    /// Ends the step under way: each sequence whose tokens are all computed has its next one.
    pub(crate) fn finish_step(&mut self, events: &mut Vec<Event>) {
        let Some(Step { end_us, work }) = self.step.take() else {
            return;
        };
        for Work {
            sequence: id,
            tokens,
        } in work
        {
            // A sequence cancelled during the step is gone.
            let Some(sequence) = self.sequences.get_mut(&id) else {
                continue;
            };
            sequence.computed += tokens;
            if sequence.computed < sequence.len() {
                continue;
            }
            let Some(request) = self.requests.get(&sequence.request) else {
                continue;
            };
            let before_us = sequence.last_token_us.unwrap_or(request.arrived_us);
            events.push(Event::Token {
                request: sequence.request,
                choice: sequence.choice,
                ordinal: sequence.generated,
                after_us: end_us.saturating_sub(before_us),
            });
            sequence.last_token_us = Some(end_us);
            sequence.generated += 1;
            self.stats.generation_tokens += 1;
            if sequence.generated >= sequence.answer.tokens() {
                self.complete(id, end_us, events);
            }
        }
        self.running.retain(|id| self.sequences.contains_key(id));
        self.count_load();
    }

    /// Sequences in the batch come first, oldest first. Says whether one had to be thrown out.
    fn schedule_running(
        &mut self,
        work: &mut Vec<Work>,
        load: &mut StepLoad,
        budget: &mut u32,
    ) -> bool {
        let mut preempted = false;
        let mut position = 0;
        while let Some(&id) = self.running.get(position)
            && *budget > 0
        {
            while !self.grow(id, *budget) {
                // The newest goes, which may be the very one that wants to grow. Alone it always fits.
                let Some(victim) = self.running.pop() else {
                    break;
                };
                self.preempt(victim);
                preempted = true;
                if victim == id {
                    break;
                }
            }
            if position < self.running.len() {
                self.add(id, work, load, budget);
                position += 1;
            }
        }
        preempted
    }

    fn schedule_waiting(
        &mut self,
        now_us: u64,
        work: &mut Vec<Work>,
        load: &mut StepLoad,
        budget: &mut u32,
        events: &mut Vec<Event>,
    ) {
        while *budget > 0
            && self.running.len() < self.config.max_num_seqs as usize
            && let Some((&order, &id)) = self.waiting.first_key_value()
            && self.admit(id, now_us, events)
        {
            self.waiting.remove(&order);
            self.running.push(id);
            self.add(id, work, load, budget);
        }
    }

    /// Takes all the blocks that a waiting sequence's present tokens need, those in the prefix cache first. All or none: a
    /// sequence that could only begin would be thrown out half-way.
    fn admit(&mut self, id: SequenceId, now_us: u64, events: &mut Vec<Event>) -> bool {
        let block_tokens = self.config.block_tokens;
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return false;
        };
        let cached = if self.config.prefix_cache {
            // The last token is always computed: its output is the next token.
            let most = (sequence.len() - 1) / block_tokens;
            let hashes = (0..most).map(|block| sequence.chain_hash(block, block_tokens));
            self.kv.leading(hashes)
        } else {
            Vec::new()
        };
        let hits = u32::try_from(cached.len()).unwrap_or(u32::MAX);
        let fresh = sequence.len().div_ceil(block_tokens) - hits;
        if fresh > self.kv.free() - self.kv.unused_among(&cached) {
            return false;
        }
        for &block in &cached {
            self.kv.share(block);
        }
        sequence.blocks = cached;
        sequence
            .blocks
            .extend((0..fresh).map_while(|_| self.kv.allocate()));
        sequence.published = hits;
        sequence.computed = hits * block_tokens;
        sequence.running = true;
        if sequence.leads && !sequence.admitted {
            let prompt = u64::from(sequence.prompt.len());
            self.stats.prompt_tokens += prompt;
            if self.config.prefix_cache {
                self.stats.prefix_queries += prompt;
                self.stats.prefix_hits += u64::from(sequence.computed);
            }
            let arrived_us = self
                .requests
                .get(&sequence.request)
                .map_or(now_us, |request| request.arrived_us);
            events.push(Event::Admitted {
                request: sequence.request,
                cached_tokens: sequence.computed,
                queued_us: now_us.saturating_sub(arrived_us),
            });
        }
        sequence.admitted = true;
        true
    }

    /// Makes room for the tokens that this step computes of a running sequence.
    fn grow(&mut self, id: SequenceId, budget: u32) -> bool {
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return true;
        };
        let tokens = (sequence.len() - sequence.computed).min(budget);
        let wanted = (sequence.computed + tokens).div_ceil(self.config.block_tokens) as usize;
        while sequence.blocks.len() < wanted {
            let Some(block) = self.kv.allocate() else {
                return false;
            };
            sequence.blocks.push(block);
        }
        true
    }

    /// Puts a sequence that has its blocks into the step, and makes the blocks that the step fills findable: a sequence
    /// admitted in the same step may already share them.
    fn add(&mut self, id: SequenceId, work: &mut Vec<Work>, load: &mut StepLoad, budget: &mut u32) {
        let block_tokens = self.config.block_tokens;
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return;
        };
        let missing = sequence.len() - sequence.computed;
        let tokens = missing.min(*budget);
        *budget -= tokens;
        load.sequences += 1;
        load.context_tokens += u64::from(sequence.computed);
        // A lone missing token of a sequence that has already generated is a decode; all else is prefill.
        if missing > 1 || sequence.generated == 0 {
            load.prefill_tokens += u64::from(tokens);
        }
        if self.config.prefix_cache {
            let full = (sequence.computed + tokens) / block_tokens;
            while sequence.published < full {
                let block = sequence.published;
                let hash = sequence.chain_hash(block, block_tokens);
                if let Some(index) = sequence.blocks.get(block as usize) {
                    self.kv.publish(*index, hash);
                }
                sequence.published += 1;
            }
        }
        work.push(Work {
            sequence: id,
            tokens,
        });
    }

    /// Sends a running sequence (already out of the batch) back to the head of the queue. It keeps its tokens and must
    /// compute them again, but for what the prefix cache still holds then.
    fn preempt(&mut self, id: SequenceId) {
        let order = self
            .waiting
            .first_key_value()
            .map_or(0, |(order, _)| order - 1);
        if let Some(sequence) = self.sequences.get_mut(&id) {
            self.kv.release(&sequence.blocks);
            sequence.blocks.clear();
            sequence.computed = 0;
            sequence.published = 0;
            sequence.running = false;
            sequence.order = order;
            self.waiting.insert(order, id);
            self.stats.preemptions += 1;
        }
    }

    fn complete(&mut self, id: SequenceId, end_us: u64, events: &mut Vec<Event>) {
        let Some(sequence) = self.sequences.remove(&id) else {
            return;
        };
        self.kv.release(&sequence.blocks);
        let Some(request) = self.requests.get_mut(&sequence.request) else {
            return;
        };
        request.unfinished -= 1;
        if sequence.answer.finish() == Finish::Length {
            request.finish = Finish::Length;
        }
        if request.unfinished == 0 {
            events.push(Event::Done {
                request: sequence.request,
                finish: request.finish,
                e2e_us: end_us.saturating_sub(request.arrived_us),
            });
            self.stats.completed += 1;
            self.stats.completed_by_length += u64::from(request.finish == Finish::Length);
            self.requests.remove(&sequence.request);
        }
    }

    fn step_us(&self, load: StepLoad) -> u64 {
        let config = &self.config;
        let prefill_us = if config.prefill_tokens_per_s > 0.0 {
            load.prefill_tokens as f64 * 1e6 / config.prefill_tokens_per_s
        } else {
            0.0
        };
        let model_us = config.step_base_us
            + config.step_per_sequence_us * f64::from(load.sequences)
            + config.step_per_context_token_ns / 1e3 * load.context_tokens as f64
            + prefill_us;
        let stray = 2.0 * unit(mix(config.seed, self.stats.steps)) - 1.0;
        let us = model_us * config.slowdown * (1.0 + config.jitter * stray);
        // A float beyond the range saturates.
        #[allow(clippy::cast_possible_truncation)]
        let us = us.round() as u64;
        us
    }
}

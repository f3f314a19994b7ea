//! An engine without a server around it.

use crate::sim::Config;
use crate::sim::answer::{Form, LengthAsk};
use crate::sim::engine::{Engine, Event, Prompt, RequestId, Submission};

pub(super) fn config() -> Config {
    Config {
        step_base_us: 1_000.0,
        step_per_sequence_us: 10.0,
        step_per_context_token_ns: 100.0,
        prefill_tokens_per_s: 100_000.0,
        max_num_seqs: 8,
        max_num_batched_tokens: 256,
        max_model_len: 1_024,
        kv_capacity_tokens: 2_048,
        ..Config::profile("tiny").unwrap()
    }
}

pub(super) fn prompt(config: &Config, seed: u32, tokens: u32) -> Prompt {
    Prompt::new(
        (0..tokens).map(|i| seed * 100_000 + i).collect(),
        config.block_tokens,
    )
}

pub(super) fn exactly(tokens: u32) -> LengthAsk {
    LengthAsk {
        max_tokens: Some(tokens),
        min_tokens: tokens,
        ignore_eos: true,
    }
}

/// An engine on a clock that runs as fast as it can.
pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) now_us: u64,
    pub(super) next: RequestId,
    pub(super) log: Vec<(u64, Event)>,
}

impl Bench {
    pub(super) fn new(config: Config) -> Self {
        config.validate().unwrap();
        Self {
            engine: Engine::new(config),
            now_us: 0,
            next: 0,
            log: Vec::new(),
        }
    }

    pub(super) fn submit(&mut self, prompt: Prompt, choices: u32, answer: u32) -> RequestId {
        let submission = Submission::plan(
            &self.engine.config,
            &[prompt],
            choices,
            exactly(answer),
            Form::Text,
        )
        .unwrap();
        self.next += 1;
        self.engine
            .submit(self.now_us, self.next, submission)
            .unwrap();
        self.next
    }

    pub(super) fn ask(&mut self, seed: u32, tokens: u32, answer: u32) -> RequestId {
        let prompt = prompt(&self.engine.config, seed, tokens);
        self.submit(prompt, 1, answer)
    }

    /// Makes one step; gives its length.
    pub(super) fn step(&mut self) -> Option<u64> {
        let mut events = Vec::new();
        let began = self.now_us;
        let end = self.engine.begin_step(began, &mut events)?;
        self.now_us = end;
        self.engine.finish_step(&mut events);
        self.log
            .extend(events.into_iter().map(|event| (end, event)));
        Some(end - began)
    }

    pub(super) fn drain(&mut self) {
        let mut steps = 0;
        while self.step().is_some() {
            self.engine.kv.assert_sound();
            steps += 1;
            assert!(steps < 100_000, "no progress");
        }
        assert!(self.engine.sequences.is_empty());
        assert_eq!(self.engine.stats().kv_used_tokens, 0, "a block leaked");
    }

    pub(super) fn ttft_us(&self, wanted: RequestId) -> u64 {
        self.log
            .iter()
            .find_map(|(_, event)| match event {
                Event::Token {
                    request,
                    ordinal: 0,
                    after_us,
                    ..
                } if *request == wanted => Some(*after_us),
                _ => None,
            })
            .unwrap()
    }

    pub(super) fn tokens(&self, wanted: RequestId) -> usize {
        self.log
            .iter()
            .filter(
                |(_, event)| matches!(event, Event::Token { request, .. } if *request == wanted),
            )
            .count()
    }

    pub(super) fn cached(&self, wanted: RequestId) -> u32 {
        self.log
            .iter()
            .find_map(|(_, event)| match event {
                Event::Admitted {
                    request,
                    cached_tokens,
                    ..
                } if *request == wanted => Some(*cached_tokens),
                _ => None,
            })
            .unwrap()
    }
}

//! Whatever happens to an engine, in whatever order.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::bench::{Bench, config, prompt};
use crate::sim::Config;
use crate::sim::engine::{Event, RequestId};

/// One thing that happens to the engine.
#[derive(Debug, Clone)]
enum Happening {
    Ask {
        seed: u32,
        tokens: u32,
        answer: u32,
        choices: u32,
    },
    Cancel(usize),
    CancelDuringStep(usize),
    Steps(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    let ask = (0..6_u32, 1..300_u32, 1..200_u32, 1..4_u32);
    prop_oneof![
        4 => ask.prop_map(|(seed, tokens, answer, choices)| Happening::Ask { seed, tokens, answer, choices }),
        1 => any::<usize>().prop_map(Happening::Cancel),
        1 => any::<usize>().prop_map(Happening::CancelDuringStep),
        6 => (1..40_u32).prop_map(Happening::Steps),
    ]
}

/// Plays it all, checks at every turn what must always hold, and gives what happened.
fn play(config: Config, happenings: &[Happening]) -> Vec<(u64, Event)> {
    let mut bench = Bench::new(config);
    let mut asked: BTreeMap<RequestId, usize> = BTreeMap::new();
    let mut cancelled = 0_u64;
    for happening in happenings {
        match *happening {
            Happening::Ask {
                seed,
                tokens,
                answer,
                choices,
            } => {
                let prompt = prompt(&bench.engine.config, seed, tokens);
                let id = bench.submit(prompt, choices, answer);
                asked.insert(id, (answer * choices) as usize);
            }
            Happening::Cancel(which) | Happening::CancelDuringStep(which) => {
                let mut events = Vec::new();
                let end = matches!(happening, Happening::CancelDuringStep(_))
                    .then(|| bench.engine.begin_step(bench.now_us, &mut events))
                    .flatten();
                if !asked.is_empty() {
                    let id = *asked.keys().nth(which % asked.len()).unwrap();
                    if bench.engine.cancel(id) {
                        cancelled += 1;
                        asked.remove(&id);
                    }
                }
                if let Some(end) = end {
                    bench.now_us = end;
                    bench.engine.finish_step(&mut events);
                    bench
                        .log
                        .extend(events.into_iter().map(|event| (end, event)));
                }
            }
            Happening::Steps(steps) => {
                for _ in 0..steps {
                    bench.step();
                }
            }
        }
        bench.engine.kv.assert_sound();
        let held: usize = bench
            .engine
            .sequences
            .values()
            .map(|sequence| sequence.blocks.len())
            .sum();
        assert_eq!(
            held,
            bench.engine.kv.total_users(),
            "blocks have exactly the users that hold them"
        );
        let stats = bench.engine.stats();
        assert_eq!(
            stats.running as usize + stats.waiting as usize,
            bench.engine.sequences.len()
        );
        assert!(stats.running <= bench.engine.config.max_num_seqs);
    }
    bench.drain();
    let mut counts: HashMap<RequestId, usize> = HashMap::new();
    for (_, event) in &bench.log {
        if let Event::Token { request, .. } = event {
            *counts.entry(*request).or_default() += 1;
        }
    }
    for (id, tokens) in &asked {
        assert_eq!(
            counts.get(id),
            Some(tokens),
            "request {id} got the tokens it asked for"
        );
    }
    let stats = bench.engine.stats();
    assert_eq!(
        (stats.completed, stats.aborted),
        (asked.len() as u64, cancelled)
    );
    bench.log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_leaks_and_everything_repeats_whatever_happens(
        happenings in prop::collection::vec(happening(), 1..80),
        prefix_cache in any::<bool>(),
        blocks in 35..120_u32,
    ) {
        let config = Config {
            prefix_cache,
            jitter: 0.05,
            max_model_len: 512,
            ..config().with_kv_capacity_tokens(blocks * 16)
        };
        prop_assert_eq!(play(config.clone(), &happenings), play(config, &happenings));
    }
}

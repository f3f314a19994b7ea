mod bench;
mod happenings;

use self::bench::{Bench, config, exactly, prompt};
use super::*;
use crate::sim::answer::Form;

#[test]
fn a_steps_time_is_the_documented_sum() {
    let mut bench = Bench::new(config());
    bench.ask(1, 100, 3);
    // 1000 + 10 for the sequence + 100 tokens at 100 tokens/ms.
    assert_eq!(bench.step(), Some(2_010));
    // 1000 + 10 + 100 tokens of context at 0.1 µs.
    assert_eq!(bench.step(), Some(1_020));
    bench.ask(2, 50, 3);
    // Two sequences, 101 tokens of context, 50 to prefill.
    assert_eq!(bench.step(), Some(1_000 + 20 + 10 + 500));
}

#[test]
fn slowdown_stretches_every_step_and_jitter_strays_no_further_than_it_may() {
    let mut slow = Bench::new(config().with_slowdown(1.5));
    slow.ask(1, 100, 1);
    assert_eq!(slow.step(), Some(3_015));

    let mut jittery = Bench::new(Config {
        jitter: 0.1,
        ..config()
    });
    jittery.ask(1, 16, 500);
    jittery.step();
    let mut lengths = Vec::new();
    while let Some(us) = jittery.step() {
        lengths.push(us);
    }
    assert!(
        lengths.iter().all(|us| (900..=1_170).contains(us)),
        "{lengths:?}"
    );
    assert!(lengths.iter().any(|us| *us < 950) && lengths.iter().any(|us| *us > 1_100));
}

#[test]
fn a_step_takes_longer_the_larger_the_batch() {
    let mut last = 0;
    for batch in 1..=8 {
        let mut bench = Bench::new(config());
        for seed in 0..batch {
            bench.ask(seed, 20, 10);
        }
        bench.step();
        let us = bench.step().unwrap();
        assert!(us > last);
        last = us;
    }
}

#[test]
fn a_long_prompt_is_prefilled_in_chunks_beside_the_decodes() {
    let mut bench = Bench::new(config());
    let decoding = bench.ask(1, 10, 20);
    bench.step();
    let long = bench.ask(2, 600, 2);
    // 255 tokens fit beside the decode, then 255, then 90.
    for _ in 0..2 {
        bench.step();
        assert_eq!(bench.tokens(long), 0);
    }
    bench.step();
    assert_eq!(bench.tokens(long), 1);
    assert_eq!(
        bench.tokens(decoding),
        4,
        "the decode moved in each of them"
    );
    bench.drain();
}

#[test]
fn a_prefix_hit_skips_prefill_and_shortens_ttft() {
    let mut bench = Bench::new(config());
    let cold = bench.ask(1, 320, 2);
    bench.drain();
    let warm = bench.ask(1, 320, 2);
    bench.drain();
    // 20 blocks, but the last token is always computed, so the last block is too.
    assert_eq!((bench.cached(cold), bench.cached(warm)), (0, 304));
    assert!(bench.ttft_us(warm) * 2 < bench.ttft_us(cold));
    let stats = bench.engine.stats();
    assert_eq!((stats.prefix_queries, stats.prefix_hits), (640, 304));

    let mut off = Bench::new(Config {
        prefix_cache: false,
        ..config()
    });
    off.ask(1, 320, 2);
    off.drain();
    let again = off.ask(1, 320, 2);
    off.drain();
    assert_eq!(
        (off.cached(again), off.engine.stats().prefix_queries),
        (0, 0)
    );
}

#[test]
fn the_next_turn_finds_the_prompt_and_the_answer_before_it() {
    let config = config();
    let first = prompt(&config, 1, 100);
    let submission = Submission::plan(
        &config,
        std::slice::from_ref(&first),
        1,
        exactly(60),
        Form::Text,
    )
    .unwrap();
    let answer = submission.answers()[0];
    let mut bench = Bench::new(config.clone());
    bench.engine.submit(0, 1, submission).unwrap();
    bench.drain();
    bench.next = 1;

    let mut tokens: Vec<u32> = (0..100).map(|i| 100_000 + i).collect();
    tokens.extend((0..60).map(|ordinal| answer.token_id(ordinal)));
    tokens.extend(0..30);
    let second = bench.submit(Prompt::new(tokens, config.block_tokens), 1, 1);
    bench.drain();
    // The answer's last token was never computed: 159 tokens make 9 full blocks.
    assert_eq!(bench.cached(second), 144);
}

#[test]
fn the_cache_forgets_what_was_used_longest_ago() {
    let mut bench = Bench::new(config().with_kv_capacity_tokens(1_024));
    for seed in 1..=3 {
        bench.ask(seed, 320, 1);
        bench.drain();
    }
    // 960 of 1024 tokens are cached. The first is used again, so the second has to go.
    bench.ask(1, 320, 1);
    bench.drain();
    bench.ask(4, 320, 1);
    bench.drain();
    let first = bench.ask(1, 320, 1);
    bench.drain();
    assert_eq!(bench.cached(first), 304);
    let second = bench.ask(2, 320, 1);
    bench.drain();
    assert!(bench.cached(second) < 304, "{}", bench.cached(second));
}

#[test]
fn the_newest_is_preempted_when_blocks_run_out_and_completes_later() {
    let mut bench = Bench::new(config().with_kv_capacity_tokens(512));
    let old = bench.ask(1, 200, 150);
    let new = bench.ask(2, 200, 150);
    bench.drain();
    let stats = bench.engine.stats();
    assert!(stats.preemptions > 0);
    assert_eq!((bench.tokens(old), bench.tokens(new)), (150, 150));
    assert_eq!((stats.completed, stats.completed_by_length), (2, 2));
    let ended = |wanted| {
        bench
            .log
            .iter()
            .find_map(|(at, event)| {
                matches!(event, Event::Done { request, .. } if *request == wanted).then_some(*at)
            })
            .unwrap()
    };
    assert!(
        ended(old) < ended(new),
        "the older one was never interrupted"
    );
    assert!(stats.kv_peak_tokens <= 512);
}

#[test]
fn tokens_of_a_preempted_sequence_are_neither_lost_nor_repeated() {
    let mut bench = Bench::new(config().with_kv_capacity_tokens(1_024));
    let ids: Vec<_> = (0..8).map(|seed| bench.ask(seed, 100, 200)).collect();
    bench.drain();
    assert!(bench.engine.stats().preemptions > 0);
    for id in ids {
        let ordinals: Vec<u32> = bench
            .log
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Token {
                    request, ordinal, ..
                } if *request == id => Some(*ordinal),
                _ => None,
            })
            .collect();
        assert_eq!(ordinals, (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn choices_share_the_blocks_of_their_prompt() {
    let mut bench = Bench::new(config());
    let shared = prompt(&bench.engine.config, 1, 160);
    let id = bench.submit(shared, 4, 10);
    bench.step();
    let stats = bench.engine.stats();
    // 10 blocks are shared; the last, whose last token is always computed, is not, nor is what each generates.
    assert_eq!(stats.running, 4);
    assert!(
        stats.kv_used_tokens <= 160 + 3 * 16,
        "{}",
        stats.kv_used_tokens
    );
    bench.drain();
    assert_eq!(bench.tokens(id), 40);
    let stats = bench.engine.stats();
    assert_eq!(
        (stats.completed, stats.prompt_tokens, stats.prefix_hits),
        (1, 160, 0)
    );
}

#[test]
fn a_cancel_frees_the_sequence_at_once_even_during_a_step() {
    let mut bench = Bench::new(config());
    let gone = bench.ask(1, 100, 50);
    let stays = bench.ask(2, 100, 5);
    bench.step();
    let mut events = Vec::new();
    let end = bench.engine.begin_step(bench.now_us, &mut events).unwrap();
    assert!(bench.engine.cancel(gone));
    assert!(!bench.engine.cancel(gone));
    assert_eq!(bench.engine.stats().running, 1);
    assert!(bench.engine.stats().kv_used_tokens <= 112);
    bench.now_us = end;
    bench.engine.finish_step(&mut events);
    assert!(
        events
            .iter()
            .all(|event| !matches!(event, Event::Token { request, .. } if *request == gone))
    );
    bench.drain();
    assert_eq!(bench.tokens(stays), 5 - 1, "one was taken by hand");
    let stats = bench.engine.stats();
    assert_eq!((stats.completed, stats.aborted), (1, 1));
}

#[test]
fn a_full_queue_refuses_and_says_so() {
    let mut bench = Bench::new(Config {
        max_num_seqs: 2,
        max_waiting: Some(1),
        ..config()
    });
    for seed in 0..3 {
        bench.ask(seed, 20, 5);
    }
    let another = prompt(&bench.engine.config, 9, 20);
    let submission =
        Submission::plan(&bench.engine.config, &[another], 1, exactly(5), Form::Text).unwrap();
    assert_eq!(
        bench.engine.submit(0, 99, submission),
        Err(Refusal::QueueFull)
    );
    assert_eq!(bench.engine.stats().rejected, 1);
    bench.drain();
    assert_eq!(bench.engine.stats().completed, 3);
}

#[test]
fn what_can_never_fit_is_refused_before_it_is_queued() {
    let config = config();
    let plan = |tokens, answer| {
        Submission::plan(
            &config,
            &[prompt(&config, 1, tokens)],
            1,
            exactly(answer),
            Form::Text,
        )
        .map(|_| ())
    };
    assert_eq!(plan(0, 5), Err(Refusal::Empty));
    assert_eq!(plan(1_000, 24), Ok(()));
    let too_long = Refusal::TooLong {
        longest: 1_024,
        prompt: 1_000,
        answer: 25,
    };
    assert_eq!(plan(1_000, 25), Err(too_long));
}

#[test]
fn a_zero_cost_engine_makes_steps_of_no_time() {
    let mut bench = Bench::new(Config::profile("null").unwrap());
    let id = bench.ask(1, 10_000, 500);
    bench.drain();
    assert_eq!((bench.tokens(id), bench.now_us), (500, 0));
}

//! How much of an exchange can be told at all.

use super::twin::{KEY, Text, chat, trace_of};
use crate::anonymise::Policy;

/// The budget of docs/privacy.md: so much can be told of an exchange, and no text fits into it.
const BITS_PER_EXCHANGE: usize = 512;

#[test]
fn a_live_workload_stays_within_its_budget_of_information() {
    let mut state = 9_u64;
    let mut dice = move |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let mut roll = |limit: usize| usize::try_from(dice(limit as u64)).unwrap();
    let texts: Vec<Text> = (0..40)
        .map(|_| (0..100 + roll(900)).map(|_| (0, roll(59))).collect())
        .collect();
    let plans: Vec<_> = (0..2000)
        .map(|_| {
            let mut plan = chat(1 + roll(6), roll(100_000) as u64, 1000 + roll(3000) as u64);
            let first = roll(30);
            plan.prompt
                .iter_mut()
                .for_each(|(_, number)| *number += first);
            plan.answer.truncate(10 + roll(30));
            plan
        })
        .collect();
    let bytes = trace_of(&plans, &texts, 0, &Policy::default(), KEY);
    let bits = bytes.len() * 8 / plans.len();
    println!("{bits} bits for each exchange");
    assert!(bits <= BITS_PER_EXCHANGE, "{bits}");
}

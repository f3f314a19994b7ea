//! What holds for plans of any trace, whatever is asked for.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Traces with conversations of any kind beside lone requests.
fn traces() -> impl Strategy<Value = Vec<Exchange>> {
    let request = (
        prop::option::weighted(0.8, 0_u32..12),
        0_u64..5_000_000,
        0_u64..400_000,
        0_u32..40,
    );
    prop::collection::vec(request, 1..60).prop_map(|requests| {
        let mut trace: Vec<Exchange> = requests
            .into_iter()
            .map(|(session, at_us, took_us, block)| {
                let mut exchange = turn(0, at_us, took_us);
                exchange.session = session.map(SessionId);
                exchange.request.blocks = (0..block).step_by(7).map(BlockId).collect();
                exchange
            })
            .collect();
        trace.sort_by_key(|exchange| exchange.at);
        trace
    })
}

fn any_options() -> impl Strategy<Value = PlanOptions> {
    let speed = prop_oneof![Just(1.0), 0.1_f64..10.0];
    let rate = prop_oneof![Just(1.0), 0.05_f64..1.0, 1.0_f64..4.0];
    let shape = prop_oneof![
        Just(None),
        Just(Some("ramp:0.5..3")),
        Just(Some("step:1,0.2,4")),
        Just(Some("spike:9@30%+20%"))
    ];
    let loop_for = prop::option::weighted(0.3, 1_u64..20_000_000);
    (
        any::<(bool, bool, u64)>(),
        speed,
        rate,
        shape,
        loop_for,
        0_u64..3_000_000,
    )
        .prop_map(
            |(
                (by_session, speed_think, seed),
                speed,
                rate_scale,
                shape,
                loop_for_us,
                copy_shift_us,
            )| PlanOptions {
                by_session,
                speed,
                speed_think,
                rate_scale,
                copy_shift_us,
                shape: shape.map(|shape| shape.parse().unwrap()),
                loop_for_us,
                seed,
                ..PlanOptions::default()
            },
        )
}

/// A plan, unless the loop has nothing to go round.
fn planned(trace: &[Exchange], options: PlanOptions) -> Vec<PlannedRequest> {
    let source = Recital::new(trace.to_vec());
    let layout = Plan::survey(options, source.clone()).unwrap();
    layout
        .requests(source)
        .map_while(Result::ok)
        .take(5_000)
        .collect()
}

#[test]
fn copies_that_are_moved_by_more_than_the_trace_are_in_order() {
    let mut trace = lone([115_452, 154_631]);
    trace.extend([turn(6, 360_919, 46_790), turn(6, 2_558_377, 0)]);
    let options = PlanOptions {
        by_session: true,
        speed: 0.253_994_981_517_212_6,
        rate_scale: 3.987_265_703_680_266_3,
        copy_shift_us: 2_003_598,
        loop_for_us: Some(875_615),
        shape: Some("ramp:0.5..3".parse().unwrap()),
        seed: 7_478_598_830_629_645_947,
        ..PlanOptions::default()
    };
    for seed in (0..200).chain([options.seed]) {
        let instants = instants(&planned(&trace, PlanOptions { seed, ..options }));
        assert!(instants.is_sorted(), "{seed}: {instants:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_plan_is_in_order_numbered_and_the_same_again(trace in traces(), options in any_options()) {
        let first = planned(&trace, options);
        prop_assert!(first.windows(2).all(|w| w[0].intended_us <= w[1].intended_us));
        prop_assert!(first.iter().zip(0..).all(|(request, n)| request.index == n));
        let mut next: BTreeMap<u64, u32> = BTreeMap::new();
        for request in &first {
            if let Some(session) = request.turn.session {
                let number = next.entry(session).or_default();
                // Of an ended loop, or where each request stands for itself, a conversation may lack turns.
                prop_assert!(request.turn.number >= *number);
                *number = request.turn.number + 1;
            }
        }
        prop_assert_eq!(planned(&trace, options), first);
    }

    #[test]
    fn whole_factors_plan_each_request_so_many_times(trace in traces(), options in any_options(), copies in 1_u32..4) {
        let options = PlanOptions { rate_scale: f64::from(copies), loop_for_us: None, ..options };
        let mut times: BTreeMap<_, u32> = BTreeMap::new();
        for request in &planned(&trace, options) {
            *times.entry(twin(request)).or_default() += 1;
        }
        let mut expected: BTreeMap<_, u32> = BTreeMap::new();
        for exchange in &trace {
            let session = exchange.session.map(|session| session.0);
            *expected.entry((session, exchange.at.us())).or_default() += copies;
        }
        prop_assert_eq!(times, expected);
    }

    #[test]
    fn the_shards_of_a_plan_are_the_plan(trace in traces(), options in any_options(), count in 1_u32..6) {
        let whole = planned(&trace, options);
        prop_assume!(whole.len() < 4_000);
        let mut union: Vec<PlannedRequest> = Vec::new();
        let mut homes: BTreeMap<u64, u32> = BTreeMap::new();
        for index in 0..count {
            let shard = Shard::new(index, count);
            let part = planned(&trace, PlanOptions { shard, ..options });
            for session in part.iter().filter_map(|request| request.turn.session) {
                prop_assert_eq!(*homes.entry(session).or_insert(index), index);
            }
            union.extend(part);
        }
        union.sort_by_key(|request| request.index);
        prop_assert_eq!(union, whole);
    }

    #[test]
    fn a_smaller_share_is_part_of_a_larger_one(trace in traces(), options in any_options(), a in 0.0_f64..3.0, b in 0.0_f64..3.0) {
        let kept = |rate_scale| {
            let options = PlanOptions { rate_scale, loop_for_us: None, ..options };
            let planned = planned(&trace, options);
            let mut times: BTreeMap<_, usize> = BTreeMap::new();
            planned.iter().for_each(|request| *times.entry(twin(request)).or_default() += 1);
            times
        };
        let (less, more) = (kept(a.min(b)), kept(a.max(b)));
        for (twin, times) in less {
            prop_assert!(times <= more.get(&twin).copied().unwrap_or(0));
        }
    }

    #[test]
    fn a_limit_cuts_a_plan_and_changes_nothing_else(trace in traces(), options in any_options(), limit in 0_u64..40) {
        let whole = planned(&trace, options);
        let cut = planned(&trace, PlanOptions { limit: Some(limit), ..options });
        let plain = |request: &PlannedRequest| (request.intended_us, request.turn, twin(request));
        let of_whole: Vec<_> = whole.iter().map(plain).collect();
        let of_cut: Vec<_> = cut.iter().map(plain).collect();
        let first = usize::try_from(limit).unwrap().min(of_whole.len());
        prop_assert_eq!(&of_cut[..first], &of_whole[..first]);
        // By session, what else there is are the later turns of conversations among the first.
        let begun: BTreeSet<_> = of_whole[..first].iter().map(|(_, turn, _)| turn.session).collect();
        for (_, turn, _) in &of_cut[first..] {
            prop_assert!(options.by_session && turn.session.is_some() && begun.contains(&turn.session));
        }
    }
}

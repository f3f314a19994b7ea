//! Whole plans: the stages together.

mod properties;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::replay::Source;
use crate::replay::testing::exchange;
use crate::shape::{BlockId, MessageShape, Role, SessionId, TokenCount, TokenSource};
use crate::trace::TraceError;

/// Exchanges that can be read again.
#[derive(Clone)]
struct Recital {
    exchanges: Vec<Exchange>,
    next: usize,
}

impl Recital {
    fn new(exchanges: Vec<Exchange>) -> Self {
        Self { exchanges, next: 0 }
    }
}

impl Source for Recital {
    fn next_exchange(&mut self) -> Option<Result<Exchange, TraceError>> {
        let next = self.exchanges.get(self.next).cloned();
        self.next += 1;
        next.map(Ok)
    }

    fn again(&mut self) -> bool {
        self.next = 0;
        true
    }
}

fn plan(trace: &[Exchange], options: PlanOptions) -> Vec<PlannedRequest> {
    let source = Recital::new(trace.to_vec());
    let layout = Plan::survey(options, source.clone()).unwrap();
    layout.requests(source).map(Result::unwrap).collect()
}

fn lone(at_us: impl IntoIterator<Item = u64>) -> Vec<Exchange> {
    at_us.into_iter().map(exchange).collect()
}

fn turn(session: u32, at_us: u64, took_us: u64) -> Exchange {
    let mut exchange = exchange(at_us);
    exchange.session = Some(SessionId(session));
    exchange.response.end_us = Some(took_us);
    exchange
}

fn instants(planned: &[PlannedRequest]) -> Vec<u64> {
    planned.iter().map(|request| request.intended_us).collect()
}

/// What a request was recorded as.
fn twin(request: &PlannedRequest) -> (Option<u32>, u64) {
    let session = request.exchange.session.map(|session| session.0);
    (session, request.exchange.at.us())
}

#[test]
fn the_plan_starts_with_its_first_request_and_keeps_ties_and_order() {
    let planned = plan(&lone([500, 500, 800, 2000]), PlanOptions::default());
    assert_eq!(instants(&planned), [0, 0, 300, 1500]);
    assert!(
        planned
            .iter()
            .zip(0..)
            .all(|(request, n)| request.index == n)
    );
}

#[test]
fn speed_divides_gaps() {
    let at = |speed| {
        let options = PlanOptions {
            speed,
            ..PlanOptions::default()
        };
        instants(&plan(&lone([0, 1000, 3000]), options))
    };
    assert_eq!(at(20.0), [0, 50, 150]);
    assert_eq!(at(0.5), [0, 2000, 6000]);
}

#[test]
fn by_session_speed_divides_the_gaps_between_beginnings_and_leaves_think_times() {
    let trace = [
        turn(1, 0, 100),
        turn(2, 1000, 100),
        turn(1, 1100, 100),
        turn(3, 4000, 100),
    ];
    let options = PlanOptions {
        by_session: true,
        speed: 4.0,
        ..PlanOptions::default()
    };
    let told = |options| {
        let planned = plan(&trace, options);
        planned
            .iter()
            .map(|p| (p.turn.session, p.intended_us, p.turn.think_us))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told(options),
        [
            (Some(1), 0, None),
            (Some(2), 250, None),
            (Some(3), 1000, None),
            (Some(1), 1100, Some(1000))
        ]
    );
    let thinking = PlanOptions {
        speed_think: true,
        ..options
    };
    assert_eq!(
        told(thinking),
        [
            (Some(1), 0, None),
            (Some(2), 250, None),
            (Some(1), 350, Some(250)),
            (Some(3), 1000, None)
        ]
    );
    let slow = PlanOptions {
        speed: 0.5,
        ..options
    };
    let slow: Vec<u64> = told(slow).iter().map(|(_, at, _)| *at).collect();
    assert_eq!(slow, [0, 1100, 2000, 8000]);
}

#[test]
fn a_slice_is_from_inclusive_to_exclusive_and_limited() {
    let slice = PlanOptions {
        from_us: Some(100),
        to_us: Some(400),
        ..PlanOptions::default()
    };
    let trace = lone([0, 100, 150, 399, 400]);
    assert_eq!(instants(&plan(&trace, slice)), [0, 50, 299]);
    let limited = PlanOptions {
        limit: Some(2),
        ..slice
    };
    assert_eq!(instants(&plan(&trace, limited)), [0, 50]);
    let none = PlanOptions {
        limit: Some(0),
        ..slice
    };
    assert!(plan(&trace, none).is_empty());
}

#[test]
fn a_limit_by_session_lets_what_has_begun_run_to_its_end() {
    let trace = [
        turn(1, 0, 1),
        turn(2, 0, 1),
        turn(3, 0, 1),
        turn(3, 10, 1),
        turn(1, 20, 1),
        turn(4, 30, 1),
        turn(2, 40, 1),
    ];
    let options = PlanOptions {
        by_session: true,
        limit: Some(2),
        ..PlanOptions::default()
    };
    let twins: Vec<_> = plan(&trace, options).iter().map(twin).collect();
    assert_eq!(
        twins,
        [(Some(1), 0), (Some(2), 0), (Some(1), 20), (Some(2), 40)]
    );
}

#[test]
fn estimates_go_by_the_counts_that_are_known() {
    let prompt = |source, count| {
        let mut exchange = exchange(0);
        exchange.request.messages = vec![MessageShape {
            role: Role::User,
            bytes: 600,
            tokens: None,
        }];
        exchange.request.prompt_tokens = Some(TokenCount { count, source });
        exchange
    };
    let trace = [
        prompt(TokenSource::Usage, 100),
        prompt(TokenSource::Estimated, 150),
    ];
    let source = Recital::new(trace.to_vec());
    let layout = Plan::survey(PlanOptions::default(), source.clone()).unwrap();
    let survey = layout.requests(source.clone()).survey().unwrap();
    assert_eq!(survey.bytes_per_token(), Some(6.0));
    let options = PlanOptions {
        bytes_per_token: survey.bytes_per_token(),
        ..PlanOptions::default()
    };
    let counts: Vec<u32> = layout
        .at(options)
        .unwrap()
        .requests(source)
        .map(|planned| {
            planned
                .unwrap()
                .exchange
                .request
                .prompt_tokens
                .unwrap()
                .count
        })
        .collect();
    assert_eq!(counts, [100, 100]);
}

/// Ten conversations of three turns that share a system prompt (block 0), a second apart.
fn conversations() -> Vec<Exchange> {
    let mut trace: Vec<Exchange> = (0..10_u32)
        .flat_map(|session| {
            (0..3_u32).map(move |number| {
                let at_us = u64::from(session) * 1_000_000 + u64::from(number) * 2_500_000;
                let mut turn = turn(session, at_us, 300_000);
                let own = (0..=number).map(|n| 1 + session * 3 + n);
                turn.request.blocks = std::iter::once(0).chain(own).map(BlockId).collect();
                turn
            })
        })
        .collect();
    trace.sort_by_key(|exchange| exchange.at);
    trace
}

fn sessions(planned: &[PlannedRequest]) -> BTreeMap<u64, Vec<&PlannedRequest>> {
    let mut sessions: BTreeMap<u64, Vec<&PlannedRequest>> = BTreeMap::new();
    for request in planned {
        let session = request.turn.session.unwrap();
        sessions.entry(session).or_default().push(request);
    }
    sessions
}

/// How long after its first turn each turn of a conversation comes.
fn offsets(turns: &[&PlannedRequest]) -> Vec<u64> {
    let since = |turn: &&PlannedRequest| turn.intended_us - turns[0].intended_us;
    turns.iter().map(since).collect()
}

#[test]
fn copies_share_what_several_sessions_shared_and_nothing_else() {
    let options = PlanOptions {
        by_session: true,
        rate_scale: 3.0,
        ..PlanOptions::default()
    };
    let planned = plan(&conversations(), options);
    assert_eq!(planned.len(), 90);
    let mut users: BTreeMap<BlockId, BTreeSet<u64>> = BTreeMap::new();
    for request in &planned {
        for &block in &request.exchange.request.blocks {
            users
                .entry(block)
                .or_default()
                .insert(request.turn.session.unwrap());
        }
    }
    let shared: Vec<usize> = users
        .values()
        .map(BTreeSet::len)
        .filter(|&n| n > 1)
        .collect();
    assert_eq!(shared, [30], "the system prompt, of 30 sessions");
    assert_eq!(users.len(), 1 + 3 * 30);
}

#[test]
fn a_copied_session_keeps_its_own_pace_and_is_moved_no_further_than_asked() {
    let options = PlanOptions {
        by_session: true,
        rate_scale: 2.0,
        copy_shift_us: 3_000_000,
        ..PlanOptions::default()
    };
    let planned = plan(&conversations(), options);
    let sessions = sessions(&planned);
    assert_eq!(sessions.len(), 20);
    let mut moved = 0;
    for turns in sessions.values() {
        assert_eq!(offsets(turns), [0, 2_500_000, 5_000_000]);
        let (_, recorded_us) = twin(turns[0]);
        let shift_us = recorded_us.abs_diff(turns[0].intended_us);
        assert!(shift_us <= 3_000_000 && turns[0].intended_us <= 9_000_000);
        moved += u64::from(shift_us > 0);
    }
    assert_eq!(moved, 10, "the copies, and not the originals");
}

#[test]
fn a_request_began_its_connection_whatever_becomes_of_its_plan() {
    let mut trace = conversations();
    for (exchange, number) in trace.iter_mut().zip(0..) {
        exchange.new_connection = [Some(true), Some(false), None][number % 3];
    }
    let recorded: BTreeMap<_, _> = trace
        .iter()
        .map(|it| {
            let session = it.session.map(|session| session.0);
            ((session, it.at.us()), it.new_connection)
        })
        .collect();
    let options = PlanOptions {
        by_session: true,
        ..PlanOptions::default()
    };
    let shape = "ramp:1..4".parse().ok();
    let shard = "1/3".parse().ok();
    for options in [
        PlanOptions {
            speed: 2.0,
            ..options
        },
        PlanOptions {
            rate_scale: 2.5,
            ..options
        },
        PlanOptions {
            loop_for_us: Some(25_000_000),
            ..options
        },
        PlanOptions { shape, ..options },
        PlanOptions { shard, ..options },
    ] {
        let planned = plan(&trace, options);
        assert!(planned.len() > 5);
        for request in &planned {
            let (session, at_us) = twin(request);
            let told = recorded[&(session.map(|id| id % 10), at_us)];
            assert_eq!(request.exchange.new_connection, told, "{options:?}");
        }
    }
}

#[test]
fn each_pass_of_a_loop_is_fresh_and_nothing_begins_after_its_time() {
    let options = PlanOptions {
        by_session: true,
        loop_for_us: Some(25_000_000),
        ..PlanOptions::default()
    };
    let planned = plan(&conversations(), options);
    // A pass begins every ten seconds: nine between the first beginning and the last, and one more.
    let begins: Vec<u64> = planned
        .iter()
        .filter(|request| request.turn.number == 0)
        .map(|request| request.intended_us)
        .collect();
    assert_eq!(begins, (0..25).map(|n| n * 1_000_000).collect::<Vec<_>>());
    assert_eq!(planned.len(), 75);
    let sessions: BTreeSet<_> = planned.iter().map(|p| p.turn.session).collect();
    assert_eq!(sessions.len(), 25);
    let blocks = |planned: &[PlannedRequest]| {
        let all = planned
            .iter()
            .flat_map(|p| p.exchange.request.blocks.clone());
        all.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(blocks(&planned), 1 + 75);
    let warm = PlanOptions {
        fresh_passes: false,
        ..options
    };
    assert_eq!(blocks(&plan(&conversations(), warm)), 1 + 30);
}

#[test]
fn a_loop_can_be_shorter_than_the_trace_and_of_lone_requests() {
    let loop_for = |us| PlanOptions {
        loop_for_us: Some(us),
        ..PlanOptions::default()
    };
    let trace = lone([100, 200, 300]);
    assert_eq!(instants(&plan(&trace, loop_for(150))), [0, 100]);
    assert_eq!(
        instants(&plan(&trace, loop_for(601))),
        [0, 100, 200, 300, 400, 500, 600]
    );
    // For ever, if it did not end with the limit.
    let limited = PlanOptions {
        by_session: true,
        limit: Some(4),
        ..loop_for(u64::MAX >> 8)
    };
    assert_eq!(instants(&plan(&trace, limited)), [0, 100, 200, 300]);
    let source = Recital::new(lone([5, 5]));
    let layout = Plan::survey(loop_for(100), source.clone()).unwrap();
    let error = layout.requests(source).find_map(Result::err).unwrap();
    assert!(matches!(error, PlanError::NoSpan), "{error}");
}

#[test]
fn a_shape_bends_the_rate_and_leaves_the_conversations() {
    let trace = lone((0..7_000).map(|n| n * 1000));
    let options = PlanOptions {
        shape: Some("step:1,2,4".parse().unwrap()),
        ..PlanOptions::default()
    };
    let planned = plan(&trace, options);
    assert_eq!(planned.len(), 7_000);
    // Three seconds of 1,000, 2,000 and 4,000 a second.
    for (second, expected) in [(0, 1000), (1, 2000), (2, 4000)] {
        let inside = planned
            .iter()
            .filter(|request| request.intended_us / 1_000_000 == second)
            .count();
        assert!(inside.abs_diff(expected) <= 2, "{second}: {inside}");
    }
    let by_session = PlanOptions {
        by_session: true,
        ..options
    };
    for (session, turns) in sessions(&plan(&conversations(), by_session)) {
        assert_eq!(offsets(&turns), [0, 2_500_000, 5_000_000], "{session}");
    }
}

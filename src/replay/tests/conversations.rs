use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::server::{Seen, Server, Step, answer, chunk, end, refusing, stream_head, token};
use super::*;
use crate::shape::{MessageShape, Outcome, Role, SessionId};

/// A turn of conversation `session` that arrived at `at_ms` and was answered within `took_ms`.
fn turn(session: u32, at_ms: u64, took_ms: u64) -> Exchange {
    let mut turn = exchange(at_ms * 1000);
    turn.session = Some(SessionId(session));
    turn.response.end_us = Some(took_ms * 1000);
    turn
}

fn mode(sessions: SessionMode) -> RunOptions {
    RunOptions {
        sessions,
        workers: std::num::NonZeroUsize::new(2),
        ..options()
    }
}

fn good_after(wait: Duration) -> Vec<Step> {
    vec![
        Step::Wait(wait),
        stream_head(),
        Step::Say(token() + &end(100, 1, 0)),
    ]
}

/// How long after the end of the turn before each one was due, in milliseconds.
fn pauses_ms(outcomes: &[RequestOutcome]) -> Vec<u64> {
    outcomes
        .windows(2)
        .map(|pair| (pair[1].intended_us - pair[0].end_us) / 1000)
        .collect()
}

#[test]
fn a_linked_turn_comes_its_think_time_after_the_answer_before() {
    // Answered within 100 ms each, and thought about for 50, 0 and 30 ms.
    let trace = vec![
        turn(1, 0, 100),
        turn(1, 150, 100),
        turn(1, 250, 100),
        turn(1, 380, 100),
    ];
    let server = Server::start(|_| good_after(Duration::from_millis(10)));
    let (outcomes, summary) = replay(&server.url(), trace, &mode(SessionMode::Linked));
    assert_eq!(pauses_ms(&outcomes), [50, 0, 30]);
    for outcome in &outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
        assert!(outcome.sent_us.unwrap() >= outcome.intended_us);
    }
    assert!(
        outcomes[3].intended_us < 350_000,
        "a faster answer, an earlier turn"
    );
    assert_eq!(outcomes[3].planned_us, 380_000);
    let turns = summary.turns;
    assert_eq!((turns.turns, turns.slipped, turns.read_late), (3, 0, 0));
    assert!(turns.gain_us > 3 * 60_000);
}

#[test]
fn a_slow_answer_delays_its_own_conversation_and_no_other() {
    // Both pairs as recorded; the target is slow to the first conversation's first turn, which was sent first.
    let trace = vec![
        turn(1, 0, 20),
        turn(2, 5, 20),
        turn(2, 45, 20),
        turn(1, 60, 20),
    ];
    let server = Server::start(move |seen| {
        let slow = seen.body.contains("\"max_tokens\":77");
        good_after(Duration::from_millis(if slow { 400 } else { 5 }))
    });
    let mut trace = trace;
    trace[0].response.output_tokens.as_mut().unwrap().count = 77;
    let (outcomes, summary) = replay(&server.url(), trace, &mode(SessionMode::Linked));
    assert!(outcomes[2].intended_us < 45_000, "{:?}", outcomes[2]);
    assert!(outcomes[3].intended_us >= 440_000, "{:?}", outcomes[3]);
    assert_eq!((outcomes[3].session, outcomes[3].turn), (Some(1), 1));
    assert_eq!((summary.turns.turns, summary.turns.slipped), (2, 1));
    assert!(summary.turns.slip_max_us >= 380_000);
}

#[test]
fn catching_up_sends_at_the_planned_instant_or_at_the_end_before() {
    let trace = || vec![turn(1, 0, 10), turn(1, 100, 10), turn(1, 110, 10)];
    let server = Server::start(|_| good_after(Duration::from_millis(50)));
    let (outcomes, _) = replay(&server.url(), trace(), &mode(SessionMode::CatchUp));
    assert_eq!(outcomes[1].intended_us, 100_000);
    assert_eq!(outcomes[2].intended_us, outcomes[1].end_us);
}

#[test]
fn independent_turns_come_whatever_became_of_the_ones_before() {
    let trace = vec![turn(1, 0, 10), turn(1, 20, 10), turn(1, 40, 10)];
    let server = Server::start(|_| good_after(Duration::from_millis(150)));
    let (outcomes, summary) = replay(&server.url(), trace, &mode(SessionMode::Independent));
    let due: Vec<u64> = outcomes.iter().map(|it| it.intended_us).collect();
    assert_eq!(due, [0, 20_000, 40_000]);
    assert_eq!(summary.turns, TurnAccount::default());
}

#[test]
fn turns_that_overlapped_keep_their_distance() {
    // The second came while the first was open; the third after the second's answer.
    let trace = vec![turn(1, 0, 500), turn(1, 30, 10), turn(1, 60, 10)];
    let server = Server::start(|_| good_after(Duration::from_millis(80)));
    let (outcomes, _) = replay(&server.url(), trace, &mode(SessionMode::Linked));
    assert_eq!(outcomes[1].intended_us, 30_000);
    assert_eq!(outcomes[2].intended_us, outcomes[1].end_us + 20_000);
}

#[test]
fn a_conversation_goes_on_after_a_failure_but_no_faster_than_recorded() {
    let (_held, url) = refusing();
    let trace = vec![turn(1, 0, 100), turn(1, 110, 20), turn(1, 150, 20)];
    let (outcomes, summary) = replay(&url, trace, &mode(SessionMode::Linked));
    let due: Vec<u64> = outcomes.iter().map(|it| it.intended_us).collect();
    assert_eq!(due, [0, 110_000, 150_000]);
    assert!(matches!(summary.ended, Ended::Whole));
}

#[test]
fn a_conversation_goes_on_after_a_recorded_cancel() {
    let mut cancelled = turn(1, 0, 0);
    cancelled.response.end_us = None;
    cancelled.outcome = Outcome::ClientCancelled { at_us: 40_000 };
    let server = Server::start(|seen| match seen.body.contains("\"max_tokens\":10,") {
        true => good_after(Duration::ZERO),
        false => vec![Step::Hang],
    });
    let trace = vec![cancelled, turn(1, 60, 10)];
    let (outcomes, _) = replay(&server.url(), trace, &mode(SessionMode::Linked));
    assert_eq!(outcomes[0].result, SendResult::Cancelled);
    assert_eq!(pauses_ms(&outcomes), [20]);
}

#[test]
fn a_turn_that_the_guard_drops_does_not_hold_its_conversation() {
    let server = Server::start(|_| good_after(Duration::from_millis(5)));
    let guarded = RunOptions {
        max_in_flight: 0,
        ..mode(SessionMode::Linked)
    };
    let trace = vec![turn(1, 0, 10), turn(1, 20, 10), turn(1, 40, 10)];
    let (outcomes, summary) = replay(&server.url(), trace, &guarded);
    assert_eq!((outcomes.len(), summary.evidence.dropped), (3, 3));
}

#[test]
fn a_stop_ends_a_run_whose_turns_wait() {
    let stop = Stop::default();
    let asked = stop.clone();
    let server = Server::start(move |_| {
        asked.request();
        vec![Step::Hang]
    });
    let trace = vec![turn(1, 0, 10), turn(1, 20, 10)];
    let (outcomes, summary) = replay_until(&server.url(), trace, &mode(SessionMode::Linked), &stop);
    assert!(outcomes.is_empty());
    assert!(matches!(summary.ended, Ended::Stopped));
    assert_eq!(summary.abandoned, 1);
}

#[test]
fn many_conversations_are_each_sent_in_order_and_to_the_end() {
    let mut trace = Vec::new();
    for step in 0..12_u64 {
        for session in 0..40 {
            trace.push(turn(session, step * 25 + u64::from(session) / 4, 20));
        }
    }
    let server = Server::start(|_| good_after(Duration::from_millis(1)));
    let (outcomes, summary) = replay(&server.url(), trace, &mode(SessionMode::Linked));
    assert_eq!(outcomes.len(), 480);
    assert_eq!((summary.turns.turns, summary.turns.read_late), (440, 0));
    let mut ends: HashMap<u64, (u32, u64)> = HashMap::new();
    for outcome in &outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
        let before = ends.insert(outcome.session.unwrap(), (outcome.turn, outcome.end_us));
        if let Some((turn, end_us)) = before {
            assert_eq!(outcome.turn, turn + 1);
            assert!(outcome.sent_us.unwrap() >= end_us + 4000, "{outcome:?}");
        }
    }
}

#[test]
fn the_bytes_are_the_same_in_every_mode() {
    let trace = || {
        vec![
            turn(1, 0, 10),
            turn(2, 5, 10),
            turn(1, 20, 10),
            turn(2, 21, 10),
            turn(1, 40, 10),
        ]
    };
    let mut bodies = Vec::new();
    for sessions in [
        SessionMode::Linked,
        SessionMode::CatchUp,
        SessionMode::Independent,
    ] {
        let server = Server::start(|_| good_after(Duration::from_millis(2)));
        replay(&server.url(), trace(), &mode(sessions));
        let mut seen: Vec<String> = server
            .seen()
            .into_iter()
            .map(|Seen { body, .. }| body)
            .collect();
        seen.sort();
        bodies.push(seen);
    }
    assert_eq!(bodies[0].len(), 5);
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
}

/// A conversation of three turns that grows by an answer of 30 bytes and a question each time.
fn growing() -> Vec<Exchange> {
    let message = |role, bytes| MessageShape {
        role,
        bytes,
        tokens: None,
    };
    let mut messages = vec![message(Role::System, 200), message(Role::User, 100)];
    let mut trace = Vec::new();
    for step in 0..3 {
        let mut turn = turn(1, step * 30, 10);
        turn.request.messages.clone_from(&messages);
        trace.push(turn);
        messages.extend([message(Role::Assistant, 30), message(Role::User, 40)]);
    }
    trace
}

fn contents(body: &str) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    let text = |message: &serde_json::Value| message["content"].as_str().unwrap().to_owned();
    messages.iter().map(text).collect()
}

#[test]
fn live_history_repeats_what_the_target_itself_has_said() {
    let live = RunOptions {
        live_history: true,
        ..mode(SessionMode::Linked)
    };
    let bodies = |options: &RunOptions| -> Vec<Vec<String>> {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |_| {
            let say = |text: &str| {
                let delta =
                    serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}}]});
                chunk(&format!("data: {delta}\n\n"))
            };
            let n = count.fetch_add(1, Ordering::Relaxed);
            let said = say("I \"said\" ") + &say(&format!("{n}\n"));
            vec![stream_head(), Step::Say(said + &end(100, 2, 0))]
        });
        let (_, summary) = replay(&server.url(), growing(), options);
        let noted = summary.alterations.get(&Alteration::LiveHistory).copied();
        assert_eq!(noted, options.live_history.then_some(2));
        assert!(!summary.alterations.contains_key(&Alteration::HistoryMadeUp));
        server
            .seen()
            .iter()
            .map(|seen| contents(&seen.body))
            .collect()
    };
    let (live, made_up) = (bodies(&live), bodies(&mode(SessionMode::Linked)));
    assert_eq!(live[1][2], "I \"said\" 0\n");
    assert_eq!(live[2][2], "I \"said\" 0\n");
    assert_eq!(live[2][4], "I \"said\" 1\n");
    assert_eq!(made_up[2][2].len(), 30);
    for (turn, (live, made_up)) in live.iter().zip(&made_up).enumerate() {
        for (place, (live, made_up)) in live.iter().zip(made_up).enumerate() {
            let repeated = [2, 4].contains(&place);
            assert_eq!(live == made_up, !repeated, "turn {turn}, message {place}");
        }
    }
}

#[test]
fn an_answer_that_failed_is_made_up_in_the_history() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => vec![answer(500, "", "{}")],
        _ => good_after(Duration::ZERO),
    });
    let live = RunOptions {
        live_history: true,
        ..mode(SessionMode::Linked)
    };
    let (outcomes, summary) = replay(&server.url(), growing(), &live);
    assert_eq!(outcomes[1].result, SendResult::Ok);
    // In the second turn and again in the third.
    assert_eq!(summary.alterations[&Alteration::HistoryMadeUp], 2);
    let seen = server.seen();
    assert_eq!(contents(&seen[1].body)[2].len(), 30);
    assert_eq!(contents(&seen[2].body)[4], "word");
}

//! Connections as the recorded clients had them, against a server that counts them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::server::{Server, Step, end, stream_head, token};
use super::*;

/// A stream of a token that takes so long.
fn stream(takes: Duration) -> Vec<Step> {
    vec![
        stream_head(),
        Step::Wait(takes),
        Step::Say(token() + &end(100, 1, 0)),
    ]
}

/// Requests at these milliseconds, which began a connection or did not.
fn recorded(requests: &[(u64, bool)]) -> Vec<Exchange> {
    let requests = requests.iter();
    requests
        .map(|&(at_ms, begins)| Exchange {
            new_connection: Some(begins),
            ..exchange(at_ms * 1000)
        })
        .collect()
}

/// One after another, 30 ms apart.
fn in_turn(begins: &[bool]) -> Vec<Exchange> {
    let at_ms = (0..).map(|i| i * 30);
    let requests: Vec<_> = at_ms.zip(begins.iter().copied()).collect();
    recorded(&requests)
}

/// Connections that a server accepts in such a replay, and what the generator knows of them.
fn connects(takes: Duration, trace: Vec<Exchange>, options: &RunOptions) -> (usize, Evidence) {
    let server = Server::start(move |_| stream(takes));
    let (outcomes, summary) = replay(&server.url(), trace, options);
    for outcome in &outcomes {
        assert_eq!(outcome.result, SendResult::Ok);
    }
    (server.accepted(), summary.evidence)
}

fn alike(told: u64, done: u64) -> Alike {
    Alike { told, done }
}

const QUICK: Duration = Duration::ZERO;

#[test]
fn a_request_begins_a_connection_or_uses_one_again_as_it_did() {
    let begins = [true, false, false, true, true, false, false, true];
    let (accepted, evidence) = connects(QUICK, in_turn(&begins), &options());
    assert_eq!(accepted, 4, "{evidence:?}");
    assert_eq!(evidence.connections_opened, 4);
    assert_eq!(evidence.connections_reused, 4);
    assert_eq!(
        (evidence.began, evidence.used_again),
        (alike(4, 4), alike(4, 4))
    );
}

#[test]
fn shared_connections_are_as_few_as_it_takes_and_the_difference_is_told() {
    let shared = RunOptions {
        connections: Connections::Shared,
        ..options()
    };
    let (accepted, evidence) = connects(QUICK, in_turn(&[true; 6]), &shared);
    assert!(accepted < 6, "{evidence:?}");
    assert_eq!(evidence.began, alike(6, accepted as u64));
    assert_eq!(evidence.used_again, alike(0, 0));
}

#[test]
fn without_keep_alive_every_request_begins_one() {
    let server = Server::start(|_| stream(QUICK));
    let mut target = target(&server.url());
    target.keep_alive = false;
    let trace = in_turn(&[true, false, false]);
    let (_, summary) = replay_at(&target, trace, &options());
    assert!(server.accepted() >= 3);
    let evidence = summary.evidence;
    assert_eq!(
        (evidence.began, evidence.used_again),
        (alike(1, 1), alike(2, 0))
    );
}

#[test]
fn clients_that_overlap_keep_a_connection_each() {
    let trace = recorded(&[
        (0, true),
        (10, true),
        (20, true),
        (300, false),
        (310, false),
        (320, false),
    ]);
    let (accepted, evidence) = connects(Duration::from_millis(100), trace, &options());
    assert_eq!(accepted, 3, "{evidence:?}");
    assert_eq!(evidence.used_again, alike(3, 3));
}

#[test]
fn what_finds_no_idle_connection_opens_one_and_is_told() {
    let trace = recorded(&[(0, false), (10, true), (20, false)]);
    let (accepted, evidence) = connects(Duration::from_millis(200), trace, &options());
    assert_eq!(accepted, 3, "{evidence:?}");
    assert_eq!(
        (evidence.began, evidence.used_again),
        (alike(1, 1), alike(2, 0))
    );
}

#[test]
fn connections_that_nobody_comes_back_to_are_closed() {
    let none = RunOptions {
        idle_connections: Some(0),
        ..options()
    };
    let (accepted, evidence) = connects(QUICK, in_turn(&[true; 8]), &none);
    assert_eq!(accepted, 8, "{evidence:?}");
    // The next may be opened before the last is closed.
    assert!(evidence.connections_peak <= 2, "{evidence:?}");
    // One client comes back, the others do not.
    let one = RunOptions {
        idle_connections: Some(1),
        ..options()
    };
    let trace = in_turn(&[true, true, false, true, false, true, false, true, false]);
    let (accepted, evidence) = connects(QUICK, trace, &one);
    assert_eq!(accepted, 5, "{evidence:?}");
    assert_eq!(evidence.used_again, alike(4, 4));
    assert!(evidence.connections_peak <= 3, "{evidence:?}");
}

#[test]
fn slow_clients_have_theirs_as_recorded_too() {
    let slow = RunOptions {
        readers: Readers::Drawn(ReadRate {
            bytes_per_s: 1 << 20,
            share: 1.0,
        }),
        ..options()
    };
    let begins = [true, false, true, true, false];
    let (accepted, evidence) = connects(QUICK, in_turn(&begins), &slow);
    assert_eq!(accepted, 3, "{evidence:?}");
    assert_eq!(evidence.read_slowly, 5);
    assert_eq!(evidence.used_again, alike(2, 2));
}

#[test]
fn a_request_that_crosses_a_close_is_the_last_to_trust_an_old_connection() {
    let come = AtomicUsize::new(0);
    let server = Server::start(move |_| match come.fetch_add(1, Ordering::Relaxed) {
        2 => vec![Step::Reset],
        _ => stream(Duration::from_millis(60)),
    });
    // Two connections; over four seconds later one of them is closed upon a request, and the other is as old.
    let trace = recorded(&[(0, true), (5, true), (4300, false), (4600, false)]);
    let (outcomes, summary) = replay(&server.url(), trace, &options());
    let results: Vec<SendResult> = outcomes.iter().map(|outcome| outcome.result).collect();
    let reset = SendResult::Failed(FailureKind::Reset);
    let ok = SendResult::Ok;
    assert_eq!(results, [ok, ok, reset, ok]);
    assert_eq!(server.accepted(), 3, "{:?}", summary.evidence);
}

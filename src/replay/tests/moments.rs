//! Moments of answers that lie with the system for a while before the engine comes to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::http2::{Answer, Peer};
use super::server::{Step, end, stream_head, token};
use super::*;
use crate::replay::client::{Connector, Lane, Pool, Sharing, exchange};
use crate::replay::pace::RunClock;
use crate::replay::testing::prepared;

/// When a server answers.
const ANSWERS: Duration = Duration::from_millis(50);
/// How long the thread that reads is busy.
const BUSY: Duration = Duration::from_millis(200);

/// What became of a request at that target whose answer came while its thread was busy, and when that was free again.
fn while_busy(target: &Target) -> (RequestOutcome, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let connector = Connector::new(target, Duration::from_secs(5)).unwrap();
        let clock = RunClock::starting_at(Instant::now());
        let lane = Lane {
            pool: Arc::new(Pool::new(connector, Sharing::Free)),
            slow: None,
            clock,
            idle: Duration::from_secs(10),
        };
        let asked = exchange(&lane, Box::new(prepared()));
        tokio::pin!(asked);
        // It goes out.
        let _ = tokio::time::timeout(ANSWERS / 5, &mut asked).await;
        std::thread::sleep(BUSY);
        let free_us = clock.now_us();
        (asked.await, free_us)
    })
}

/// On a busy machine the answer itself may be late, and it is tried again.
fn has_the_moment_of_its_packet(target: &Target) {
    for _ in 0..20 {
        let (outcome, free_us) = while_busy(target);
        assert_eq!(outcome.result, SendResult::Ok, "{outcome:?}");
        let told = (outcome.sent_us, outcome.headers_us, outcome.first_token_us);
        let (Some(sent), Some(head), Some(first)) = told else {
            panic!("{outcome:?}");
        };
        assert!(sent <= head && head <= first, "{outcome:?}");
        if first + 50_000 < free_us && head >= sent + 40_000 {
            return;
        }
    }
    panic!("what lay there has the moment at which it was read");
}

#[test]
fn an_answer_has_the_moment_of_its_packet_in_http1() {
    let server = Server::start(|_| {
        let tokens = Step::Say(token() + &end(100, 1, 0));
        vec![Step::Wait(ANSWERS), stream_head(), tokens]
    });
    has_the_moment_of_its_packet(&target(&server.url()));
}

#[test]
fn an_answer_has_the_moment_of_its_packet_in_http2() {
    let peer = Peer::start(10, Answer::Stream(ANSWERS));
    has_the_moment_of_its_packet(&peer.target());
}

//! The engine over real sockets, against a server that follows a script.

mod behind;
mod calibration;
mod connections;
mod conversations;
mod exchanges;
mod goaway;
mod http2;
mod memory;
mod moments;
mod server;
mod slow_readers;
mod tls;

use server::Server;

use super::testing::{exchange, target};
use super::*;
use crate::shape::Exchange;

fn options() -> RunOptions {
    RunOptions {
        workers: std::num::NonZeroUsize::new(1),
        ..RunOptions::default()
    }
}

fn at_most(connections: usize) -> Connections {
    Connections::AtMost(connections.try_into().unwrap())
}

/// Replays `exchanges` at `url`; outcomes come back in plan order.
fn replay(
    url: &str,
    exchanges: Vec<Exchange>,
    options: &RunOptions,
) -> (Vec<RequestOutcome>, RunSummary) {
    replay_until(url, exchanges, options, &Stop::default())
}

/// The same at a target of one's own.
fn replay_at(
    target: &Target,
    exchanges: Vec<Exchange>,
    options: &RunOptions,
) -> (Vec<RequestOutcome>, RunSummary) {
    replay_at_until(target, exchanges, options, &Stop::default())
}

fn replay_until(
    url: &str,
    exchanges: Vec<Exchange>,
    options: &RunOptions,
    stop: &Stop,
) -> (Vec<RequestOutcome>, RunSummary) {
    replay_at_until(&target(url), exchanges, options, stop)
}

fn replay_at_until(
    target: &Target,
    exchanges: Vec<Exchange>,
    options: &RunOptions,
    stop: &Stop,
) -> (Vec<RequestOutcome>, RunSummary) {
    let plan = Planner::new(exchanges.into_iter().map(Ok), PlanOptions::default());
    let calibration = Calibration::assumed("m");
    let mut outcomes = Vec::new();
    let summary = run(
        target,
        &calibration,
        plan,
        options,
        &Progress::default(),
        stop,
        |outcome| outcomes.push(outcome),
    )
    .unwrap();
    outcomes.sort_by_key(|outcome| outcome.index);
    (outcomes, summary)
}

/// Replays one exchange against a script; gives what became of it.
fn one(server: &Server, exchange: Exchange, options: &RunOptions) -> RequestOutcome {
    let (mut outcomes, _) = replay(&server.url(), vec![exchange], options);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

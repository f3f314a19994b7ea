//! What a long trace costs in memory: the preparer alone, with workers that send at once and answer at once.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::replay::agenda::Order;
use crate::replay::client::Envelope;
use crate::replay::preparer::{Event, PlanEnd, Preparer};
use crate::replay::room::Room;
use crate::replay::synthesise::{LengthPolicy, Synthesiser};
use crate::shape::{BlockId, SessionId};

/// Resident memory in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

/// What stands around a preparer.
struct Around<'a> {
    report: crossbeam_channel::Sender<Event>,
    orders: mpsc::UnboundedReceiver<Vec<Order>>,
    room: Room,
    primed: crossbeam_channel::Receiver<()>,
    stop: &'a Stop,
}

/// Prepares `exchanges` for one worker, which is what `work` does; gives what came of that, and how the plan ended.
fn preparing<T>(
    exchanges: impl Iterator<Item = Exchange> + Send,
    work: impl FnOnce(Around<'_>) -> T,
) -> (T, PlanEnd) {
    let calibration = Calibration::assumed("m");
    let salt = Salt::new(1, Cache::Fresh, 0);
    let envelope = Envelope::new(&target("http://127.0.0.1:1"));
    let mut synthesiser = Synthesiser::new(
        salt,
        None,
        &calibration,
        envelope,
        LengthPolicy::Exact,
        PromptOptions::default(),
    );
    let mut plan = Planner::new(exchanges.map(Ok), PlanOptions::default());
    let (report, events) = crossbeam_channel::unbounded();
    let (handed, orders) = mpsc::unbounded_channel();
    let room = Room::new(1);
    let (progress, stop) = (Progress::default(), Stop::default());
    let preparer = Preparer::new(
        &mut plan,
        &mut synthesiser,
        &options(),
        vec![handed],
        room.clone(),
        events,
        (&progress, &stop),
    );
    let (prime, primed) = crossbeam_channel::bounded(1);
    std::thread::scope(|scope| {
        let preparing = scope.spawn(move || preparer.run(prime));
        let came = work(Around {
            report,
            orders,
            room,
            primed,
            stop: &stop,
        });
        (came, preparing.join().unwrap().0)
    })
}

/// Prepares `exchanges`; gives the resident memory after a tenth of them and the most after that.
fn prepared(exchanges: impl Iterator<Item = Exchange> + Send, count: u64) -> (u64, u64) {
    let (resident, end) = preparing(exchanges, |mut around| {
        let (mut seen, mut early, mut most) = (0_u64, 0, 0);
        while let Some(batch) = around.orders.blocking_recv() {
            for order in batch {
                let Order::Send(handed) = order else { continue };
                if around.room.give_back(0, handed.account, handed.bytes) {
                    around.report.send(Event::Room).unwrap();
                }
                seen += 1;
                if seen == count / 10 {
                    early = resident_mib();
                }
                if seen > count / 10 && seen.is_multiple_of(4096) {
                    most = most.max(resident_mib());
                }
            }
        }
        assert_eq!(seen, count);
        (early, most)
    });
    assert!(matches!(end, PlanEnd::Whole));
    resident
}

#[test]
fn where_only_later_turns_follow_no_more_of_them_is_read_than_memory_holds() {
    const TURNS: u64 = 20_000;
    let read = AtomicU64::new(0);
    // A turn a second, of some 16 KB each: 64 MiB hold four thousand.
    let conversation = (0..TURNS).map(|n| {
        read.fetch_add(1, Ordering::Relaxed);
        let mut turn = exchange(n * 1_000_000);
        turn.session = Some(SessionId(1));
        turn.response.end_us = Some(100_000);
        turn.request.blocks = (0..4000).map(BlockId).collect();
        turn
    });
    let (read_ahead, end) = preparing(conversation, |around| {
        // Says nothing, but that all is made that can be.
        assert!(around.primed.recv().is_err());
        around.stop.request();
        read.load(Ordering::Relaxed)
    });
    assert!(matches!(end, PlanEnd::Stopped));
    assert!((1000..TURNS / 3).contains(&read_ahead), "{read_ahead}");
}

fn count() -> u64 {
    let asked = std::env::var("REENACT_LONG_TRACE").ok();
    asked.map_or(10_000_000, |count| count.parse().unwrap())
}

#[test]
#[ignore = "ten million exchanges: minutes in a release build; REENACT_LONG_TRACE=N for fewer"]
fn a_trace_of_any_length_is_prepared_in_constant_memory() {
    let exchanges = (0..count()).map(|n| exchange(n * 100));
    let (early, most) = prepared(exchanges, count());
    println!(
        "{} exchanges: {early} MiB after a tenth, {most} MiB at most",
        count()
    );
    assert!(most <= early + 32, "{early} MiB, then {most} MiB");
}

//! What a long trace costs in memory: the preparer alone, with workers that send at once and answer at once.

use tokio::sync::mpsc;

use super::*;
use crate::replay::agenda::Order;
use crate::replay::client::Envelope;
use crate::replay::preparer::{Event, PlanEnd, Preparer};
use crate::replay::room::Room;
use crate::replay::synthesise::{LengthPolicy, Synthesiser};

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

/// Prepares `exchanges`; gives the resident memory after a tenth of them and the most after that.
fn prepared(exchanges: impl Iterator<Item = Exchange> + Send, count: u64) -> (u64, u64) {
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
    let (orders, mut receiver) = mpsc::unbounded_channel();
    let room = Room::new(1);
    let (progress, stop) = (Progress::default(), Stop::default());
    let preparer = Preparer::new(
        &mut plan,
        &mut synthesiser,
        &options(),
        vec![orders],
        room.clone(),
        events,
        (&progress, &stop),
    );
    let (prime, _primed) = crossbeam_channel::bounded(1);
    std::thread::scope(|scope| {
        let preparing = scope.spawn(move || preparer.run(prime));
        let (mut seen, mut early, mut most) = (0_u64, 0, 0);
        while let Some(batch) = receiver.blocking_recv() {
            for order in batch {
                let Order::Send(handed) = order else { continue };
                if room.give_back(0, handed.account, handed.bytes) {
                    report.send(Event::Room).unwrap();
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
        let (end, _) = preparing.join().unwrap();
        assert!(matches!(end, PlanEnd::Whole));
        (early, most)
    })
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

//! Promise 2: nothing that recording does can fail or delay an exchange. Each test breaks the recording side of the built
//! binary in one way while traffic runs; every exchange must be right to the byte and in time, each loss counted under its
//! own reason, and recording must resume by itself.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss
)]

mod clock;
mod disk;
mod hindrance;
mod load;
mod memory;
mod mirror;
mod observer;
mod readers;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use load::Latencies;
use reenact::trace::{Totals, Trace};
use support::Server;
use support::wire::{metric, metric_reaches as reaches};

/// An exchange may take this long; what hinders recording lasts longer, so that one that waited for it is found out. The slowest
/// of 100,000 took 140 ms on two cores that had five processes' work to do.
const IN_TIME: Duration = Duration::from_secs(2);
/// How long a hindrance lasts at least.
const LONG: Duration = Duration::from_secs(5);

/// Waits until `count` is reached by the drops for `reason`.
fn dropped_reaches(admin: &str, reason: &str, count: u64) {
    reaches(
        admin,
        &format!("reenact_dropped_total{{reason=\"{reason}\"}}"),
        count,
    );
}

fn recorded(admin: &str) -> u64 {
    metric(admin, "reenact_recorded_total")
}

/// Waits until exchanges are recorded that were not yet when this was called.
fn recording_resumes(admin: &str) {
    reaches(admin, "reenact_recorded_total", recorded(admin) + 1);
}

/// Ends the recorder and holds its accounts against `made` exchanges; gives what the trace says.
fn settle(recorder: Server, dir: &Path, made: u64) -> Totals {
    settle_and_tell(recorder, dir, made).0
}

/// The same, with the log.
fn settle_and_tell(recorder: Server, dir: &Path, made: u64) -> (Totals, String) {
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    assert!(!log.contains("unaccounted"), "{log}");
    assert!(log.contains(&format!("seen={made} ")), "{made} made: {log}");
    let trace = Trace::open(&[dir.to_owned()]).unwrap();
    let totals = trace.totals();
    assert_eq!(
        totals.seen,
        totals.recorded + totals.sampled_out + totals.dropped.values().sum::<u64>()
    );
    assert_eq!(
        (totals.seen, totals.recorded),
        (made, trace.exchange_count())
    );
    assert!(!trace.damage().is_loss());
    for (reason, count) in &totals.dropped {
        assert!(
            log.contains(&format!("{reason}={count}")),
            "{reason}: {log}"
        );
    }
    (totals, log)
}

/// Checks that exchanges were lost for this reason, and for no other.
fn lost_for(totals: &Totals, reason: &str) {
    assert!(totals.dropped[reason] >= 10, "{totals:?}");
    assert_eq!(totals.dropped.len(), 1, "{totals:?}");
}

/// Checks that every exchange was in time.
fn in_time(took: &Latencies) {
    let slowest = took.slowest();
    eprintln!("slowest of {}: {slowest:?}", took.count());
    assert!(slowest < IN_TIME, "an exchange took {slowest:?}");
}

/// Checks that exchanges took as long as the same ones, at the same time, that no recorder carried: whatever else the
/// machine has to do, both have to bear it.
fn as_direct(through: &Latencies, direct: &Latencies) {
    let of = |took: &Latencies| (took.of_100(50), took.of_100(99), took.slowest());
    eprintln!(
        "p50, p99, slowest through the recorder {:?}, direct {:?}",
        of(through),
        of(direct)
    );
    // Two connections instead of one, by a debug build: some 3 times. A recorder that waited would make it seconds.
    for rank in [50, 99] {
        let (through, direct) = (through.of_100(rank), direct.of_100(rank));
        assert!(
            through < direct * 5 + Duration::from_millis(50),
            "of 100 exchanges {rank} took up to {through:?}, {direct:?} without the recorder"
        );
    }
}

/// Most memory of its own that a process has had, in MiB: without what it has of files now, which is its program, and far more of a build
/// for tests.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = |name: &str| {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)).unwrap();
        let number = line.trim().trim_end_matches(" kB");
        number.parse::<u64>().unwrap()
    };
    kib("VmHWM:").saturating_sub(kib("RssFile:")) >> 10
}

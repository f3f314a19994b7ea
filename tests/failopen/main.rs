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
mod observer;
mod readers;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use reenact::trace::{Totals, Trace};
use support::Server;
use support::wire::{get, metric};

/// An exchange may take this long in a test on a busy machine; what hinders recording lasts longer.
const IN_TIME: Duration = Duration::from_secs(4);
/// How long a hindrance lasts at least.
const LONG: Duration = Duration::from_secs(8);

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

fn reaches(admin: &str, name: &str, least: u64) {
    let deadline = Instant::now() + support::PATIENCE;
    while metric(admin, name) < least {
        assert!(
            Instant::now() < deadline,
            "{name} stays below {least}:\n{}",
            get(admin, "/metrics")
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends the recorder and holds its accounts against `made` exchanges; gives what the trace says.
fn settle(recorder: Server, dir: &Path, made: u64) -> Totals {
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
    totals
}

/// Checks that exchanges were lost for this reason. On a busy machine the writer may fall behind as well.
fn lost_for(totals: &Totals, reason: &str) {
    assert!(totals.dropped[reason] >= 10, "{totals:?}");
    nothing_else_than(totals, reason);
}

fn nothing_else_than(totals: &Totals, reason: &str) {
    let mut others = totals.dropped.keys().filter(|other| *other != reason);
    assert!(others.all(|other| other == "writer_behind"), "{totals:?}");
}

/// Checks that every exchange was in time.
fn in_time(slowest: Duration) {
    assert!(slowest < IN_TIME, "an exchange took {slowest:?}");
}

/// Most memory that a process has had, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .unwrap()
        >> 10
}

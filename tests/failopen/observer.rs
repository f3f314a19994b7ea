//! An observer that is slow, so that parcels queue up.

use std::time::Instant;

use super::hindrance::Hindrance;
use super::load::{Load, upstream};
use super::support::wire::metric;
use super::{LONG, dropped_reaches, in_time, peak_mib, recording_resumes, settle};

#[test]
fn an_observer_that_stands_still_delays_nobody() {
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = hindrance.recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::start(&recorder.url, 4, 200);
    recording_resumes(&admin);
    let began = Instant::now();
    hindrance.hold_observer();
    dropped_reaches(&admin, "queue_full", 10);
    while began.elapsed() < LONG {
        load.goes_on(100);
    }
    hindrance.release_observer();
    recording_resumes(&admin);
    let (made, took) = load.finish();
    in_time(&took);
    let totals = settle(recorder, dir.path(), made);
    assert!(totals.dropped["queue_full"] >= 10, "{totals:?}");
    // Once it moves again, what it hands over at once is more than the writer's queue is long.
    let mut reasons = totals.dropped.keys();
    assert!(
        reasons.all(|reason| ["queue_full", "writer_behind"].contains(&reason.as_str())),
        "{totals:?}"
    );
}

#[test]
fn under_a_small_bound_bodies_go_first_then_exchanges() {
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let bound = ["--capture-memory", "6MiB"];
    let mut recorder = hindrance.recorder(&upstream(), dir.path(), &bound);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::start(&recorder.url, 4, 60_000);
    recording_resumes(&admin);
    let before = peak_mib(recorder.pid());
    hindrance.hold_observer();
    dropped_reaches(&admin, "memory", 10);
    load.goes_on(500);
    assert!(metric(&admin, "reenact_queue_bytes") <= 6 << 20);
    hindrance.release_observer();
    recording_resumes(&admin);
    let peak = peak_mib(recorder.pid());
    assert!(
        peak < before + 16,
        "{before} MiB before, {peak} MiB at most"
    );
    let (made, took) = load.finish();
    in_time(&took);
    let mut shapes = std::collections::BTreeMap::new();
    let totals = settle(recorder, dir.path(), made);
    for exchange in super::support::exchanges(dir.path()) {
        let shape = exchange["shape"].as_str().unwrap().to_owned();
        *shapes.entry(shape).or_insert(0) += 1;
        assert_eq!(exchange["request"]["bytes"], 60_000, "sizes stay");
        assert!(
            exchange["response"]["end_us"].as_u64().unwrap() > 0,
            "and times"
        );
    }
    assert!(totals.dropped["memory"] >= 10, "{totals:?}");
    assert!(shapes["shed"] > 10 && shapes["known"] > 10, "{shapes:?}");
}

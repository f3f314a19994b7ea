//! A wall clock that jumps.

use super::hindrance::Hindrance;
use super::load::{Load, upstream};
use super::support::exchanges;
use super::{in_time, recording_resumes, settle};

#[test]
fn no_duration_knows_of_the_wall_clock() {
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = hindrance.recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::calm(&recorder.url, 2, 500);
    let began = std::time::Instant::now();
    for jump in ["90000", "-90000", "900000000", "0"] {
        hindrance.tell("clock", jump);
        recording_resumes(&admin);
        load.goes_on(50);
    }
    let (made, took) = load.finish();
    let lasted = u64::try_from(began.elapsed().as_micros()).unwrap();
    in_time(&took);
    let totals = settle(recorder, dir.path(), made);
    assert!(totals.dropped.is_empty(), "{totals:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let mut last = 0;
    for exchange in exchanges(dir.path()) {
        let at = exchange["at_us"].as_u64().unwrap();
        assert!(at >= last && at < lasted + 60_000_000, "{at} after {last}");
        last = at;
        assert!(exchange["response"]["end_us"].as_u64().unwrap() < 10_000_000);
    }
}

//! Disks that are full, that stall, that cannot be written, and that are gone.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::hindrance::{Hindrance, Mounts};
use super::load::{Load, upstream};
use super::support::wire::{Wire, metric};
use super::support::{Server, answered};
use super::{
    LONG, as_direct, dropped_reaches, in_time, lost_for, peak_mib, reaches, recording_resumes,
    settle, settle_and_tell,
};
use reenact::shape::{Endpoint, Outcome};
use reenact::trace::Trace;

#[test]
fn a_disk_that_refuses_costs_what_it_refused() {
    for (trouble, reason) in [("full", "disk_full"), ("broken", "write_error")] {
        let hindrance = Hindrance::build();
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = hindrance.recorder(&upstream(), dir.path(), &[]);
        let admin = recorder.wait_for_url("admin on ");
        let load = Load::calm(&recorder.url, 3, 2000);
        recording_resumes(&admin);
        hindrance.begin(trouble);
        dropped_reaches(&admin, reason, 10);
        recorder.wait_for("the trace cannot be written; traffic goes on");
        load.goes_on(100);
        hindrance.end(trouble);
        recording_resumes(&admin);
        let (made, took) = load.finish();
        in_time(&took);
        let (totals, log) = settle_and_tell(recorder, dir.path(), made);
        lost_for(&totals, reason);
        let told = log.matches("the trace cannot be written").count();
        assert_eq!(told, 1, "once, not for each block: {log}");
    }
}

#[test]
fn a_file_that_can_be_begun_and_no_more_is_trouble_as_any() {
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream();
    let mut recorder = hindrance.recorder(&upstream, dir.path(), &["--rotate-size", "1"]);
    let admin = recorder.wait_for_url("admin on ");
    hindrance.tell("late", "-000002.rt");
    // In flight as the first file is full: the second begins with it, and with nothing else.
    let mut open = Wire::connect(&recorder.url);
    open.send("POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
    let in_flight = || {
        let mut trace = Trace::open(&[dir.path().to_owned()]).unwrap();
        let read = trace.exchanges().map(Result::unwrap);
        read.filter(|it| it.endpoint == Endpoint::Embeddings)
            .filter(|it| matches!(it.outcome, Outcome::InFlight { .. }))
            .count()
    };
    answered(|| match in_flight() {
        1 => Ok(()),
        count => Err(format!("{count} are told of")),
    });
    let load = Load::calm(&recorder.url, 1, 2000);
    recorder.wait_for("the trace cannot be written; traffic goes on");
    assert_eq!(in_flight(), 1, "the first file still tells of it");
    hindrance.end("late");
    recording_resumes(&admin);
    let (made, took) = load.finish();
    in_time(&took);
    drop(open);
    let (totals, log) = settle_and_tell(recorder, dir.path(), made + 1);
    let told = log.lines().filter(|line| line.contains("-000002.rt"));
    assert_eq!(
        told.filter(|line| line.contains(" WARN ")).count(),
        1,
        "{log}"
    );
    assert!(
        totals.dropped.keys().all(|it| it == "disk_full"),
        "{totals:?}"
    );
}

#[test]
fn a_real_full_disk_costs_recordings_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let first = format!("mount -t tmpfs -o size=512k none {}", dir.path().display());
    let Some((mut recorder, mounts)) = Mounts::recorder(&first, &upstream(), dir.path()) else {
        return;
    };
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::calm(&recorder.url, 3, 2000);
    recording_resumes(&admin);
    let filler = mounts.path(&dir.path().join("filler"));
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = loop {
        if let Err(error) = file.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    dropped_reaches(&admin, "disk_full", 10);
    load.goes_on(100);
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    recording_resumes(&admin);
    in_time(&load.finish().1);
    // The file system is gone when the recorder is: its last block tells the accounts already.
    let copy = tempfile::tempdir().unwrap();
    let name = "trace-000001.rt";
    std::fs::copy(mounts.path(&dir.path().join(name)), copy.path().join(name)).unwrap();
    let trace = Trace::open(&[copy.path().to_owned()]).unwrap();
    assert!(trace.totals().dropped["disk_full"] >= 10);
    assert_eq!(trace.totals().recorded, trace.exchange_count());
    assert!(recorder.terminate().0.success());
}

#[test]
fn a_directory_that_turns_read_only_costs_recordings_until_it_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut recorder, mounts)) = Mounts::recorder("true", &upstream(), dir.path()) else {
        return;
    };
    let path = dir.path().to_str().unwrap();
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::calm(&recorder.url, 3, 2000);
    recording_resumes(&admin);
    mounts.run(&["mount", "-t", "tmpfs", "-o", "ro", "none", path]);
    dropped_reaches(&admin, "write_error", 10);
    load.goes_on(100);
    mounts.run(&["umount", path]);
    recording_resumes(&admin);
    let (made, took) = load.finish();
    in_time(&took);
    let totals = settle(recorder, dir.path(), made);
    lost_for(&totals, "write_error");
}

#[test]
fn a_vanished_directory_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("traces");
    let mut recorder = Server::recorder(&upstream(), &dir, &[]);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::calm(&recorder.url, 3, 2000);
    recording_resumes(&admin);
    // Moved away, so that its file can be read still.
    let moved = parent.path().join("moved");
    std::fs::rename(&dir, &moved).unwrap();
    dropped_reaches(&admin, "write_error", 10);
    load.goes_on(100);
    recording_resumes(&admin);
    let (made, took) = load.finish();
    in_time(&took);
    assert!(recorder.terminate().0.success());
    let read = |dirs: &[&Path]| {
        Trace::open(&dirs.iter().map(|dir| dir.to_path_buf()).collect::<Vec<_>>()).unwrap()
    };
    let together = read(&[&moved, &dir]);
    let totals = together.totals();
    assert_eq!(totals.seen, made, "each file tells its own part");
    assert_eq!(totals.recorded, together.exchange_count());
    assert_eq!(totals.seen, totals.recorded + totals.lost());
}

#[test]
fn what_a_disk_does_not_confirm_is_recorded_and_told() {
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = hindrance.recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::calm(&recorder.url, 3, 2000);
    recording_resumes(&admin);
    hindrance.begin("unsynced");
    for _ in 0..3 {
        reaches(&admin, UNSYNCED, metric(&admin, UNSYNCED) + 1);
    }
    recording_resumes(&admin);
    hindrance.end("unsynced");
    // What is asked of the disk from here on is confirmed; an attempt that had begun may still fail.
    recording_resumes(&admin);
    let unsynced = metric(&admin, UNSYNCED);
    recording_resumes(&admin);
    assert_eq!(metric(&admin, UNSYNCED), unsynced);
    let (made, took) = load.finish();
    in_time(&took);
    let (totals, log) = settle_and_tell(recorder, dir.path(), made);
    assert!(totals.dropped.is_empty(), "{totals:?}");
    assert!(unsynced >= 3 && unsynced < totals.recorded, "{totals:?}");
    assert!(log.contains(&format!("unsynced={unsynced} ")), "{log}");
    let told = log.matches("may not survive a loss of power").count();
    assert_eq!(told, 1, "once, not for each block: {log}");
}

#[test]
fn what_was_left_out_after_the_last_block_of_a_file_that_is_not_confirmed_is_told_once() {
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let args = ["--rotate-size", "1"];
    let mut recorder = hindrance.recorder(&upstream(), dir.path(), &args);
    let (admin, url) = (recorder.wait_for_url("admin on "), recorder.url.clone());
    // These are in no block, and each file's index tells of those that came after its last one.
    let unrecorded = Load::unrecorded(&url, 200);
    let some = || {
        let load = Load::calm(&url, 1, 200);
        load.goes_on(1);
        load.finish().0
    };
    let mut made = 0;
    // Files that are full.
    for number in 1..=3 {
        let name = format!("-00000{number}.rt");
        hindrance.tell("unsynced", &name);
        made += some();
        let path = dir.path().join(format!("trace{name}"));
        recorder.wait_for(&format!("not closed whole path={}", path.display()));
    }
    // One that is closed since the next one cannot be begun.
    hindrance.begin("unsynced");
    made += some();
    recorder.wait_for(INDEX_UNSYNCED);
    let load = Load::calm(&url, 1, 200);
    dropped_reaches(&admin, "write_error", 1);
    hindrance.end("unsynced");
    recording_resumes(&admin);
    made += load.finish().0;
    made += unrecorded.finish().0;
    // And the last one, once nothing is on its way to it.
    answered(|| {
        let dropped = |reason| format!("reenact_dropped_total{{reason=\"{reason}\"}}");
        let names = [
            dropped("opt_out"),
            dropped("write_error"),
            "reenact_recorded_total".to_owned(),
        ];
        let told = names.map(|name| metric(&admin, &name));
        match told.iter().sum::<u64>() == made {
            true => Ok(()),
            false => Err(format!("{told:?} of {made}")),
        }
    });
    hindrance.begin("unsynced");
    let (totals, log) = settle_and_tell(recorder, dir.path(), made);
    assert_eq!(log.matches(INDEX_UNSYNCED).count(), 2, "{log}");
    let reasons: Vec<_> = totals.dropped.keys().collect();
    assert_eq!(reasons, ["opt_out", "write_error"]);
}

const INDEX_UNSYNCED: &str = "the trace's index may not survive a loss of power";
const UNSYNCED: &str = "reenact_unsynced_total";

#[test]
fn a_disk_that_stalls_delays_nobody() {
    stall(LONG);
}

#[test]
#[ignore = "takes 40 s; the short one beside it runs always"]
fn a_disk_that_stalls_for_half_a_minute_delays_nobody() {
    stall(Duration::from_secs(30));
}

fn stall(lasts: Duration) {
    const MEMORY_MIB: u64 = 32;
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream();
    let memory = ["--capture-memory", &format!("{MEMORY_MIB}MiB")];
    let mut recorder = hindrance.recorder(&upstream, dir.path(), &memory);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::start(&recorder.url, 4, 200);
    let direct = Load::start(&upstream, 4, 200);
    recording_resumes(&admin);
    as_direct(&load.latencies(), &direct.latencies());
    let before_mib = peak_mib(recorder.pid());
    let began = Instant::now();
    hindrance.begin("stall");
    dropped_reaches(&admin, "writer_behind", 10);
    while began.elapsed() < lasts {
        load.goes_on(100);
        let queued = metric(&admin, "reenact_queue_bytes");
        assert!(queued <= MEMORY_MIB << 20, "{queued} bytes");
    }
    let (during, without) = (load.latencies(), direct.latencies());
    let peak_mib = peak_mib(recorder.pid());
    hindrance.end("stall");
    as_direct(&during, &without);
    in_time(&during);
    eprintln!("{before_mib} MiB before the stall, {peak_mib} MiB at most");
    assert!(
        peak_mib < before_mib + MEMORY_MIB,
        "{before_mib} MiB before, {peak_mib} MiB at most"
    );
    recording_resumes(&admin);
    direct.finish();
    let (made, took) = load.finish();
    in_time(&took);
    let totals = settle(recorder, dir.path(), made);
    eprintln!("{totals:?}");
    lost_for(&totals, "writer_behind");
}

#[test]
fn a_disk_that_hangs_does_not_keep_the_recorder_from_ending() {
    let hindrance = Hindrance::build();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = hindrance.recorder(&upstream(), dir.path(), &[]);
    let admin = recorder.wait_for_url("admin on ");
    let load = Load::start(&recorder.url, 1, 200);
    recording_resumes(&admin);
    hindrance.begin("stall");
    load.goes_on(50);
    load.finish();
    recorder.signal(Signal::TERM);
    recorder.wait_for("the disk does not take the end of the trace");
    let (status, log) = recorder.wait();
    assert!(status.success(), "{log}");
    assert!(log.contains("writer_behind="), "{log}");
    // What was flushed reads back, as after a crash.
    let trace = Trace::open(&[dir.path().to_owned()]).unwrap();
    assert!(trace.exchange_count() > 0 && !trace.damage().is_loss());
}

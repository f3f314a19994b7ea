use std::fs;
use std::time::Duration;

use super::{blocks_of, chat, header, write};
use crate::anonymise::{Keys, Policy, Recordable};
use crate::shape::{BlockId, Exchange};
use crate::trace::{Header, RotatingWriter, Rotation, Totals, Trace, TraceError, WriterOptions};

fn all(paths: &[std::path::PathBuf]) -> Vec<Exchange> {
    let mut trace = Trace::open(paths).unwrap();
    trace.exchanges().collect::<Result<_, _>>().unwrap()
}

fn times(exchanges: &[Exchange]) -> Vec<u64> {
    exchanges.iter().map(|exchange| exchange.at.us()).collect()
}

#[test]
fn files_of_one_run_share_the_epoch_and_other_runs_come_after() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, run, at: &[u64]| {
        let path = directory.path().join(name);
        let exchanges: Vec<_> = at.iter().map(|&at| chat(at, 1, [0, 1])).collect();
        write(&path, &header(run), blocks_of(2), &exchanges);
        path
    };
    let first = file("a-000001.rt", 1, &[10, 20, 30]);
    let second = file("a-000002.rt", 1, &[25, 40]);
    let other = file("b.rt", 2, &[0, 7]);
    let files = [first, second, other];
    let ends = Trace::open(&files).unwrap().ends();
    assert_eq!(
        ends.map(|(first, last)| (first.us(), last.us())),
        Some((10, 47))
    );
    let exchanges = all(&files);
    assert_eq!(times(&exchanges), [10, 20, 25, 30, 40, 40, 47]);
    let ids = |at: u64| {
        let exchange = exchanges.iter().find(|exchange| exchange.at.us() == at);
        exchange.unwrap().request.blocks.clone()
    };
    assert_eq!(ids(10), [0, 1].map(BlockId));
    assert_eq!(ids(25), [2, 3].map(BlockId), "numbers of files never meet");
    assert_eq!(ids(47), [4, 5].map(BlockId));
    assert_eq!(
        times(&all(&[directory.path().to_owned()])),
        times(&exchanges)
    );
}

#[test]
fn files_of_a_run_under_an_operators_key_share_their_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let linked = |run| Header {
        policy: Some(Policy {
            keys: Keys::Operator,
            ..Policy::default()
        }),
        ..header(run)
    };
    for (name, run, ids) in [
        ("a.rt", 1, [0, 1]),
        ("b.rt", 1, [0, 2]),
        ("c.rt", 2, [0, 1]),
    ] {
        let path = directory.path().join(name);
        write(&path, &linked(run), blocks_of(2), &[chat(run, 1, ids)]);
    }
    let ids: Vec<_> = all(&[directory.path().to_owned()])
        .into_iter()
        .map(|exchange| exchange.request.blocks)
        .collect();
    assert_eq!(
        ids,
        [[0, 1], [0, 2], [3, 4]].map(|ids| ids.map(BlockId).to_vec())
    );
}

#[test]
fn exchanges_written_late_are_read_in_time_and_span_no_other_block() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let second = 1_000_000;
    // A request a second, written as it ends; at every tenth an hour-long one ends too.
    let mut exchanges: Vec<_> = (3600..3700)
        .flat_map(|s| {
            let late = (s % 10 == 0).then(|| chat((s - 3600) * second, 3600 * second, [1]));
            [Some(chat(s * second, second, [0])), late]
        })
        .flatten()
        .collect();
    write(&path, &header(1), blocks_of(10), &exchanges);
    exchanges.sort_by_key(|exchange| exchange.at);
    let trace = Trace::open(std::slice::from_ref(&path)).unwrap();
    let mixed = |first: u64, last: u64| first < 1000 * second && last > 1000 * second;
    let blocks = &trace.files[0].file.blocks;
    let mixing = blocks
        .iter()
        .filter(|block| mixed(block.first_at_us, block.last_at_us));
    assert_eq!(
        mixing.count(),
        1,
        "only the first, when nothing was written yet"
    );
    assert_eq!(all(&[path]), exchanges);
}

#[test]
fn a_rotated_directory_reads_as_one_trace() {
    let directory = tempfile::tempdir().unwrap();
    let traces = directory.path().join("new/traces");
    let rotation = Rotation {
        max_age: Some(Duration::ZERO),
        ..Rotation::default()
    };
    let mut writer = RotatingWriter::create(
        &traces,
        "edge",
        &header(5),
        rotation,
        WriterOptions::default(),
    )
    .unwrap();
    assert!(!writer.should_rotate(), "an empty file is never full");
    for i in 0..3_u64 {
        writer.account(&Totals {
            seen: i + 1,
            ..Totals::default()
        });
        writer
            .push(Recordable::content_free(chat(i * 10, 5, [0])))
            .unwrap();
        assert!(writer.should_rotate());
        writer.rotate().unwrap();
    }
    writer.finish().unwrap();
    let names = fs::read_dir(&traces).unwrap();
    let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [1, 2, 3, 4].map(|n| std::ffi::OsString::from(format!("edge-{n:06}.rt")))
    );
    let mut trace = Trace::open(&[traces]).unwrap();
    assert_eq!(trace.totals().seen, 3, "each file carries its share");
    assert_eq!(trace.exchanges().count(), 3);
}

#[test]
fn old_files_are_removed_and_strangers_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("edge-notes.rt"), "mine").unwrap();
    let rotation = Rotation {
        max_bytes: Some(1),
        keep_bytes: Some(1),
        ..Rotation::default()
    };
    let create = || {
        RotatingWriter::create(
            directory.path(),
            "edge",
            &header(5),
            rotation,
            WriterOptions::default(),
        )
    };
    let mut writer = create().unwrap();
    for i in 0..3 {
        writer
            .push(Recordable::content_free(chat(i, 5, [])))
            .unwrap();
        writer.rotate().unwrap();
    }
    assert_eq!(writer.path(), directory.path().join("edge-000004.rt"));
    writer.finish().unwrap();
    assert_eq!(
        create().unwrap().path(),
        directory.path().join("edge-000005.rt")
    );
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["edge-000005.rt", "edge-notes.rt"]);
}

#[test]
fn a_file_killed_at_birth_does_not_spoil_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("a-000001.rt");
    let stillborn = directory.path().join("a-000002.rt");
    write(&good, &header(1), blocks_of(2), &[chat(1, 1, [])]);
    fs::write(&stillborn, &header(1).encode()[..30]).unwrap();
    let mut trace = Trace::open(&[directory.path().to_owned()]).unwrap();
    assert_eq!(
        (trace.damage().unfinished_files, trace.damage().bad_bytes),
        (1, 30)
    );
    assert_eq!(trace.exchanges().count(), 1);
    assert!(matches!(
        Trace::open(&[stillborn]),
        Err(TraceError::TornHeader { .. })
    ));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        Trace::open(&[empty.path().to_owned()]),
        Err(TraceError::NoTraces { .. })
    ));
}

//! Exchanges in flight when their recorder is killed.

use std::path::Path;

use super::{chat, header, read};
use crate::anonymise::Recordable;
use crate::shape::{Exchange, Outcome};
use crate::trace::{Trace, TraceWriter, WriterOptions};

fn in_flight(at_us: u64, ids: impl IntoIterator<Item = u32>) -> Recordable {
    let mut exchange = chat(at_us, 0, ids);
    exchange.response = crate::shape::ResponseShape::default();
    exchange.outcome = Outcome::InFlight { at_us: 1_000 };
    Recordable::content_free(exchange)
}

fn ended(at_us: u64, ids: impl IntoIterator<Item = u32>) -> Recordable {
    Recordable::content_free(chat(at_us, 500, ids))
}

fn writer(path: &Path) -> TraceWriter {
    TraceWriter::create(path, &header(1), WriterOptions::default()).unwrap()
}

fn outcomes(exchanges: &[Exchange]) -> Vec<(u64, Outcome)> {
    exchanges
        .iter()
        .map(|exchange| (exchange.at.us(), exchange.outcome))
        .collect()
}

#[test]
fn what_was_in_flight_at_a_kill_reads_back_as_that() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let mut writer = writer(&path);
    writer.open(7, in_flight(100, [0, 1, 2]));
    writer.open(8, in_flight(200, [0, 1, 3]));
    writer.open(9, in_flight(300, [4]));
    writer.close(9, ended(300, [4])).unwrap();
    writer.flush().unwrap();
    writer.open(10, in_flight(400, [5]));
    writer.close(7, ended(100, [0, 1, 2])).unwrap();
    writer.push(ended(9_000, [0, 1])).unwrap();
    writer.flush().unwrap();
    // Not flushed: lost with the process.
    writer.close(10, ended(400, [5])).unwrap();
    drop(writer);
    let exchanges = read(&path);
    assert_eq!(
        outcomes(&exchanges),
        [
            (100, Outcome::Completed),
            (200, Outcome::InFlight { at_us: 8_800 }),
            (300, Outcome::Completed),
            (400, Outcome::InFlight { at_us: 8_600 }),
            (9_000, Outcome::Completed),
        ]
    );
    assert_eq!(exchanges[1].request.blocks.len(), 3, "its shape is known");
    let trace = Trace::open(&[path]).unwrap();
    assert_eq!(trace.exchange_count(), 5);
    assert_eq!(trace.ends().unwrap().1.us(), 9_000);
}

#[test]
fn a_file_that_was_closed_in_order_has_none_in_flight() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let mut writer = writer(&path);
    writer.open(1, in_flight(100, [0]));
    writer.open(2, in_flight(200, [0]));
    writer.flush().unwrap();
    writer.forget(2);
    writer.close(1, ended(100, [0])).unwrap();
    writer.finish().unwrap();
    assert_eq!(outcomes(&read(&path)), [(100, Outcome::Completed)]);
}

#[test]
fn a_file_may_hold_nothing_but_what_is_in_flight() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let mut writer = writer(&path);
    writer.open(1, in_flight(100, [0]));
    assert!(!writer.is_flushed());
    writer.flush().unwrap();
    assert!(writer.is_flushed());
    drop(writer);
    let in_flight = Outcome::InFlight { at_us: 1_000 };
    assert_eq!(outcomes(&read(&path)), [(100, in_flight)]);
    assert_eq!(Trace::open(&[path]).unwrap().ends().unwrap().1.us(), 100);
}

#[test]
fn more_may_be_in_flight_than_a_block_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let mut writer = writer(&path);
    for key in 0..3_000 {
        writer.open(key, in_flight(key * 10, [0, 1]));
    }
    writer.flush().unwrap();
    for key in (0..3_000).step_by(2) {
        writer.close(key, ended(key * 10, [0, 1])).unwrap();
    }
    writer.flush().unwrap();
    drop(writer);
    let exchanges = read(&path);
    assert_eq!(exchanges.len(), 3_000);
    for (at, exchange) in exchanges.iter().enumerate() {
        let in_flight = matches!(exchange.outcome, Outcome::InFlight { .. });
        assert_eq!(in_flight, at % 2 == 1, "{at}");
    }
}

#[test]
fn the_next_file_of_a_run_says_how_it_went_on() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a-1.rt", "a-2.rt"].map(|name| directory.path().join(name));
    // Its index could not be written, so it is unfinished, and its recorder went on in the next file.
    let mut first = writer(&paths[0]);
    first.open(1, in_flight(100, [0]));
    first.push(ended(50, [0])).unwrap();
    first.flush().unwrap();
    drop(first);
    let mut second = writer(&paths[1]);
    second.push(ended(100, [0])).unwrap();
    second.finish().unwrap();
    let mut trace = Trace::open(&[directory.path().to_owned()]).unwrap();
    assert_eq!(trace.exchange_count(), 2);
    let read: Vec<_> = trace.exchanges().flatten().collect();
    assert_eq!(
        outcomes(&read),
        [(50, Outcome::Completed), (100, Outcome::Completed)]
    );
}

#[test]
fn a_next_file_without_a_block_says_nothing_of_how_it_went_on() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a-1.rt", "a-2.rt", "a-3.rt"].map(|name| directory.path().join(name));
    let mut first = writer(&paths[0]);
    first.open(1, in_flight(100, [0]));
    first.flush().unwrap();
    drop(first);
    let all = [directory.path().to_owned()];
    let seen = || {
        let mut trace = Trace::open(&all).unwrap();
        let read: Vec<_> = trace.exchanges().flatten().collect();
        let checks = crate::trace::verify(&all).unwrap();
        let sum = |of: fn(&crate::trace::FileCheck) -> u64| checks.iter().map(of).sum::<u64>();
        assert_eq!(sum(|check| check.exchanges), read.len() as u64);
        assert_eq!(sum(|check| check.in_flight), read.len() as u64);
        outcomes(&read)
    };
    // Killed as the next file was begun.
    drop(writer(&paths[1]));
    let open = [(100, Outcome::InFlight { at_us: 1_000 })];
    assert_eq!(seen(), open);
    // It is in the one after, and the first was not closed.
    let mut third = writer(&paths[2]);
    third.open(1, in_flight(100, [0]));
    third.flush().unwrap();
    assert_eq!(seen(), open, "once");
    third.finish().unwrap();
    assert_eq!(seen(), []);
}

#[test]
fn one_that_is_forgotten_is_not_in_flight_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let mut writer = writer(&path);
    for key in 0..5 {
        writer.open(key, in_flight(key * 100, [0]));
    }
    writer.flush().unwrap();
    writer.forget(3);
    writer.forget(1);
    // Under the same key again: the first will not end any more.
    writer.open(2, in_flight(1_000, [0]));
    assert!(!writer.is_flushed(), "the file is to be told");
    writer.flush().unwrap();
    // Nothing else is to be written, and yet it is told.
    writer.forget(4);
    writer.flush().unwrap();
    assert!(writer.is_flushed());
    drop(writer);
    let times: Vec<_> = read(&path)
        .iter()
        .map(|exchange| exchange.at.us())
        .collect();
    assert_eq!(times, [0, 1_000]);
}

#[test]
fn a_crafted_file_cannot_have_more_in_flight_than_memory_takes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let mut writer = writer(&path);
    // A chain of one id costs nothing on disk, and four bytes an id in memory.
    for key in 0..40 {
        writer.open(key, in_flight(key, std::iter::repeat_n(0, 1 << 19)));
    }
    writer.flush().unwrap();
    drop(writer);
    let trace = Trace::open(&[path]).unwrap();
    assert_eq!(trace.exchange_count() + trace.damage().lost_exchanges, 40);
    assert_eq!(trace.exchange_count(), 31);
}

fn flip(path: &Path, at: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// A file of one that is open, the block that says how another ended, and a third that came after that; and where that block lies.
fn with_a_block_between(path: &Path) -> u64 {
    let mut writer = writer(path);
    writer.open(1, in_flight(100, [0]));
    writer.open(2, in_flight(200, [0]));
    writer.flush().unwrap();
    writer.close(2, ended(200, [0])).unwrap();
    writer.flush().unwrap();
    writer.open(3, in_flight(300, [0]));
    writer.flush().unwrap();
    drop(writer);
    let trace = Trace::open(&[path.to_owned()]).unwrap();
    assert_eq!(trace.damage().doubtful_in_flight, 0);
    trace.files[0].file.blocks[0].offset
}

#[test]
fn what_may_have_ended_in_a_damaged_block_is_told_to_be_doubtful() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let block = with_a_block_between(&path);
    // In its payload, then in its frame.
    for at in [block + 70, block + 10] {
        flip(&path, at);
        let mut trace = Trace::open(std::slice::from_ref(&path)).unwrap();
        let read: Vec<_> = trace.exchanges().flatten().collect();
        let times: Vec<_> = read.iter().map(|exchange| exchange.at.us()).collect();
        assert_eq!(times, [100, 200, 300], "{at}");
        let is_open = |exchange: &Exchange| matches!(exchange.outcome, Outcome::InFlight { .. });
        assert!(read.iter().all(is_open));
        // Not the third: it was opened after the damage.
        assert_eq!(trace.damage().doubtful_in_flight, 2, "{at}");
        assert!(
            trace
                .damage()
                .to_string()
                .ends_with("2 that read as in flight may have ended there"),
            "{}",
            trace.damage()
        );
        let check = crate::trace::verify(std::slice::from_ref(&path)).unwrap();
        assert_eq!((check[0].in_flight, check[0].doubtful_in_flight), (3, 2));
        assert!(check[0].to_string().contains("(of which 2 may have ended"));
    }
}

#[test]
fn what_the_next_file_of_the_run_tells_is_not_doubtful() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("a-1.rt");
    let block = with_a_block_between(&first);
    flip(&first, block + 70);
    let mut second = writer(&directory.path().join("a-2.rt"));
    second.push(ended(100, [0])).unwrap();
    second.finish().unwrap();
    let trace = Trace::open(&[directory.path().to_owned()]).unwrap();
    assert_eq!(trace.damage().doubtful_in_flight, 0);
}

#[test]
fn none_is_in_flight_where_a_footers_frame_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let mut writer = writer(&path);
    writer.open(1, in_flight(100, [0]));
    writer.push(ended(50, [0])).unwrap();
    writer.flush().unwrap();
    writer.finish().unwrap();
    let len = path.metadata().unwrap().len();
    flip(&path, len - 1);
    let mut trace = Trace::open(&[path]).unwrap();
    assert_eq!(trace.damage().unfinished_files, 1);
    let read: Vec<_> = trace.exchanges().flatten().collect();
    assert_eq!(outcomes(&read), [(50, Outcome::Completed)]);
}

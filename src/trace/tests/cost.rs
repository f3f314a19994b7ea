//! What an exchange costs in bytes (asserted) and in time (printed: `cargo test --release --lib cost -- --nocapture`).

use std::time::Instant;

use super::{header, read};
use crate::anonymise::Recordable;
use crate::shape::{Exchange, GapTrail};
use crate::trace::{TraceWriter, WriterOptions};

#[allow(unreachable_pub, reason = "a bench has it too")]
#[path = "../../../benches/trace/live.rs"]
mod live;
use live::live;

/// Bytes of each exchange in a file; prints the speeds.
fn bytes_each(exchanges: Vec<Exchange>) -> f64 {
    let count = exchanges.len();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let recordables: Vec<_> = exchanges
        .into_iter()
        .map(Recordable::content_free)
        .collect();
    let started = Instant::now();
    let mut writer = TraceWriter::create(&path, &header(1), WriterOptions::default()).unwrap();
    for recordable in recordables {
        writer.push(recordable).unwrap();
    }
    writer.finish().unwrap();
    let written = started.elapsed().as_secs_f64();
    let each = path.metadata().unwrap().len() as f64 / count as f64;
    let started = Instant::now();
    assert_eq!(read(&path).len(), count);
    let took = started.elapsed().as_secs_f64();
    println!(
        "{each:.1} bytes each; {:.0}/s written, {:.0}/s read",
        count as f64 / written,
        count as f64 / took
    );
    each
}

#[test]
fn a_live_exchange_of_20_blocks_and_100_tokens_takes_at_most_40_bytes() {
    const COUNT: usize = 20_000;
    let mut exchanges = live(COUNT, 0.2);
    for exchange in &mut exchanges {
        exchange.response.trail = GapTrail::default();
    }
    let mean = |of: fn(&Exchange) -> usize| exchanges.iter().map(of).sum::<usize>() / COUNT;
    let blocks = mean(|e| e.request.blocks.len());
    let buckets = mean(|e| e.response.gaps.buckets().len());
    assert!((18..23).contains(&blocks), "{blocks}");
    assert!(buckets > 20, "{buckets}");
    let each = bytes_each(exchanges);
    assert!(each <= 40.0, "{each:.1} bytes each");
}

#[test]
fn that_no_reader_was_waited_for_costs_next_to_nothing() {
    let mut exchanges = live(20_000, 0.2);
    // As recorders have it that tell.
    for exchange in &mut exchanges {
        exchange.new_connection = Some(false);
    }
    let untold = bytes_each(exchanges.clone());
    for exchange in &mut exchanges {
        exchange.response.reader_wait_us = Some(0);
    }
    let told = bytes_each(exchanges.clone());
    assert!(
        told - untold < 0.02,
        "{told:.2} bytes instead of {untold:.2}"
    );
    // One in a hundred was slow.
    for (exchange, n) in exchanges.iter_mut().step_by(100).zip(1..) {
        exchange.response.reader_wait_us = Some(n * 54_321);
    }
    let slow = bytes_each(exchanges);
    assert!(
        slow - untold < 0.3,
        "{slow:.2} bytes instead of {untold:.2}"
    );
}

#[test]
fn with_every_gap_it_takes_less_than_140_bytes() {
    let each = bytes_each(live(20_000, 0.2));
    assert!((60.0..140.0).contains(&each), "{each:.1} bytes each");
}

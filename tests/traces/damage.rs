//! A file of real size, cut and flipped at thousands of places. That every place of a small one is, is src/trace/tests/damage.rs.

use std::path::{Path, PathBuf};

use super::{Random, exchange, header};
use reenact::anonymise::Recordable;
use reenact::shape::Exchange;
use reenact::trace::{Trace, TraceWriter, WriterOptions, repair, verify};

/// What damage may make a reader ask for: a block is at most 64 MiB, packed and unpacked, and what it holds is in proportion.
const BOUND_MIB: u64 = 256;

#[test]
fn thousands_of_wounds_cost_what_they_hit_and_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let all = (0..2500_u64).map(|at| {
        let blocks: Vec<_> = (0..random.below(12))
            .map(|_| random.below(50_000) as u32)
            .collect();
        exchange(at * 500, blocks)
    });
    let whole = in_blocks_of(128, &dir.path().join("whole.rt"), all);
    let bytes = std::fs::read(&whole).unwrap();
    let sound = verify(std::slice::from_ref(&whole)).unwrap().remove(0);
    assert_eq!((sound.blocks, sound.exchanges), (20, 2500));
    let wounded = dir.path().join("wounded.rt");
    let before_mib = peak_mib();
    let mut read_in_all = 0;
    for round in 0..2000_u64 {
        let mut bytes = bytes.clone();
        let at = random.below(bytes.len() as u64) as usize;
        match round % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.below(8),
            // A stretch of zeros, as a file system leaves after a loss of power.
            2 => {
                let end = (at + random.below(70_000) as usize).min(bytes.len());
                bytes[at..end].fill(0);
            }
            // Bytes that are gone, so that all behind them lies elsewhere.
            _ => drop(bytes.drain(at..(at + random.below(300) as usize).min(bytes.len()))),
        }
        std::fs::write(&wounded, &bytes).unwrap();
        read_in_all += read(&wounded, round);
    }
    assert!(read_in_all > 2000 * 1250, "most of it reads: {read_in_all}");
    let grown_mib = peak_mib() - before_mib;
    assert!(grown_mib < BOUND_MIB, "{grown_mib} MiB more than before");
    eprintln!("2000 wounds: {read_in_all} exchanges read, {grown_mib} MiB more than before");
}

fn in_blocks_of(
    block_exchanges: u32,
    path: &Path,
    exchanges: impl Iterator<Item = Exchange>,
) -> PathBuf {
    let options = WriterOptions {
        block_exchanges,
        ..WriterOptions::default()
    };
    let mut writer = TraceWriter::create(path, &header(1), options).unwrap();
    for exchange in exchanges {
        writer.push(Recordable::content_free(exchange)).unwrap();
    }
    writer.finish().unwrap();
    path.to_owned()
}

/// How many exchanges read, by the reader and by verify alike.
fn read(path: &Path, round: u64) -> u64 {
    let Ok(mut trace) = Trace::open(&[path.to_owned()]) else {
        assert!(verify(&[path.to_owned()]).is_err());
        return 0;
    };
    let indexed = trace.exchange_count();
    let read = trace.exchanges().map(Result::unwrap).count() as u64;
    assert!(read == indexed || trace.damage().is_loss(), "round {round}");
    // What is lost is never more than the blocks that a wound can touch, and is known.
    if round.is_multiple_of(20) {
        let check = verify(&[path.to_owned()]).unwrap().remove(0);
        assert_eq!(check.exchanges, read, "round {round}");
        let output = path.with_extension("repaired.rt");
        assert_eq!(repair(&mut trace, &output).unwrap().exchanges, read);
        std::fs::remove_file(output).unwrap();
    }
    read
}

/// Most memory that this process has had, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib >> 10
}

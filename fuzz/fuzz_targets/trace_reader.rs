//! A file of any bytes opens and reads to its end, or is refused; blocks that were whole before the damage are read.
//!
//! Checksums would stop any mutation at the door, so that most are made behind them: a block's document is unpacked, changed and
//! packed again under a right frame, and behind the seal where it has one.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use reenact::fuzzing::{sealed, unsealed};
use reenact::shape::Exchange;
use reenact::trace::{Damage, Trace, unlock_with, verify};

/// Whole blocks, and no footer behind them.
const WHOLE_BLOCKS: &[u8] = include_bytes!("../../fixtures/traces/golden-1.0-unfinished.rt");

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| PathBuf::from(format!("/dev/shm/reenact-fuzz-{}.rt", std::process::id())));
/// What the sealed ones among the seeds open with.
static UNLOCKED: LazyLock<()> = LazyLock::new(|| {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/traces");
    let identity = PathBuf::from(fixtures).join("golden-1.1-sealed.identity");
    unlock_with(&identity).expect("the fixture is an identity");
});
static BEFORE: LazyLock<Vec<Exchange>> = LazyLock::new(|| {
    let exchanges = read(WHOLE_BLOCKS).expect("the fixture reads").0;
    assert_eq!(exchanges.len(), 5, "its whole blocks hold five");
    exchanges
});

fuzz_target!(|bytes: &[u8]| {
    let _ = read(bytes);
    let grown = [WHOLE_BLOCKS, bytes].concat();
    let (exchanges, damage) = read(&grown).expect("the header is whole");
    if damage.unfinished_files == 1 {
        let mut left = BEFORE.iter();
        let mut next = left.next();
        for exchange in &exchanges {
            if next.is_some_and(|next| alike(next, exchange)) {
                next = left.next();
            }
        }
        assert!(
            next.is_none(),
            "a block before the damage is lost: {damage}"
        );
    }
});

/// The same but for the model's number: what follows may give the same model another, and both are then one.
fn alike(one: &Exchange, other: &Exchange) -> bool {
    let (mut one, mut other) = (one.clone(), other.clone());
    (one.model, other.model) = (None, None);
    one == other
}

fn read(bytes: &[u8]) -> Option<(Vec<Exchange>, Damage)> {
    LazyLock::force(&UNLOCKED);
    std::fs::write(&*FILE, bytes).expect("it is written");
    let mut trace = Trace::open(&[FILE.clone()]).ok()?;
    let counted = trace.exchange_count();
    let exchanges: Vec<_> = trace.exchanges().map_while(Result::ok).collect();
    let damage = trace.damage();
    assert!(damage.is_loss() || exchanges.len() as u64 == counted);
    // What checks a file finds the same in it, and nothing wrong where the reader left nothing out.
    let check = verify(&[FILE.clone()]).expect("it was opened").remove(0);
    assert_eq!(check.exchanges, exchanges.len() as u64, "{check}");
    assert!(!damage.is_loss() || !check.is_sound(), "{check}");
    Some((exchanges, damage))
}

const PREAMBLE: usize = 16;
const FRAME: usize = 60;
const CODEC_SEALED: u8 = 2;
const SYNC: [u8; 4] = [0xb1, 0x0c, b'R', 0x1a];

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let changed = match seed % 4 {
        0 => None,
        1 => header_changed(&data[..size], max_size),
        _ => block_changed(&data[..size], max_size, seed >> 2),
    };
    match changed {
        Some(changed) if changed.len() <= max_size => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});

fn mutated(part: &[u8], max_size: usize) -> Vec<u8> {
    let mut room = part.to_vec();
    let most = (2 * part.len() + 64).min(max_size).max(part.len());
    room.resize(most, 0);
    let len = fuzzer_mutate(&mut room, part.len(), most);
    room.truncate(len);
    room
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn put_u32(bytes: &mut [u8], at: usize, value: usize) {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn header_changed(file: &[u8], max_size: usize) -> Option<Vec<u8>> {
    let end = PREAMBLE.checked_add(u32_at(file, 12)?)?;
    let (document, rest) = (file.get(PREAMBLE..end)?, file.get(end + 4..)?);
    let document = mutated(document, max_size);
    let mut out = [&file[..PREAMBLE], &document].concat();
    put_u32(&mut out, 12, document.len());
    let sum = crc32c::crc32c(&out).to_le_bytes();
    Some([&out, &sum[..], rest].concat())
}

fn block_changed(file: &[u8], max_size: usize, choice: u32) -> Option<Vec<u8>> {
    let marks: Vec<_> = (0..file.len().saturating_sub(FRAME))
        .filter(|&at| file[at..].starts_with(&SYNC))
        .collect();
    let at = *marks.get(choice as usize % marks.len().max(1))?;
    let mut frame = file[at..at + FRAME].to_vec();
    let payload = file.get(at + FRAME..at + FRAME + u32_at(&frame, 8)?)?;
    let rest = &file[at + FRAME + payload.len()..];
    LazyLock::force(&UNLOCKED);
    let packed = match frame[5] {
        CODEC_SEALED => unsealed(file, &frame, payload)?,
        _ => payload.to_vec(),
    };
    let document = zstd::bulk::decompress(&packed, 1 << 20).ok()?;
    let document = mutated(&document, max_size);
    let mut packed = zstd::bulk::compress(&document, 1).ok()?;
    if choice % 16 == 7 {
        // What a frame says of its block: counts, ids, times.
        let said = mutated(&frame[16..FRAME - 8], FRAME - 24);
        frame[16..16 + said.len()].copy_from_slice(&said);
    }
    put_u32(&mut frame, 12, document.len());
    if frame[5] == CODEC_SEALED {
        packed = sealed(file, &mut frame, &packed)?;
    }
    put_u32(&mut frame, 8, packed.len());
    put_u32(&mut frame, FRAME - 8, crc32c::crc32c(&packed) as usize);
    let sum = crc32c::crc32c(&frame[..FRAME - 4]) as usize;
    put_u32(&mut frame, FRAME - 4, sum);
    let mut out = [&file[..at], &frame, &packed, rest].concat();
    // The trailer says where the footer begins.
    let trailer = out.len().checked_sub(16)?;
    if out.ends_with(b"RNTE") && rest.len() > 16 {
        let moved = packed.len().wrapping_sub(payload.len()) as u64;
        let offset = u64::from_le_bytes(*out[trailer..].first_chunk()?)
            .wrapping_add(moved)
            .to_le_bytes();
        out[trailer..trailer + 8].copy_from_slice(&offset);
        let sum = crc32c::crc32c(&offset).to_le_bytes();
        out[trailer + 8..trailer + 12].copy_from_slice(&sum);
    }
    Some(out)
}

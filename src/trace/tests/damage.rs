#![allow(clippy::cast_possible_truncation, reason = "a small file")]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::{blocks_of, chat, header, write};
use crate::shape::{BlockSpec, Exchange};
use crate::trace::block::{Beside, BlockDecoder, BlockEncoder, Entry, Terms};
use crate::trace::footer::Footer;
use crate::trace::frame::{FRAME, Frame, KIND_EXCHANGES};
use crate::trace::{Damage, Totals, Trace, TraceError};

const BLOCK: usize = 4;
const BLOCKS: usize = 5;

/// A small finished file of five blocks, its exchanges, and where each block ends.
fn small() -> (Vec<u8>, Vec<Exchange>, Vec<usize>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let exchanges: Vec<_> = (0..(BLOCK * BLOCKS) as u32)
        .map(|i| chat(u64::from(i) * 1000, 500, [0, 1, i + 2]))
        .collect();
    write(&path, &header(1), blocks_of(BLOCK as u32), &exchanges);
    let bytes = fs::read(&path).unwrap();
    let trace = Trace::open(&[path]).unwrap();
    let blocks = &trace.files[0].file.blocks;
    let ends = blocks[1..].iter().map(|block| block.offset as usize);
    let footer = bytes.len() - crate::trace::footer::TRAILER;
    let footer = crate::trace::footer::footer_offset(bytes[footer..].first_chunk().unwrap());
    let ends = ends.chain([footer.unwrap() as usize]).collect();
    (bytes, exchanges, ends)
}

fn read(bytes: &[u8]) -> Result<(Vec<Exchange>, Damage), TraceError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    fs::write(&path, bytes).unwrap();
    let mut trace = Trace::open(&[path])?;
    let exchanges = trace.exchanges().collect::<Result<_, _>>()?;
    Ok((exchanges, trace.damage()))
}

#[test]
fn a_file_cut_anywhere_reads_up_to_the_last_whole_block() {
    let (bytes, exchanges, ends) = small();
    let header_len = header(1).encode().len();
    for len in 0..bytes.len() {
        let result = read(&bytes[..len]);
        if len < header_len {
            let error = result.unwrap_err();
            assert!(
                matches!(
                    error,
                    TraceError::Empty { .. } | TraceError::TornHeader { .. }
                ),
                "cut at {len}: {error}"
            );
            continue;
        }
        let (read, damage) = result.unwrap();
        let whole = ends.iter().filter(|&&end| end <= len).count();
        assert_eq!(read, exchanges[..whole * BLOCK], "cut at {len}");
        assert_eq!(damage.unfinished_files, 1);
        let trailer = bytes.len() - crate::trace::footer::TRAILER;
        let torn = !ends.contains(&len) && len != header_len && len != trailer;
        assert_eq!(damage.bad_bytes > 0, torn, "cut at {len}");
    }
}

#[test]
fn a_flipped_byte_costs_at_most_its_block() {
    let (bytes, exchanges, ends) = small();
    let header_len = header(1).encode().len();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x41;
        let result = read(&flipped);
        if at < header_len {
            assert!(result.is_err(), "flipped at {at}");
            continue;
        }
        let (read, damage) = result.unwrap();
        let mut expected = exchanges.clone();
        if let Some(block) = ends.iter().position(|&end| at < end) {
            expected.drain(block * BLOCK..(block + 1) * BLOCK);
            assert_eq!(damage.bad_blocks, 1, "flipped at {at}");
            assert_eq!(damage.lost_exchanges, BLOCK as u64, "flipped at {at}");
        }
        assert_eq!(read, expected, "flipped at {at}");
    }
}

#[test]
fn blocks_after_damage_are_found_without_an_index() {
    let (bytes, exchanges, ends) = small();
    for at in header(1).encode().len()..ends[0] {
        let mut broken = bytes[..ends[BLOCKS - 1]].to_vec();
        broken[at] ^= 0x41;
        let (read, damage) = self::read(&broken).unwrap();
        assert_eq!(read, exchanges[BLOCK..], "flipped at {at}");
        assert_eq!((damage.unfinished_files, damage.bad_blocks), (1, 1));
        // The same with the byte missing.
        broken.remove(at);
        let (read, _) = self::read(&broken).unwrap();
        assert_eq!(read, exchanges[BLOCK..], "removed at {at}");
    }
}

#[test]
fn garbage_and_zeros_behind_the_blocks_are_counted() {
    let (bytes, exchanges, ends) = small();
    for tail in [vec![0; 5000], b"\xb1\x0cR\x1a garbage".repeat(20_000)] {
        let mut grown = bytes[..ends[BLOCKS - 1]].to_vec();
        grown.extend_from_slice(&tail);
        let (read, damage) = self::read(&grown).unwrap();
        assert_eq!(read, exchanges);
        assert_eq!(damage.bad_bytes, tail.len() as u64);
    }
}

#[test]
fn what_cannot_be_a_trace_is_named() {
    let error = |bytes: &[u8]| read(bytes).unwrap_err();
    let foreign = error(b"{\"timestamp\": 0, \"input_length\": 6758}\n");
    assert!(
        foreign
            .to_string()
            .ends_with("not a reenact trace: it looks like JSON")
    );
    assert!(foreign.hint().unwrap().contains("reenact import"));
    assert!(matches!(error(b""), TraceError::Empty { .. }));
    assert!(matches!(
        error(b"\x89RNT\n\x1a\n\0\0\0\0\0\0\0\0\0"),
        TraceError::LineEnds { .. }
    ));
    let (mut bytes, ..) = small();
    bytes[8] = 2;
    assert!(
        error(&bytes)
            .to_string()
            .contains("offset 8: written in trace format 2")
    );
    let missing = Trace::open(&[PathBuf::from("/nowhere/a.rt")])
        .err()
        .unwrap();
    assert!(missing.to_string().starts_with("/nowhere/a.rt: "));
    assert!(missing.hint().is_some());
}

#[test]
fn blocks_of_kinds_to_come_are_skipped() {
    let (bytes, exchanges, ends) = small();
    let header_len = header(1).encode().len();
    let mut frame = Frame::decode(bytes[header_len..][..FRAME].first_chunk().unwrap()).unwrap();
    frame.kind = 77;
    let mut later = bytes[..ends[0]].to_vec();
    later.extend_from_slice(&frame.encode());
    later.extend_from_slice(&bytes[header_len + FRAME..ends[0]]);
    later.extend_from_slice(&bytes[ends[0]..ends[BLOCKS - 1]]);
    let (read, damage) = self::read(&later).unwrap();
    assert_eq!(read, exchanges);
    assert_eq!(damage.bad_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// A file made to do harm has the right checksums.
    #[test]
    fn a_block_of_any_content_is_read_or_refused(
        exchanges in prop::collection::vec(super::any::exchange(), 1..6),
        wounds in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        count in prop_oneof![Just(None), (0..70_000_u32).prop_map(Some)],
    ) {
        let spec = Some(BlockSpec::LIVE);
        let entry = |(number, exchange)| Entry {
            exchange,
            opening: (number % 2 == 0).then_some(number),
        };
        let mut entries: Vec<_> = (0..).zip(exchanges).map(entry).collect();
        let mut bytes = Vec::new();
        let mut encoder = BlockEncoder::new(spec).unwrap();
        let frame = encoder.encode(KIND_EXCHANGES, &mut entries, Beside { totals: &Totals::default(), models: &[], gone: &[] }, &mut bytes).unwrap();
        let mut decoder = BlockDecoder::new(Terms { spec, seal: None }).unwrap();
        let mut document = decoder.unpack(&frame, &bytes[FRAME..]).unwrap();
        for (place, byte) in wounds {
            let place = place.index(document.len());
            document[place] = byte;
        }
        let payload = zstd::bulk::compress(&document, 1).unwrap();
        let forged = Frame {
            payload_crc: crc32c::crc32c(&payload),
            payload_len: payload.len() as u32,
            count: count.unwrap_or(frame.count),
            ..frame
        };
        // Only that it comes back is asked.
        drop(decoder.decode(&forged, &payload));
        drop(decoder.totals(&forged, &payload));
        drop(decoder.openings(&forged, &payload));
        drop(Footer::decode(&forged, &document));
    }
}

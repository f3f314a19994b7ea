//! The end of a finished file: the index and the accounts, and a trailer by which to find them from the end.

use serde::{Deserialize, Serialize};

use super::frame::{CODEC_ZSTD, FRAME, Frame, IdLimits, KIND_FOOTER, MAX_BLOCK_BYTES, take};
use super::totals::Totals;
use super::varint::{Malformed, Numbers, put, put_residual};

/// Bytes of the trailer.
pub(super) const TRAILER: usize = 16;

/// The last bytes of a finished file.
const END: [u8; 4] = *b"RNTE";

/// Where a block of exchanges lies, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockEntry {
    pub(super) offset: u64,
    pub(super) count: u32,
    pub(super) first_at_us: u64,
    pub(super) last_at_us: u64,
}

/// What the footer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Footer {
    pub(super) blocks: Vec<BlockEntry>,
    pub(super) totals: Totals,
    pub(super) ids: IdLimits,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Document {
    blocks: u64,
    #[serde(with = "serde_bytes")]
    offsets: Vec<u8>,
    #[serde(with = "serde_bytes")]
    counts: Vec<u8>,
    #[serde(with = "serde_bytes")]
    first_at: Vec<u8>,
    #[serde(with = "serde_bytes")]
    spans: Vec<u8>,
    totals: Totals,
}

impl Footer {
    /// Frame, payload and trailer of a footer that will stand at `offset`.
    pub(super) fn encode(&self, offset: u64) -> std::io::Result<Vec<u8>> {
        let mut document = Document {
            blocks: self.blocks.len() as u64,
            totals: self.totals.clone(),
            ..Document::default()
        };
        let (mut before, mut first_at_us) = (0, 0);
        for block in &self.blocks {
            put(&mut document.offsets, block.offset.wrapping_sub(before));
            put(&mut document.counts, block.count.into());
            put_residual(&mut document.first_at, block.first_at_us, first_at_us);
            put(
                &mut document.spans,
                block.last_at_us.wrapping_sub(block.first_at_us),
            );
            (before, first_at_us) = (block.offset, block.first_at_us);
        }
        let document = rmp_serde::to_vec_named(&document).map_err(std::io::Error::other)?;
        let payload = zstd::bulk::compress(&document, zstd::DEFAULT_COMPRESSION_LEVEL)?;
        let length = |len: usize| {
            u32::try_from(len)
                .ok()
                .filter(|&len| len <= MAX_BLOCK_BYTES)
                .ok_or_else(|| std::io::Error::other("the index is over 64 MiB"))
        };
        let at = |pick: fn(&BlockEntry) -> u64| self.blocks.iter().map(pick);
        let frame = Frame {
            kind: KIND_FOOTER,
            codec: CODEC_ZSTD,
            payload_len: length(payload.len())?,
            unpacked_len: length(document.len())?,
            count: 0,
            ids: self.ids,
            first_at_us: at(|block| block.first_at_us).min().unwrap_or(0),
            last_at_us: at(|block| block.last_at_us).max().unwrap_or(0),
            payload_crc: crc32c::crc32c(&payload),
        };
        let mut out = Vec::with_capacity(FRAME + payload.len() + TRAILER);
        out.extend_from_slice(&frame.encode());
        out.extend_from_slice(&payload);
        out.extend_from_slice(&trailer(offset));
        Ok(out)
    }

    /// Reads a footer's document.
    pub(super) fn decode(frame: &Frame, document: &[u8]) -> Result<Self, Malformed> {
        let document: Document =
            rmp_serde::from_slice(document).map_err(|_| Malformed("its document does not read"))?;
        let mut offsets = Numbers::new(&document.offsets);
        let mut counts = Numbers::new(&document.counts);
        let mut first_ats = Numbers::new(&document.first_at);
        let mut spans = Numbers::new(&document.spans);
        let count = usize::try_from(document.blocks)
            .ok()
            .filter(|&count| count <= document.offsets.len())
            .ok_or(Malformed("its index ends early"))?;
        let mut blocks = Vec::with_capacity(count);
        let (mut offset, mut first_at_us) = (0_u64, 0);
        for _ in 0..count {
            offset = offset.wrapping_add(offsets.next()?);
            first_at_us = first_ats.residual(first_at_us)?;
            blocks.push(BlockEntry {
                offset,
                count: counts.next_as()?,
                first_at_us,
                last_at_us: first_at_us
                    .checked_add(spans.next()?)
                    .ok_or(Malformed("an arrival is out of range"))?,
            });
        }
        Ok(Self {
            blocks,
            totals: document.totals,
            ids: frame.ids,
        })
    }
}

fn trailer(offset: u64) -> [u8; TRAILER] {
    let mut out = Vec::with_capacity(TRAILER);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out.extend_from_slice(&END);
    // 8 + 4 + 4 = TRAILER, so this always fits.
    out.first_chunk().copied().unwrap_or([0; TRAILER])
}

/// Where the footer stands, if these are a trailer.
pub(super) fn footer_offset(bytes: &[u8; TRAILER]) -> Option<u64> {
    let offset = take::<8>(&mut bytes.as_slice()).map(u64::from_le_bytes)?;
    (trailer(offset) == *bytes).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_blocks_in_any_order_of_time_reads_back() {
        let block = |offset, first_at_us, last_at_us| BlockEntry {
            offset,
            count: 7,
            first_at_us,
            last_at_us,
        };
        let footer = Footer {
            blocks: vec![
                block(90, 500, 900),
                block(4000, 0, 3),
                block(4200, 800, u64::MAX),
            ],
            totals: Totals {
                seen: 9,
                ..Totals::default()
            },
            ids: IdLimits {
                blocks: 3,
                ..IdLimits::default()
            },
        };
        let bytes = footer.encode(5000).unwrap();
        let frame = Frame::decode(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!((frame.first_at_us, frame.last_at_us), (0, u64::MAX));
        let payload = &bytes[FRAME..bytes.len() - TRAILER];
        let document = zstd::bulk::decompress(payload, frame.unpacked_len as usize).unwrap();
        assert_eq!(Footer::decode(&frame, &document), Ok(footer));
        assert_eq!(footer_offset(bytes.last_chunk().unwrap()), Some(5000));
    }

    #[test]
    fn a_flipped_trailer_is_none() {
        let good = trailer(123);
        for bit in 0..TRAILER * 8 {
            let mut flipped = good;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(footer_offset(&flipped), None, "bit {bit}");
        }
    }
}

//! Finds the blocks of a file that has no index, because its recorder crashed or still runs, or because the end is damaged.

use std::io;

use super::footer::{BlockEntry, TRAILER, footer_offset};
use super::frame::{FRAME, Frame, IdLimits, KIND_EXCHANGES, KIND_FOOTER, KIND_OPENINGS, SYNC};
use super::store::Bytes;

/// What a scan found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) blocks: Vec<BlockEntry>,
    /// Blocks of exchanges in flight.
    pub(super) openings: Vec<BlockEntry>,
    pub(super) ids: IdLimits,
    /// Stretches that are no block, or a torn one.
    pub(super) bad_blocks: u64,
    pub(super) bad_bytes: u64,
    /// Exchanges of torn blocks whose frame can be read.
    pub(super) lost_exchanges: u64,
    /// Where the bad bytes lie.
    pub(super) wounds: Vec<Wound>,
    /// Where blocks of all other kinds lie, but for footers.
    pub(super) others: Vec<u64>,
    /// Where footers lie.
    pub(super) footers: Vec<u64>,
}

/// A stretch of a file that is no part of a whole block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wound {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Exchanges known to have been there.
    pub(super) lost_exchanges: u64,
}

impl Scan {
    fn wound(&mut self, offset: u64, bytes: u64, lost_exchanges: u64) {
        self.bad_bytes += bytes;
        self.lost_exchanges += lost_exchanges;
        self.wounds.push(Wound {
            offset,
            bytes,
            lost_exchanges,
        });
    }
}

/// Hops from frame to frame; where there is none, looks for the next. Payloads are not read: their checksums are their
/// readers' business.
pub(super) fn scan(file: &Bytes, start: u64, len: u64) -> io::Result<Scan> {
    let mut found = Scan::default();
    let mut position = start;
    // Where the last block ended, while nothing else came after it.
    let mut block_end = None;
    while position < len {
        match frame_at(file, position, len)? {
            Some(frame) if position.saturating_add(frame.len()) <= len => {
                found.ids = found.ids.max(frame.ids);
                let entry = BlockEntry {
                    offset: position,
                    count: frame.count,
                    first_at_us: frame.first_at_us,
                    last_at_us: frame.last_at_us,
                };
                match frame.kind {
                    KIND_EXCHANGES => found.blocks.push(entry),
                    KIND_FOOTER => {}
                    kind => {
                        if kind == KIND_OPENINGS {
                            found.openings.push(entry);
                        }
                        found.others.push(position);
                    }
                }
                position += frame.len();
                block_end = (frame.kind == KIND_EXCHANGES).then_some(position);
                if frame.kind == KIND_FOOTER {
                    found.footers.push(position - frame.len());
                    position = after_trailer(file, position, len, &mut found)?;
                }
            }
            torn => {
                let torn = torn.filter(|frame| frame.kind == KIND_EXCHANGES);
                let before = found
                    .blocks
                    .last()
                    .copied()
                    .filter(|_| torn.is_none() && block_end.take() == Some(position));
                position = step_over(file, position, torn, before, len, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// Steps over bytes that are no whole block, and counts them.
fn step_over(
    file: &Bytes,
    position: u64,
    torn: Option<Frame>,
    before: Option<BlockEntry>,
    len: u64,
    found: &mut Scan,
) -> io::Result<u64> {
    found.bad_blocks += 1;
    // Where bytes are missing, the hop from the block before led too far: the next block may begin within it.
    if let Some(before) = before {
        let next = next_frame(file, before.offset + FRAME as u64, len)?;
        if next < position {
            found.blocks.pop();
            found.wound(before.offset, next - before.offset, before.count.into());
            return Ok(next);
        }
    }
    let lost = torn.map_or(0, |frame| u64::from(frame.count));
    let next = next_frame(file, position + 1, len)?;
    found.wound(position, next - position, lost);
    Ok(next)
}

/// Steps over what stands behind a footer: its trailer, or what is left of one.
fn after_trailer(file: &Bytes, position: u64, len: u64, found: &mut Scan) -> io::Result<u64> {
    let mut trailer = [0; TRAILER];
    let left = len - position;
    if left < TRAILER as u64 {
        found.wound(position, left, 0);
        return Ok(len);
    }
    file.read_exact_at(&mut trailer, position)?;
    Ok(match footer_offset(&trailer) {
        Some(_) => position + TRAILER as u64,
        None => position,
    })
}

fn frame_at(file: &Bytes, position: u64, len: u64) -> io::Result<Option<Frame>> {
    if len - position < FRAME as u64 {
        return Ok(None);
    }
    let mut bytes = [0; FRAME];
    match file.read_exact_at(&mut bytes, position) {
        Ok(()) => Ok(Frame::decode(&bytes)),
        // It was cut while we look at it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the next whole block begins, or the end of the file.
fn next_frame(file: &Bytes, mut from: u64, len: u64) -> io::Result<u64> {
    const CHUNK: usize = 64 << 10;
    let mut chunk = vec![0; CHUNK];
    while from < len {
        let take = usize::try_from(len - from).unwrap_or(CHUNK).min(CHUNK);
        let Some(window) = chunk.get_mut(..take) else {
            break;
        };
        match file.read_exact_at(window, from) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        for hit in memchr::memmem::find_iter(window, &SYNC) {
            let position = from + hit as u64;
            if let Some(frame) = frame_at(file, position, len)?
                && position.saturating_add(frame.len()) <= len
            {
                return Ok(position);
            }
        }
        // A mark may lie across the edge.
        let step = if take < CHUNK {
            take
        } else {
            take - (SYNC.len() - 1)
        };
        from += step as u64;
    }
    Ok(len)
}

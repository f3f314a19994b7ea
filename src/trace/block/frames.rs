//! The columns of a WebSocket's frames, which only an exchange with the flag FRAMES has.

use super::budget::Budget;
use super::columns::{ColumnNumbers, Columns};
use super::flags;
use crate::shape::{FrameShape, FrameSizes, GapSketch, GapTrail};
use crate::trace::varint::{Malformed, Numbers, put, put_residual};

pub(super) fn write(out: &mut Columns, frames: &FrameShape) {
    if let Some(first_us) = frames.first_sent_us {
        put(&mut out.first_sent, first_us);
    }
    let gaps = frames.sent_gaps.buckets();
    put(&mut out.sent_gaps, gaps.len() as u64);
    write_counts(&mut out.sent_gap_steps, &mut out.sent_gap_counts, gaps);
    let longest_us = frames.sent_gaps.longest_us();
    put_residual(&mut out.sent_longest, longest_us, top_us(gaps));
    let trail = frames.sent_trail.buckets();
    put(&mut out.sent_trail, trail.len() as u64);
    let mut before = 0;
    for &bucket in trail {
        let bucket = u64::from(bucket);
        put_residual(&mut out.sent_trail_steps, bucket, before);
        before = bucket;
    }
    let sizes = frames.came_sizes.buckets();
    put(&mut out.came_sizes, sizes.len() as u64);
    write_counts(&mut out.came_size_steps, &mut out.came_size_counts, sizes);
}

pub(super) fn read(
    columns: &mut ColumnNumbers<'_>,
    present: u64,
    budget: &mut Budget,
) -> Result<FrameShape, Malformed> {
    let first_sent_us = match present & flags::FIRST_SENT {
        0 => None,
        _ => Some(columns.first_sent.next()?),
    };
    let len = budget.take(columns.sent_gaps.next()?)?;
    let gaps = read_counts(
        &mut columns.sent_gap_steps,
        &mut columns.sent_gap_counts,
        len,
    )?;
    let longest_us = columns.sent_longest.residual(top_us(&gaps))?;
    let sent_gaps = GapSketch::from_parts(gaps, longest_us).map_err(|_| OUT_OF_RANGE)?;
    let len = budget.take(columns.sent_trail.next()?)?;
    let mut trail = Vec::with_capacity(len);
    let mut before = 0;
    for _ in 0..len {
        let bucket: u16 = columns.sent_trail_steps.residual_as(before)?;
        trail.push(bucket);
        before = bucket.into();
    }
    let len = budget.take(columns.came_sizes.next()?)?;
    let sizes = read_counts(
        &mut columns.came_size_steps,
        &mut columns.came_size_counts,
        len,
    )?;
    Ok(FrameShape {
        first_sent_us,
        sent_gaps,
        sent_trail: GapTrail::from_buckets(trail).ok_or(OUT_OF_RANGE)?,
        came_sizes: FrameSizes::from_buckets(sizes).map_err(|_| OUT_OF_RANGE)?,
    })
}

const OUT_OF_RANGE: Malformed = Malformed("a bucket of frames is out of range");

/// Buckets rise and counts are above 0, so that neither step nor count is lost.
fn write_counts(steps: &mut Vec<u8>, counts: &mut Vec<u8>, buckets: &[(u16, u32)]) {
    let mut before = 0;
    for &(bucket, count) in buckets {
        put(steps, u64::from(bucket).saturating_sub(before));
        put(counts, u64::from(count).saturating_sub(1));
        before = bucket.into();
    }
}

fn read_counts(
    steps: &mut Numbers<'_>,
    counts: &mut Numbers<'_>,
    len: usize,
) -> Result<Vec<(u16, u32)>, Malformed> {
    let mut buckets = Vec::with_capacity(len);
    let mut bucket = 0_u64;
    for _ in 0..len {
        bucket = bucket.saturating_add(steps.next()?);
        let count = counts.next()?.saturating_add(1);
        buckets.push((
            u16::try_from(bucket).map_err(|_| OUT_OF_RANGE)?,
            u32::try_from(count).map_err(|_| OUT_OF_RANGE)?,
        ));
    }
    Ok(buckets)
}

/// The middle of the highest bucket of gaps.
fn top_us(gaps: &[(u16, u32)]) -> u64 {
    gaps.last()
        .map_or(0, |&(bucket, _)| GapSketch::middle_us(bucket))
}

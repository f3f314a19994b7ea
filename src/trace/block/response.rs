//! The columns of a response, and the outcome. Moments are written as steps from the moment before.

use super::budget::Budget;
use super::codes::{Coded, outcome_code, outcome_of};
use super::coding::Coding;
use super::columns::{ColumnNumbers, Columns, context_of};
use super::flags;
use super::ratio::Ratio;
use crate::shape::{
    Exchange, FinishReason, GapSketch, GapTrail, MediaType, Outcome, ResponseShape, TokenCount,
    TokenSource,
};
use crate::trace::varint::{Malformed, put, put_residual};

/// What one exchange's columns are predicted from, of the exchange before it in the block.
#[derive(Debug)]
pub(super) struct Before {
    coding: Coding,
    first_bucket: u64,
    trail_base: u64,
    /// In format 1.0 of the last one alone.
    last_bytes_per_event: u64,
    bytes_per_event: Ratio,
}

impl Before {
    pub(super) fn of(coding: Coding) -> Self {
        Self {
            coding,
            first_bucket: 0,
            trail_base: 0,
            last_bytes_per_event: 0,
            bytes_per_event: Ratio::default(),
        }
    }

    /// About the bytes of an answer of so many events.
    fn expected_bytes(&self, response: &ResponseShape) -> u64 {
        match self.coding {
            Coding::Plain => self
                .last_bytes_per_event
                .wrapping_mul(response.events.into()),
            Coding::Predicted => self.bytes_per_event.expected(response.events.into()),
        }
    }

    fn learn_bytes(&mut self, response: &ResponseShape) {
        let events = u64::from(response.events);
        if let Some(bytes_per_event) = response.bytes.checked_div(events) {
            self.last_bytes_per_event = bytes_per_event;
            self.bytes_per_event.learn(events, response.bytes);
        }
    }
}

pub(super) fn write(out: &mut Columns, exchange: &Exchange, before: &mut Before) {
    let response = &exchange.response;
    put(&mut out.status, response.status.into());
    put(&mut out.response_media_type, response.media_type.code());
    let mut moment = 0;
    for (column, value) in [
        (&mut out.headers, response.headers_us),
        (&mut out.first_byte, response.first_byte_us),
        (&mut out.first_token, response.first_token_us),
    ] {
        if let Some(value) = value {
            put_residual(column, value, moment);
            moment = value;
        }
    }
    if let Some(answer) = response.first_answer_us {
        put_residual(&mut out.first_answer, answer, moment);
    }
    write_gaps(out, &response.gaps, before);
    if let Some(last) = response.last_token_us {
        put_residual(
            &mut out.last_token,
            last,
            moment.wrapping_add(sum(&response.gaps)),
        );
        moment = last;
    }
    if let Some(end) = response.end_us {
        put_residual(&mut out.end, end, moment);
        moment = end;
    }
    if let Some(wait_us) = response.reader_wait_us {
        put(&mut out.reader_wait, wait_us);
    }
    put(&mut out.outcome, outcome_code(exchange.outcome));
    if let Some(at_us) = exchange.outcome.at_us() {
        put_residual(&mut out.outcome_at, at_us, moment);
    }
    let token_events = u64::from(response.token_events);
    if let Some(tokens) = response.output_tokens {
        put_residual(&mut out.output_tokens, tokens.count.into(), token_events);
        put(&mut out.output_tokens_source, tokens.source.code());
    }
    if let Some(cached) = response.cached_tokens {
        put(&mut out.cached_tokens, cached.into());
    }
    if let Some(reasoning) = response.reasoning_tokens {
        put(&mut out.reasoning_tokens, reasoning.into());
    }
    if let Some(finish) = response.finish {
        put(&mut out.finish, finish.code());
    }
    put(&mut out.tool_calls, response.tool_calls.into());
    put_residual(
        &mut out.response_bytes,
        response.bytes,
        before.expected_bytes(response),
    );
    before.learn_bytes(response);
    put_residual(&mut out.events, response.events.into(), token_events);
    put_residual(
        &mut out.token_events,
        token_events,
        expected_events(response.gaps.count()),
    );
    write_trail(out, &response.trail, before);
}

fn write_trail(out: &mut Columns, trail: &GapTrail, before: &mut Before) {
    let buckets = trail.buckets();
    put(&mut out.trail, buckets.len() as u64);
    if buckets.is_empty() {
        return;
    }
    let mut sorted = buckets.to_vec();
    let (_, &mut base, _) = sorted.select_nth_unstable(buckets.len() / 2);
    let base = u64::from(base);
    put_residual(&mut out.trail_base, base, before.trail_base);
    before.trail_base = base;
    for &bucket in buckets {
        put_residual(&mut out.trail_steps, bucket.into(), base);
    }
}

fn read_trail(
    columns: &mut ColumnNumbers<'_>,
    budget: &mut Budget,
    before: &mut Before,
) -> Result<GapTrail, Malformed> {
    let len = budget.take(columns.trail.next()?)?;
    if len == 0 {
        return Ok(GapTrail::default());
    }
    before.trail_base = columns.trail_base.residual(before.trail_base)?;
    let buckets = columns.trail_steps.residuals(before.trail_base, len)?;
    GapTrail::from_buckets(buckets).ok_or(Malformed("a gap bucket is out of range"))
}

fn write_gaps(out: &mut Columns, gaps: &GapSketch, before: &mut Before) {
    let buckets = gaps.buckets();
    put(&mut out.gap_buckets, buckets.len() as u64);
    let mut previous = None;
    for &(bucket, count) in buckets {
        let bucket = u64::from(bucket);
        // Buckets rise and counts are above 0, so neither step nor count is lost.
        let known = previous.unwrap_or(bucket);
        let empty = match previous {
            None => {
                put_residual(&mut out.gap_first, bucket, before.first_bucket);
                before.first_bucket = bucket;
                0
            }
            Some(previous) => bucket.saturating_sub(previous + 1),
        };
        previous = Some(bucket);
        let count = u64::from(count).saturating_sub(1);
        if let Some(counts) = out.gap_counts_in.get_mut(context_of(known)) {
            put(counts, count << 2 | empty.min(FAR));
        }
        if empty >= FAR {
            put(&mut out.gap_far, empty - FAR);
        }
    }
    put_residual(&mut out.gap_longest, gaps.longest_us(), top(gaps));
}

/// Fills a response.
pub(super) fn read(
    columns: &mut ColumnNumbers<'_>,
    present: u64,
    budget: &mut Budget,
    before: &mut Before,
    response: &mut ResponseShape,
) -> Result<Outcome, Malformed> {
    let has = |flag| present & flag != 0;
    response.status = columns.status.next_as()?;
    response.media_type = MediaType::from_code(columns.response_media_type.next()?);
    let mut moment = 0;
    for (flag, column, field) in [
        (
            flags::HEADERS,
            &mut columns.headers,
            &mut response.headers_us,
        ),
        (
            flags::FIRST_BYTE,
            &mut columns.first_byte,
            &mut response.first_byte_us,
        ),
        (
            flags::FIRST_TOKEN,
            &mut columns.first_token,
            &mut response.first_token_us,
        ),
    ] {
        if has(flag) {
            moment = column.residual(moment)?;
            *field = Some(moment);
        }
    }
    if has(flags::FIRST_ANSWER) {
        response.first_answer_us = Some(columns.first_answer.residual(moment)?);
    }
    let (gaps, gap_count, gap_sum_us) = read_gaps(columns, budget, before)?;
    response.gaps = gaps;
    if has(flags::LAST_TOKEN) {
        let expected = moment.wrapping_add(gap_sum_us);
        moment = columns.last_token.residual(expected)?;
        response.last_token_us = Some(moment);
    }
    if has(flags::END) {
        moment = columns.end.residual(moment)?;
        response.end_us = Some(moment);
    }
    if has(flags::READER_WAIT) {
        response.reader_wait_us = Some(columns.reader_wait.next()?);
    }
    let outcome = outcome_of(columns.outcome.next()?, || {
        columns.outcome_at.residual(moment)
    })?;
    response.token_events = match before.coding {
        Coding::Plain => columns.token_events.next_as()?,
        Coding::Predicted => {
            let expected = expected_events(gap_count);
            columns.token_events.residual_as(expected)?
        }
    };
    let token_events = u64::from(response.token_events);
    if has(flags::OUTPUT_TOKENS) {
        response.output_tokens = Some(TokenCount {
            count: columns.output_tokens.residual_as(token_events)?,
            source: TokenSource::from_code(columns.output_tokens_source.next()?),
        });
    }
    if has(flags::CACHED_TOKENS) {
        response.cached_tokens = Some(columns.cached_tokens.next_as()?);
    }
    if has(flags::REASONING_TOKENS) {
        response.reasoning_tokens = Some(columns.reasoning_tokens.next_as()?);
    }
    if has(flags::FINISH) {
        response.finish = Some(FinishReason::from_code(columns.finish.next()?));
    }
    response.tool_calls = columns.tool_calls.next_as()?;
    response.events = columns.events.residual_as(token_events)?;
    let expected = before.expected_bytes(response);
    response.bytes = columns.response_bytes.residual(expected)?;
    before.learn_bytes(response);
    response.trail = read_trail(columns, budget, before)?;
    Ok(outcome)
}

/// The gaps, how many they are, and about how long all together (see [`sum`]).
fn read_gaps(
    columns: &mut ColumnNumbers<'_>,
    budget: &mut Budget,
    before: &mut Before,
) -> Result<(GapSketch, u64, u64), Malformed> {
    let len = budget.take(columns.gap_buckets.next()?)?;
    let mut buckets = Vec::with_capacity(len);
    let (mut all, mut sum_us, mut top_us) = (0, 0_u64, 0);
    if len > 0 {
        before.first_bucket = columns.gap_first.residual(before.first_bucket)?;
    }
    // The context of the next bucket's count, and the lowest that the next bucket can be.
    let (mut known, mut least) = (before.first_bucket, before.first_bucket);
    for place in 0..len {
        let counts = columns.gap_counts_in.get_mut(context_of(known));
        let code = match (before.coding, counts) {
            (Coding::Predicted, Some(counts)) => counts.next()?,
            _ => columns.gap_counts.next()?,
        };
        // Nothing is before the first.
        if place > 0 {
            let empty = code & FAR;
            least = least.saturating_add(empty);
            if empty == FAR {
                least = least.saturating_add(columns.gap_far.next()?);
            }
        }
        let bucket = u16::try_from(least).map_err(|_| Malformed("a gap bucket is out of range"))?;
        let count =
            u32::try_from((code >> 2) + 1).map_err(|_| Malformed("a gap count is out of range"))?;
        buckets.push((bucket, count));
        all += u64::from(count);
        top_us = GapSketch::middle_us(bucket);
        sum_us = sum_us.wrapping_add(top_us.wrapping_mul(count.into()));
        known = least;
        least += 1;
    }
    let longest_us = columns.gap_longest.residual(top_us)?;
    let gaps = GapSketch::from_parts(buckets, longest_us)
        .map_err(|_| Malformed("a gap bucket is out of range"))?;
    Ok((gaps, all, sum_us))
}

/// A bucket's code holds its count, less one, and in its lowest two bits the empty buckets before it; this many stand for
/// more, which has a column of its own.
const FAR: u64 = 3;

/// The token events of an answer with so many gaps between them.
fn expected_events(gaps: u64) -> u64 {
    match gaps {
        0 => 0,
        gaps => gaps.wrapping_add(1),
    }
}

/// About the time from the first token to the last: what of the latter's moment can be guessed.
fn sum(gaps: &GapSketch) -> u64 {
    gaps.values().fold(0, |sum, (gap_us, count)| {
        sum.wrapping_add(gap_us.wrapping_mul(count.into()))
    })
}

/// The middle of the highest bucket.
fn top(gaps: &GapSketch) -> u64 {
    gaps.buckets()
        .last()
        .map_or(0, |&(bucket, _)| GapSketch::middle_us(bucket))
}

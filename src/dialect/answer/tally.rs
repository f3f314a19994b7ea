use serde::Deserialize;

use crate::anonymise::Private;
use crate::dialect::ResponseSight;
use crate::dialect::json::{self, Count, Fault};
use crate::dialect::memory::tells_of_memory;
use crate::shape::{FinishReason, TokenCount, TokenSource};

/// Adds up what one answer shows, event by event.
#[derive(Default)]
pub(in crate::dialect) struct Tally {
    pub(in crate::dialect) sight: ResponseSight,
    keep_gaps: bool,
    /// Output tokens as the server said, cumulative where it says so more than once.
    usage_output: Option<u32>,
    /// Parts of the prompt that a server counts one by one.
    prompt_parts: [Option<u32>; 3],
    /// The same of the answer.
    output_parts: [Option<u32>; 2],
    /// Choices of which a piece came and no reason why they stopped; a bit for each of the first 64.
    open_choices: u64,
    /// A choice has told why it stopped.
    ended_choices: bool,
    last_message_us: Option<u64>,
}

/// What one event carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Carried {
    /// A piece of the answer.
    Answer,
    /// A piece of the reasoning before it.
    Reasoning,
}

impl Tally {
    pub(in crate::dialect) fn new(keep_gaps: bool) -> Self {
        Self {
            keep_gaps,
            ..Self::default()
        }
    }

    /// Bytes that it holds beyond its own: the gaps, of which a sketch has at most 1,920 kinds.
    pub(in crate::dialect) fn held_bytes(&self) -> usize {
        size_of_val(self.sight.gaps.buckets())
            + self.sight.all_gaps_us.capacity() * size_of::<u32>()
    }

    /// Reads a piece of the answer; one that is not of the form is noted.
    pub(in crate::dialect) fn read<'a, T: Deserialize<'a>>(&mut self, data: &'a [u8]) -> Option<T> {
        let read = json::read(data).ok();
        self.sight.unparsable |= read.is_none();
        read
    }

    /// A token event at `at_us`.
    pub(in crate::dialect) fn token(&mut self, at_us: u64, carried: Carried) {
        let sight = &mut self.sight;
        sight.token_events = sight.token_events.saturating_add(1);
        if let Some(last) = sight.last_token_us.replace(at_us) {
            self.gap(last, at_us);
        } else {
            sight.first_token_us = Some(at_us);
        }
        if carried == Carried::Answer {
            self.sight.first_answer_us.get_or_insert(at_us);
        }
    }

    fn gap(&mut self, from_us: u64, to_us: u64) {
        let gap = to_us.saturating_sub(from_us);
        self.sight.gaps.record(gap);
        if self.keep_gaps {
            let gap = u32::try_from(gap).unwrap_or(u32::MAX);
            self.sight.all_gaps_us.push(gap);
        }
    }

    /// Text of the answer, reasoning left out.
    pub(in crate::dialect) fn said(&mut self, bytes: usize) {
        self.sight.answer_bytes = self.sight.answer_bytes.saturating_add(bytes as u64);
    }

    /// A message of which nothing is known but its time, at `at_us`.
    pub(in crate::dialect) fn message(&mut self, at_us: u64) {
        let sight = &mut self.sight;
        sight.events = sight.events.saturating_add(1);
        if let Some(last) = self.last_message_us.replace(at_us) {
            self.gap(last, at_us);
        }
    }

    /// What the server calls the answer.
    pub(in crate::dialect) fn named(&mut self, name: &str) {
        self.sight.answer_name = Some(Private::new(name));
    }

    /// The first reason given counts.
    pub(in crate::dialect) fn finish_reason(&mut self, reason: FinishReason) {
        self.sight.finish.get_or_insert(reason);
    }

    /// A piece of a choice came, perhaps its last.
    pub(in crate::dialect) fn choice(&mut self, index: u32, ended: bool) {
        let bit = 1_u64.checked_shl(index).unwrap_or(0);
        match ended {
            true => self.open_choices &= !bit,
            false => self.open_choices |= bit,
        }
        self.ended_choices |= ended;
    }

    /// Of a server that says why it stops, of each choice (the first 64): whether it has.
    pub(in crate::dialect) fn all_choices_ended(&self) -> bool {
        self.ended_choices && self.open_choices == 0
    }

    pub(in crate::dialect) fn tool_calls(&mut self, count: u32) {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.sight.tool_calls = self.sight.tool_calls.saturating_add(count);
    }

    /// What the server says of its counts; the last word counts.
    pub(in crate::dialect) fn prompt_tokens(&mut self, count: Count) {
        self.sight.prompt_tokens = count.0.or(self.sight.prompt_tokens);
    }

    /// The prompt is the sum of its parts.
    pub(in crate::dialect) fn prompt_parts(&mut self, parts: [Count; 3]) {
        let whole = sum(&mut self.prompt_parts, parts);
        self.prompt_tokens(whole);
    }

    pub(in crate::dialect) fn output_tokens(&mut self, count: Count) {
        self.usage_output = count.0.or(self.usage_output);
    }

    /// The answer is the sum of its parts.
    pub(in crate::dialect) fn output_parts(&mut self, parts: [Count; 2]) {
        let whole = sum(&mut self.output_parts, parts);
        self.output_tokens(whole);
    }

    pub(in crate::dialect) fn cached_tokens(&mut self, count: Count) {
        self.sight.cached_tokens = count.0.or(self.sight.cached_tokens);
    }

    pub(in crate::dialect) fn reasoning_tokens(&mut self, count: Count) {
        self.sight.reasoning_tokens = count.0.or(self.sight.reasoning_tokens);
    }

    /// An error inside the answer, and what it says: its own words, and none of the answer's.
    pub(in crate::dialect) fn error(&mut self, words: &[u8]) {
        self.sight.error = true;
        self.sight.out_of_memory |= tells_of_memory(words);
        self.finish_reason(FinishReason::Error);
    }

    /// The same of a field that holds the error, where there is one.
    pub(in crate::dialect) fn fault(&mut self, fault: Fault<'_>) {
        if let Some(words) = fault.0 {
            self.error(words.as_bytes());
        }
    }

    /// What was seen: output tokens as the server counted, else as many as there were token events.
    pub(in crate::dialect) fn close(mut self) -> ResponseSight {
        let events = self.sight.token_events;
        self.sight.output_tokens = match self.usage_output {
            Some(count) => Some(TokenCount {
                count,
                source: TokenSource::Usage,
            }),
            None if events > 0 => Some(TokenCount {
                count: events,
                source: TokenSource::Counted,
            }),
            None => None,
        };
        self.sight
    }
}

/// Of what is told in parts, perhaps again and again as it grows: the sum, where any has been told. A part that is not told again
/// stays as it was.
fn sum<const N: usize>(held: &mut [Option<u32>; N], told: [Count; N]) -> Count {
    for (held, told) in held.iter_mut().zip(told) {
        *held = told.0.or(*held);
    }
    let parts = held.iter().flatten().copied();
    Count(parts.reduce(u32::saturating_add))
}

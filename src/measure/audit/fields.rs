use std::hash::BuildHasher;

use serde::Serialize;

use super::tally::Tally;
use super::{FIELD_VALUES, HASHER};
use crate::shape::{Exchange, MediaType};

/// What one field tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldAudit {
    /// The field.
    pub name: &'static str,
    /// What somebody could take it for.
    pub tells: &'static str,
    /// Exchanges that have it.
    pub present: u64,
    /// Different values.
    pub distinct: u64,
    /// Bits that a value tells on average.
    pub entropy_bits: f64,
    /// Exchanges whose value nobody else has.
    pub unique: u64,
    /// The share that they are of those that have the field.
    pub unique_share: f64,
    /// Whether all values could be told apart; else the figures err towards more risk.
    pub complete: bool,
}

/// A field: its name, what it tells, and its value.
type Field = (&'static str, &'static str, fn(&Exchange) -> Option<u64>);

const FIELDS: &[Field] = &[
    ("endpoint", "which API was called", |e| {
        Some(HASHER.hash_one(e.endpoint))
    }),
    (
        "model",
        "which model, even under a pseudonym: a model that one team uses is that team",
        |e| e.model.map(|model| model.0.into()),
    ),
    (
        "media types",
        "what an application speaks that no dialect reads: few speak alike",
        |e| {
            let told = [e.request.media_type, e.response.media_type];
            (told != [MediaType::Unsaid; 2]).then(|| HASHER.hash_one(told))
        },
    ),
    ("status", "what went wrong", |e| {
        Some(e.response.status.into())
    }),
    (
        "new connection",
        "whether its client had just come or was there before; joins with a log of connections",
        |e| e.new_connection.map(Into::into),
    ),
    // Imported traces have no messages or bytes: what is 0 then says nothing of anybody.
    ("messages", "how far a conversation had come", |e| {
        Some(e.request.messages.len() as u64).filter(|_| e.request.bytes > 0)
    }),
    (
        "request bytes",
        "how long the prompt was, to the byte",
        |e| Some(e.request.bytes).filter(|&bytes| bytes > 0),
    ),
    (
        "last message bytes",
        "how long the last question was, to the byte",
        |e| {
            let last = e.request.messages.last()?;
            Some(last.bytes.into()).filter(|_| e.request.bytes > 0)
        },
    ),
    (
        "prompt tokens",
        "how long the prompt was: a very long one is known by its length alone",
        |e| e.request.prompt_tokens.map(|tokens| tokens.count.into()),
    ),
    ("max_tokens", "which application asked", |e| {
        e.request.params.max_tokens.map(Into::into)
    }),
    ("num_ctx", "which application asked", |e| {
        e.request.params.context_tokens.map(Into::into)
    }),
    ("dimensions", "which application asked", |e| {
        e.request.params.dimensions.map(Into::into)
    }),
    (
        "cache marks",
        "which application asked: it marks the same places; and how long what it keeps is, to the byte",
        |e| (!e.request.cache_marks.is_empty()).then(|| HASHER.hash_one(&e.request.cache_marks)),
    ),
    (
        "tools bytes",
        "which application asked: its tools are always the same",
        |e| (!e.request.tools.is_empty()).then_some(e.request.tools.bytes.into()),
    ),
    (
        "schema bytes",
        "which application asked: its schema is always the same",
        |e| Some(e.request.params.schema_bytes.into()).filter(|&bytes: &u64| bytes > 0),
    ),
    ("media bytes", "which file was sent", |e| {
        (!e.request.media.is_empty()).then(|| e.request.media.iter().map(|part| part.bytes).sum())
    }),
    (
        "media pixels",
        "which screen or camera a picture came from",
        |e| {
            let (width, height) = e.request.media.iter().find_map(|part| part.pixels)?;
            Some(u64::from(width) << 32 | u64::from(height))
        },
    ),
    (
        "tensors",
        "which model asked for, and how long or how large what it was given is",
        |e| (!e.request.tensors.is_empty()).then(|| HASHER.hash_one(&e.request.tensors)),
    ),
    (
        "output tokens",
        "a class, a yes or no, the language of a translation, where answers are short",
        |e| e.response.output_tokens.map(|tokens| tokens.count.into()),
    ),
    ("reasoning tokens", "how hard a question was", |e| {
        e.response.reasoning_tokens.map(Into::into)
    }),
    (
        "cached tokens",
        "how much of a prompt others had sent before",
        |e| e.response.cached_tokens.map(Into::into),
    ),
    (
        "response bytes",
        "how long the answer was, to the byte",
        |e| Some(e.response.bytes).filter(|&bytes| bytes > 0),
    ),
    (
        "time to first token, ms",
        "how long the prompt was, and what the cache held",
        |e| e.response.first_token_us.map(|us| us / 1000),
    ),
    (
        "duration, ms",
        "how long the answer was; joins with access logs",
        |e| e.response.end_us.map(|us| us / 1000),
    ),
    (
        "wait for the reader, ms",
        "how slow a client's link or program is: the same one may be known again by it",
        // Most are 0, which says nothing of anybody.
        |e| {
            e.response
                .reader_wait_us
                .map(|us| us / 1000)
                .filter(|&ms| ms > 0)
        },
    ),
    (
        "first frame, ms",
        "how long a client waited to begin",
        |e| e.frames.as_ref()?.first_sent_us.map(|us| us / 1000),
    ),
    (
        "longest pause between frames sent, ms",
        "for how long a client said nothing, where its frames are sound",
        |e| {
            let gaps = &e.frames.as_ref()?.sent_gaps;
            gaps.longest_gap_us().map(|us| us / 1000)
        },
    ),
    (
        "sizes of frames that came",
        "how much of what a server said was sound, and how long",
        |e| {
            let sizes = &e.frames.as_ref()?.came_sizes;
            (!sizes.is_empty()).then(|| HASHER.hash_one(sizes))
        },
    ),
    (
        "longest gap, ms",
        "little of the text, something of the server",
        |e| e.response.gaps.longest_gap_us().map(|us| us / 1000),
    ),
];

/// A tally for each field.
pub(super) struct FieldMeter(Vec<Tally>);

impl Default for FieldMeter {
    fn default() -> Self {
        Self(FIELDS.iter().map(|_| Tally::of(FIELD_VALUES)).collect())
    }
}

impl FieldMeter {
    pub(super) fn add(&mut self, exchange: &Exchange) {
        for ((_, _, value), tally) in FIELDS.iter().zip(&mut self.0) {
            if let Some(value) = value(exchange) {
                tally.add(value);
            }
        }
    }

    /// The fields that any exchange has, the most telling first.
    pub(super) fn finish(self) -> Vec<FieldAudit> {
        let mut fields: Vec<_> = FIELDS
            .iter()
            .zip(&self.0)
            .filter(|(_, tally)| tally.total() > 0)
            .map(|(&(name, tells, _), tally)| FieldAudit {
                name,
                tells,
                present: tally.total(),
                distinct: tally.distinct(),
                entropy_bits: tally.entropy_bits(),
                unique: tally.unique(),
                unique_share: tally.share(tally.unique()),
                complete: tally.is_complete(),
            })
            .collect();
        fields.sort_by(|a, b| b.entropy_bits.total_cmp(&a.entropy_bits));
        fields
    }
}

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::MAX_PARTS;
use crate::shape::{
    BlockSpec, BlockUnit, CachePlace, Dimensions, Exchange, GapTrail, RequestShape, TensorShape,
    TokenCount,
};

/// How exactly bytes and tokens are kept. Rounding is monotone, so that what was no more than something else still is; a 0
/// stays a 0, and nothing else becomes one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum Lengths {
    /// As they were.
    #[default]
    Exact,
    /// To the nearest multiple of so many tokens, and of [`Lengths::BYTES_PER_TOKEN`] times as many bytes.
    Steps(u32),
    /// To the nearest of eight steps to each doubling, from 16 tokens or 64 bytes on: within 6.25 %.
    Log,
    /// Something that this version does not know.
    Unknown,
}

/// A `--quantise-lengths` that is neither of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a number of tokens from 2 on, or log")]
pub struct NoLengths;

impl Lengths {
    /// Bytes are rounded to as many times the step of tokens: finer, they would give the tokens away.
    pub const BYTES_PER_TOKEN: u64 = 4;
    /// What `log` rounds everything up to that is less, in tokens. Short answers tell most (a class, a language).
    const LEAST: u64 = 16;

    /// A number of tokens as it is kept.
    pub fn tokens(self, tokens: u64) -> u64 {
        self.round(tokens, 1)
    }

    /// A number of bytes as it is kept.
    pub fn bytes(self, bytes: u64) -> u64 {
        self.round(bytes, Self::BYTES_PER_TOKEN)
    }

    /// Rounds the dimensions of tensors, each as a number of tokens.
    pub fn round_tensors(self, tensors: &mut [TensorShape]) {
        let dimensions = tensors.iter_mut().flat_map(|it| &mut it.dimensions);
        for size in dimensions.flat_map(Dimensions::sizes_mut) {
            *size = clamp(self.tokens((*size).into()));
        }
    }

    fn round(self, length: u64, unit: u64) -> u64 {
        let (step, least) = match self {
            Self::Exact | Self::Unknown => return length,
            Self::Steps(step) => (u64::from(step.max(1)) * unit, u64::from(step.max(1)) * unit),
            // Eight steps to a doubling: a step is the leading bit's eighth.
            Self::Log => (
                1 << length.max(Self::LEAST * unit).ilog2().saturating_sub(3),
                Self::LEAST * unit,
            ),
        };
        if length == 0 {
            return 0;
        }
        (length.saturating_add(step / 2) / step * step).max(least)
    }

    /// Rounds every length of an exchange. The chain is [`Lengths::chain_len`]'s business.
    pub(super) fn coarsen(self, exchange: &mut Exchange) {
        if self == Self::Exact {
            return;
        }
        let bytes32 = |bytes: &mut u32| *bytes = clamp(self.bytes((*bytes).into()));
        let tokens32 = |tokens: &mut u32| *tokens = clamp(self.tokens((*tokens).into()));
        let count = |count: &mut TokenCount| tokens32(&mut count.count);
        let request = &mut exchange.request;
        request.bytes = self.bytes(request.bytes);
        for message in &mut request.messages {
            bytes32(&mut message.bytes);
            message.tokens.iter_mut().for_each(tokens32);
        }
        request.prompt_tokens.iter_mut().for_each(count);
        request.params.max_tokens.iter_mut().for_each(tokens32);
        request.params.min_tokens.iter_mut().for_each(tokens32);
        request.params.context_tokens.iter_mut().for_each(tokens32);
        bytes32(&mut request.params.schema_bytes);
        bytes32(&mut request.tools.bytes);
        for part in &mut request.media {
            part.bytes = self.bytes(part.bytes);
            if let Some((width, height)) = &mut part.pixels {
                tokens32(width);
                tokens32(height);
            }
        }
        self.round_tensors(&mut request.tensors);
        for mark in &mut request.cache_marks {
            if let CachePlace::Message { bytes, .. } = &mut mark.place {
                bytes32(bytes);
            }
        }
        let response = &mut exchange.response;
        response.bytes = self.bytes(response.bytes);
        response.output_tokens.iter_mut().for_each(count);
        response.cached_tokens.iter_mut().for_each(tokens32);
        response.reasoning_tokens.iter_mut().for_each(tokens32);
        // There is a gap less than there are moments: token events, else other events, else reads.
        let gaps = response.gaps.count();
        let seen = [response.token_events.into(), response.events.into()];
        let seen = seen.into_iter().find(|&it: &u64| it > 0);
        let seen = seen.unwrap_or(gaps.saturating_add(1));
        tokens32(&mut response.token_events);
        tokens32(&mut response.events);
        // Each gap in its order would tell how many there were; who wants both has been refused.
        response.trail = GapTrail::default();
        // The counts of all buckets would tell how many there were.
        if gaps > 0 && self != Self::Unknown {
            let count = gaps.saturating_add(self.tokens(seen)).saturating_sub(seen);
            let count = count.max(1);
            response.gaps = std::mem::take(&mut response.gaps).of_count(count);
        }
        let events = response.events;
        if let Some(frames) = &mut exchange.frames {
            frames.sent_trail = GapTrail::default();
            // The client's frames are as many as there are messages, which are not rounded; beyond their bound this alone tells how many.
            let sent = frames.sent_gaps.count();
            let beyond = exchange.request.messages.len() >= MAX_PARTS;
            if beyond && self != Self::Unknown {
                let count = self.tokens(sent.saturating_add(1)).saturating_sub(1).max(1);
                frames.sent_gaps = std::mem::take(&mut frames.sent_gaps).of_count(count);
            }
            if self != Self::Unknown {
                let round = |bytes| self.bytes(bytes);
                frames.came_sizes = frames.came_sizes.coarser(round, events.into());
            }
        }
    }

    /// How many blocks a chain of `seen` has once the request's lengths are rounded, so that the two agree as they did.
    pub(super) fn chain_len(before: u64, seen: usize, after: u64) -> usize {
        let kept = (seen as u64).saturating_add(after).saturating_sub(before);
        usize::try_from(kept).unwrap_or(usize::MAX)
    }
}

/// Full blocks of a request's prompt, by its lengths.
pub(super) fn full_blocks(spec: BlockSpec, request: &RequestShape) -> u64 {
    let length = match spec.unit {
        BlockUnit::Bytes => request.rendered_bytes(),
        BlockUnit::Tokens => request
            .prompt_tokens
            .map_or(0, |tokens| tokens.count.into()),
    };
    length / u64::from(spec.size.max(1))
}

fn clamp(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl FromStr for Lengths {
    type Err = NoLengths;

    fn from_str(text: &str) -> Result<Self, NoLengths> {
        match text {
            "exact" => Ok(Self::Exact),
            "log" => Ok(Self::Log),
            _ => match text.parse() {
                Ok(step @ 2..) => Ok(Self::Steps(step)),
                _ => Err(NoLengths),
            },
        }
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Steps(step) => write!(f, "{step}"),
            Self::Log => f.write_str("log"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl From<String> for Lengths {
    fn from(text: String) -> Self {
        text.parse().unwrap_or(Self::Unknown)
    }
}

impl From<Lengths> for String {
    fn from(lengths: Lengths) -> Self {
        lengths.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_lengths() -> impl Strategy<Value = Lengths> {
        prop_oneof![Just(Lengths::Log), (2..10_000_u32).prop_map(Lengths::Steps)]
    }

    proptest! {
        #[test]
        fn rounding_keeps_order_and_zero(lengths in any_lengths(), a in 0..1_u64 << 40, b in 0..1_u64 << 40) {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(lengths.tokens(a) <= lengths.tokens(b));
            prop_assert!(lengths.bytes(a) <= lengths.bytes(b));
            prop_assert_eq!(lengths.tokens(a) == 0, a == 0);
        }

        #[test]
        fn rounding_twice_changes_nothing_more(lengths in any_lengths(), length in any::<u32>()) {
            let once = lengths.bytes(length.into());
            prop_assert_eq!(lengths.bytes(once), once);
        }

        #[test]
        fn log_is_within_a_sixteenth(tokens in 16..u64::from(u32::MAX)) {
            let kept = Lengths::Log.tokens(tokens);
            prop_assert!(kept.abs_diff(tokens) * 16 <= tokens, "{tokens} became {kept}");
        }
    }

    #[test]
    fn dimensions_are_lengths() {
        use crate::shape::{Endpoint, Method, TensorType, TraceTime};
        let mut exchange = Exchange::bare(TraceTime::default(), Endpoint::Infer, Method::Post);
        exchange.request.tensors = [Dimensions::of([1, 0, 1000]), None]
            .map(|dimensions| TensorShape {
                message: 0,
                datatype: TensorType::Int64,
                dimensions,
            })
            .to_vec();
        let seen = exchange.clone();
        Lengths::Exact.coarsen(&mut exchange);
        assert_eq!(exchange, seen);
        Lengths::Steps(64).coarsen(&mut exchange);
        let kept: Vec<_> = (exchange.request.tensors.iter())
            .map(|it| it.dimensions)
            .collect();
        assert_eq!(kept, [Dimensions::of([64, 0, 1024]), None]);
    }

    #[test]
    fn gaps_tell_no_more_than_what_they_lie_between() {
        use crate::shape::{Endpoint, Method, TraceTime};
        // Tokens, frames or messages, reads.
        for (tokens, events) in [(100, 100), (0, 100), (0, 0)] {
            let at = TraceTime::default();
            let mut exchange = Exchange::bare(at, Endpoint::Other, Method::Post);
            exchange.response.token_events = tokens;
            exchange.response.events = events;
            for gap in 0..99 {
                exchange.response.gaps.record(gap * 100);
            }
            Lengths::Steps(64).coarsen(&mut exchange);
            assert_eq!(exchange.response.gaps.count(), 127, "{tokens} {events}");
        }
    }

    #[test]
    fn sizes_of_frames_tell_no_more_than_their_number_and_their_sum() {
        use crate::shape::{Endpoint, FrameShape, MessageShape, Method, Role, TraceTime};
        let mut exchange = Exchange::bare(TraceTime::default(), Endpoint::Realtime, Method::Get);
        exchange.response.events = 100;
        let mut frames = FrameShape::default();
        frames.came_sizes.record(1_500, 60);
        frames.came_sizes.record(3_000, 40);
        frames.sent_trail.record(20_000);
        (0..9).for_each(|_| frames.sent_gaps.record(20_000));
        exchange.frames = Some(Box::new(frames));
        let mut many = exchange.clone();
        Lengths::Steps(1_000).coarsen(&mut exchange);
        let frames = exchange.frames.unwrap();
        assert_eq!(frames.sent_gaps.count(), 9, "as the messages tell");
        let one = MessageShape {
            role: Role::Other,
            bytes: 8,
            tokens: None,
        };
        many.request.messages = vec![one; MAX_PARTS];
        Lengths::Steps(1_000).coarsen(&mut many);
        assert_eq!(many.frames.unwrap().sent_gaps.count(), 999);
        assert!(frames.sent_trail.is_empty());
        // Both round to 4,000 bytes, and their number to 1,000.
        let sizes: Vec<_> = frames.came_sizes.values().collect();
        assert_eq!(sizes, [(2_048, 1_000)]);
    }

    #[test]
    fn few_values_are_left() {
        let values: std::collections::BTreeSet<_> = (1..=4096)
            .map(|tokens| Lengths::Log.tokens(tokens))
            .collect();
        assert_eq!(
            values.len(),
            65,
            "eight for each of eight doublings, and the last"
        );
        assert_eq!(Lengths::Steps(16).tokens(1), 16);
        assert_eq!(Lengths::Steps(16).bytes(100), 128);
        assert_eq!("log".parse(), Ok(Lengths::Log));
        assert_eq!("1".parse::<Lengths>(), Err(NoLengths));
    }
}

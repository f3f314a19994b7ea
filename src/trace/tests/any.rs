//! Exchanges of every kind, for property tests.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::shape::{
    BlockId, CacheLife, CacheMark, CachePlace, ClientId, Dimensions, Endpoint, Exchange,
    FinishReason, FrameShape, FrameSizes, GapSketch, GapTrail, MediaKind, MediaPart, MediaType,
    MessageShape, Method, ModelId, Outcome, PictureFormat, ReasoningEffort, RequestParams,
    RequestShape, ResponseShape, Role, SessionId, ShapeStatus, Structured, TensorShape, TensorType,
    TokenCount, TokenSource, ToolsShape, TraceTime, VectorEncoding,
};

/// Small, usual and extreme numbers.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200_u64, 2 => 0..10_000_000_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn short() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..200_u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn tokens() -> impl Strategy<Value = Option<TokenCount>> {
    option::of(
        (short(), select(TokenSource::ALL.to_vec()))
            .prop_map(|(count, source)| TokenCount { count, source }),
    )
}

fn params() -> impl Strategy<Value = RequestParams> {
    (
        (
            option::of(short()),
            option::of(short()),
            any::<[bool; 8]>(),
            any::<u16>(),
            option::of(any::<u16>()),
        ),
        (
            option::of(any::<bool>()),
            select(Structured::ALL.to_vec()),
            short(),
            option::of(any::<u8>()),
            any::<u8>(),
            option::of(select(ReasoningEffort::ALL.to_vec())),
        ),
        (
            option::of(short()),
            option::of(short()),
            select(VectorEncoding::ALL.to_vec()),
        ),
    )
        .prop_map(
            |((max_tokens, min_tokens, bools, n, best_of), rest, last)| {
                let [
                    ignore_eos,
                    stream,
                    include_usage,
                    token_ids,
                    echo,
                    continues,
                    continuous_usage,
                    return_token_ids,
                ] = bools;
                let (context_tokens, dimensions, encoding_format) = last;
                let (greedy, structured, schema_bytes, logprobs, stop_count, reasoning_effort) =
                    rest;
                RequestParams {
                    max_tokens,
                    min_tokens,
                    ignore_eos,
                    n,
                    best_of,
                    stream,
                    include_usage,
                    greedy,
                    structured,
                    schema_bytes,
                    logprobs,
                    stop_count,
                    reasoning_effort,
                    token_ids,
                    echo,
                    continues,
                    context_tokens,
                    continuous_usage,
                    return_token_ids,
                    dimensions,
                    encoding_format,
                }
            },
        )
}

fn media() -> impl Strategy<Value = MediaPart> {
    (
        any::<u16>(),
        select(MediaKind::ALL.to_vec()),
        select(PictureFormat::ALL.to_vec()),
        number(),
        option::of((short(), short())),
    )
        .prop_map(|(message, kind, format, bytes, pixels)| MediaPart {
            message,
            kind,
            format,
            bytes,
            pixels,
        })
}

fn tensor() -> impl Strategy<Value = TensorShape> {
    let sizes = prop::collection::vec(short(), 0..=Dimensions::MOST);
    (
        any::<u16>(),
        select(TensorType::ALL.to_vec()),
        option::of(sizes),
    )
        .prop_map(|(message, datatype, sizes)| TensorShape {
            message,
            datatype,
            dimensions: sizes.map(|sizes| Dimensions::of(sizes).unwrap()),
        })
}

fn cache_mark() -> impl Strategy<Value = CacheMark> {
    let place = prop_oneof![
        Just(CachePlace::Request),
        any::<u16>().prop_map(|index| CachePlace::Tool { index }),
        (0..5_u16, short()).prop_map(|(index, bytes)| CachePlace::Message { index, bytes }),
        (any::<u16>(), short()).prop_map(|(index, bytes)| CachePlace::Message { index, bytes }),
    ];
    (place, select(CacheLife::ALL.to_vec())).prop_map(|(place, life)| CacheMark { place, life })
}

fn request() -> impl Strategy<Value = RequestShape> {
    let message = (select(Role::ALL.to_vec()), short(), option::of(short())).prop_map(
        |(role, bytes, tokens)| MessageShape {
            role,
            bytes,
            tokens,
        },
    );
    let block = prop_oneof![8 => 0..60_u32, 1 => any::<u32>()].prop_map(BlockId);
    (
        (number(), select(MediaType::ALL.to_vec())),
        prop::collection::vec(message, 0..4),
        tokens(),
        prop::collection::vec(block, 0..12),
        params(),
        (any::<u16>(), short()),
        prop::collection::vec(media(), 0..3),
        prop::collection::vec(tensor(), 0..3),
        prop::collection::vec(cache_mark(), 0..4),
    )
        .prop_map(
            |(
                (bytes, media_type),
                messages,
                prompt_tokens,
                blocks,
                params,
                (count, tool_bytes),
                media,
                tensors,
                cache_marks,
            )| {
                RequestShape {
                    bytes,
                    media_type,
                    messages,
                    prompt_tokens,
                    blocks,
                    params,
                    tools: ToolsShape {
                        count,
                        bytes: tool_bytes,
                    },
                    media,
                    tensors,
                    cache_marks,
                }
            },
        )
}

fn gaps() -> impl Strategy<Value = GapSketch> {
    (
        prop::collection::btree_map(0..GapSketch::BUCKETS, 1..=u32::MAX, 0..8),
        number(),
    )
        .prop_map(|(buckets, longest_us)| {
            GapSketch::from_parts(buckets.into_iter().collect(), longest_us).unwrap()
        })
}

fn trail() -> impl Strategy<Value = GapTrail> {
    prop::collection::vec(0..GapTrail::BUCKETS, 0..6)
        .prop_map(|buckets| GapTrail::from_buckets(buckets).unwrap())
}

fn response() -> impl Strategy<Value = ResponseShape> {
    (
        any::<u16>(),
        prop::array::uniform7(option::of(number())),
        gaps(),
        tokens(),
        (option::of(short()), option::of(short())),
        option::of(select(FinishReason::ALL.to_vec())),
        (any::<u16>(), number(), short(), short()),
        (trail(), select(MediaType::ALL.to_vec())),
    )
        .prop_map(
            |(status, moments, gaps, output_tokens, (cached, reasoning), finish, counts, last)| {
                let [
                    headers,
                    first_byte,
                    first_token,
                    first_answer,
                    last_token,
                    end,
                    reader_wait,
                ] = moments;
                let (tool_calls, bytes, events, token_events) = counts;
                let (trail, media_type) = last;
                ResponseShape {
                    status,
                    headers_us: headers,
                    first_byte_us: first_byte,
                    first_token_us: first_token,
                    first_answer_us: first_answer,
                    last_token_us: last_token,
                    end_us: end,
                    reader_wait_us: reader_wait,
                    gaps,
                    trail,
                    output_tokens,
                    cached_tokens: cached,
                    reasoning_tokens: reasoning,
                    finish,
                    tool_calls,
                    bytes,
                    media_type,
                    events,
                    token_events,
                }
            },
        )
}

fn frames() -> impl Strategy<Value = Option<Box<FrameShape>>> {
    let sizes = prop::collection::btree_map(0..FrameSizes::BUCKETS, 1..=u32::MAX, 0..5);
    let frames = (option::of(number()), gaps(), trail(), sizes).prop_map(
        |(first_sent_us, sent_gaps, sent_trail, sizes)| FrameShape {
            first_sent_us,
            sent_gaps,
            sent_trail,
            came_sizes: FrameSizes::from_buckets(sizes.into_iter().collect()).unwrap(),
        },
    );
    option::weighted(0.3, frames.prop_map(Box::new))
}

/// No gap is the longest of none, though a file of the trace's own format can say so; nor are there frames that say nothing.
pub(crate) fn without_longest_of_none(exchange: &mut Exchange) {
    let clear = |gaps: &mut GapSketch| {
        if gaps.is_empty() {
            *gaps = GapSketch::default();
        }
    };
    clear(&mut exchange.response.gaps);
    if let Some(frames) = &mut exchange.frames {
        clear(&mut frames.sent_gaps);
    }
    exchange.frames.take_if(|frames| frames.is_empty());
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (0..8_u8, number()).prop_map(|(kind, at_us)| match kind {
        0 => Outcome::Completed,
        1 => Outcome::ClientCancelled { at_us },
        2 => Outcome::UpstreamRefused { at_us },
        3 => Outcome::UpstreamReset { at_us },
        4 => Outcome::UpstreamTimeout { at_us },
        5 => Outcome::Rejected,
        6 => Outcome::Truncated { at_us },
        _ => Outcome::InFlight { at_us },
    })
}

pub(crate) fn exchange() -> impl Strategy<Value = Exchange> {
    (
        (
            number(),
            select(Endpoint::ALL.to_vec()),
            select(Method::ALL.to_vec()),
            option::of(short()),
            option::of(short()),
            option::of(short()),
        ),
        (short(), option::of(any::<bool>())),
        select(ShapeStatus::ALL.to_vec()),
        request(),
        (response(), frames()),
        outcome(),
    )
        .prop_map(
            |(
                (at_us, endpoint, method, model, session, client),
                (in_flight, new_connection),
                shape,
                request,
                (response, frames),
                outcome,
            )| Exchange {
                at: TraceTime::from_us(at_us),
                endpoint,
                method,
                model: model.map(ModelId),
                session: session.map(SessionId),
                client: client.map(ClientId),
                in_flight,
                new_connection,
                shape,
                request,
                response,
                frames,
                outcome,
            },
        )
}

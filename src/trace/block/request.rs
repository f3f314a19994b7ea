//! The columns of a request.

use super::budget::Budget;
use super::codes::Coded;
use super::columns::{ColumnNumbers, Columns};
use super::flags;
use super::ratio::Ratio;
use crate::shape::{
    BlockSpec, BlockUnit, CacheLife, CacheMark, CachePlace, Dimensions, MediaKind, MediaPart,
    MediaType, MessageShape, PictureFormat, ReasoningEffort, RequestParams, RequestShape, Role,
    Structured, TensorShape, TensorType, TokenCount, TokenSource, ToolsShape, VectorEncoding,
};
use crate::trace::varint::{Malformed, put, put_residual};

pub(super) fn write(
    out: &mut Columns,
    request: &RequestShape,
    spec: Option<BlockSpec>,
    tokens_per_byte: &mut Ratio,
) {
    put_residual(&mut out.request_bytes, request.bytes, text_bytes(request));
    put(&mut out.request_media_type, request.media_type.code());
    put(&mut out.messages, request.messages.len() as u64);
    for message in &request.messages {
        put(&mut out.message_role, message.role.code());
        put(&mut out.message_bytes, message.bytes.into());
        put(
            &mut out.message_tokens,
            message.tokens.map_or(0, |tokens| u64::from(tokens) + 1),
        );
    }
    if let Some(tokens) = request.prompt_tokens {
        let text_bytes = text_bytes(request);
        let expected = tokens_per_byte.expected(text_bytes);
        put_residual(&mut out.prompt_tokens, tokens.count.into(), expected);
        tokens_per_byte.learn(text_bytes, tokens.count.into());
        put(&mut out.prompt_tokens_source, tokens.source.code());
    }
    put_residual(
        &mut out.blocks,
        request.blocks.len() as u64,
        expected_blocks(request, spec),
    );
    write_params(out, &request.params);
    put(&mut out.tools, request.tools.count.into());
    put(&mut out.tools_bytes, request.tools.bytes.into());
    put(&mut out.media, request.media.len() as u64);
    for part in &request.media {
        put(&mut out.media_message, part.message.into());
        put(&mut out.media_kind, part.kind.code());
        put(&mut out.media_format, part.format.code());
        put(&mut out.media_bytes, part.bytes);
        let width = part.pixels.map_or(0, |(width, _)| u64::from(width) + 1);
        put(&mut out.media_width, width);
        if let Some((_, height)) = part.pixels {
            put(&mut out.media_height, height.into());
        }
    }
    put(&mut out.tensors, request.tensors.len() as u64);
    for tensor in &request.tensors {
        write_tensor(out, tensor);
    }
    put(&mut out.cache_marks, request.cache_marks.len() as u64);
    for mark in &request.cache_marks {
        write_cache_mark(out, mark, &request.messages);
    }
}

/// Tools have odd places, messages even ones.
fn write_cache_mark(out: &mut Columns, mark: &CacheMark, messages: &[MessageShape]) {
    let place = match mark.place {
        CachePlace::Request => 0,
        CachePlace::Tool { index } => 1 + 2 * u64::from(index),
        CachePlace::Message { index, bytes } => {
            // Mostly behind all of it.
            put_residual(
                &mut out.cache_mark_bytes,
                bytes.into(),
                bytes_of(messages, index),
            );
            2 + 2 * u64::from(index)
        }
    };
    put(&mut out.cache_mark_place, place);
    put(&mut out.cache_mark_life, mark.life.code());
}

fn bytes_of(messages: &[MessageShape], index: u16) -> u64 {
    messages
        .get(usize::from(index))
        .map_or(0, |message| message.bytes.into())
}

fn write_tensor(out: &mut Columns, tensor: &TensorShape) {
    put(&mut out.tensor_message, tensor.message.into());
    put(&mut out.tensor_datatype, tensor.datatype.code());
    let sizes = tensor.dimensions.as_ref().map(Dimensions::sizes);
    let rank = sizes.map_or(0, |sizes| sizes.len() as u64 + 1);
    put(&mut out.tensor_rank, rank);
    for &size in sizes.unwrap_or_default() {
        put(&mut out.tensor_dimension, size.into());
    }
}

fn write_params(out: &mut Columns, params: &RequestParams) {
    if let Some(max_tokens) = params.max_tokens {
        put(&mut out.max_tokens, max_tokens.into());
    }
    if let Some(min_tokens) = params.min_tokens {
        put(&mut out.min_tokens, min_tokens.into());
    }
    put(&mut out.n, params.n.into());
    if let Some(best_of) = params.best_of {
        put(&mut out.best_of, best_of.into());
    }
    put(&mut out.structured, params.structured.code());
    put(&mut out.schema_bytes, params.schema_bytes.into());
    if let Some(logprobs) = params.logprobs {
        put(&mut out.logprobs, logprobs.into());
    }
    put(&mut out.stop_count, params.stop_count.into());
    if let Some(effort) = params.reasoning_effort {
        put(&mut out.reasoning_effort, effort.code());
    }
    if let Some(tokens) = params.context_tokens {
        put(&mut out.context_tokens, tokens.into());
    }
    if let Some(dimensions) = params.dimensions {
        put(&mut out.dimensions, dimensions.into());
    }
    put(&mut out.encoding_format, params.encoding_format.code());
}

/// Fills a request but for its chain: returns the chain's length.
pub(super) fn read(
    columns: &mut ColumnNumbers<'_>,
    present: u64,
    spec: Option<BlockSpec>,
    budget: &mut Budget,
    tokens_per_byte: Option<&mut Ratio>,
    request: &mut RequestShape,
) -> Result<usize, Malformed> {
    let has = |flag| present & flag != 0;
    request.media_type = MediaType::from_code(columns.request_media_type.next()?);
    let messages = budget.take(columns.messages.next()?)?;
    request.messages.reserve_exact(messages);
    for _ in 0..messages {
        request.messages.push(MessageShape {
            role: Role::from_code(columns.message_role.next()?),
            bytes: columns.message_bytes.next_as()?,
            tokens: match columns.message_tokens.next()?.checked_sub(1) {
                None => None,
                Some(tokens) => Some(
                    u32::try_from(tokens)
                        .map_err(|_| Malformed("a message has too many tokens"))?,
                ),
            },
        });
    }
    request.params = read_params(columns, present)?;
    request.tools = ToolsShape {
        count: columns.tools.next_as()?,
        bytes: columns.tools_bytes.next_as()?,
    };
    if has(flags::PROMPT_TOKENS) {
        let count = match tokens_per_byte {
            None => columns.prompt_tokens.next_as()?,
            Some(ratio) => {
                let text_bytes = text_bytes(request);
                let expected = ratio.expected(text_bytes);
                let count: u32 = columns.prompt_tokens.residual_as(expected)?;
                ratio.learn(text_bytes, count.into());
                count
            }
        };
        request.prompt_tokens = Some(TokenCount {
            count,
            source: TokenSource::from_code(columns.prompt_tokens_source.next()?),
        });
    }
    let media = budget.take(columns.media.next()?)?;
    request.media.reserve_exact(media);
    for _ in 0..media {
        request.media.push(MediaPart {
            message: columns.media_message.next_as()?,
            kind: MediaKind::from_code(columns.media_kind.next()?),
            format: PictureFormat::from_code(columns.media_format.next()?),
            bytes: columns.media_bytes.next()?,
            pixels: match columns.media_width.next()?.checked_sub(1) {
                None => None,
                Some(width) => Some((
                    u32::try_from(width).map_err(|_| Malformed("a picture is too wide"))?,
                    columns.media_height.next_as()?,
                )),
            },
        });
    }
    let tensors = columns.tensors.next()?;
    let items = budget.take(tensors.saturating_mul(TensorShape::ITEMS as u64))?;
    request.tensors.reserve_exact(items / TensorShape::ITEMS);
    for _ in 0..tensors {
        request.tensors.push(read_tensor(columns)?);
    }
    let marks = budget.take(columns.cache_marks.next()?)?;
    request.cache_marks.reserve_exact(marks);
    for _ in 0..marks {
        let mark = read_cache_mark(columns, &request.messages)?;
        request.cache_marks.push(mark);
    }
    request.bytes = columns.request_bytes.residual(text_bytes(request))?;
    let blocks = columns.blocks.residual(expected_blocks(request, spec))?;
    budget.take(blocks)
}

fn read_tensor(columns: &mut ColumnNumbers<'_>) -> Result<TensorShape, Malformed> {
    let message = columns.tensor_message.next_as()?;
    let datatype = TensorType::from_code(columns.tensor_datatype.next()?);
    let dimensions = match columns.tensor_rank.next()?.checked_sub(1) {
        None => None,
        Some(rank) => {
            let mut dimensions = Dimensions::default();
            for _ in 0..rank {
                dimensions
                    .push(columns.tensor_dimension.next_as()?)
                    .ok_or(Malformed("a tensor has too many dimensions"))?;
            }
            Some(dimensions)
        }
    };
    Ok(TensorShape {
        message,
        datatype,
        dimensions,
    })
}

fn read_cache_mark(
    columns: &mut ColumnNumbers<'_>,
    messages: &[MessageShape],
) -> Result<CacheMark, Malformed> {
    let place = columns.cache_mark_place.next()?;
    let index = |place: u64| {
        u16::try_from(place / 2).map_err(|_| Malformed("a mark is on nothing that can be"))
    };
    let place = match place.checked_sub(1) {
        None => CachePlace::Request,
        Some(place) if place % 2 == 0 => CachePlace::Tool {
            index: index(place)?,
        },
        Some(place) => {
            let index = index(place)?;
            let bytes = columns
                .cache_mark_bytes
                .residual_as(bytes_of(messages, index))?;
            CachePlace::Message { index, bytes }
        }
    };
    let life = CacheLife::from_code(columns.cache_mark_life.next()?);
    Ok(CacheMark { place, life })
}

fn read_params(columns: &mut ColumnNumbers<'_>, present: u64) -> Result<RequestParams, Malformed> {
    let has = |flag| present & flag != 0;
    Ok(RequestParams {
        max_tokens: has(flags::MAX_TOKENS)
            .then(|| columns.max_tokens.next_as())
            .transpose()?,
        min_tokens: has(flags::MIN_TOKENS)
            .then(|| columns.min_tokens.next_as())
            .transpose()?,
        ignore_eos: has(flags::IGNORE_EOS),
        n: columns.n.next_as()?,
        best_of: has(flags::BEST_OF)
            .then(|| columns.best_of.next_as())
            .transpose()?,
        stream: has(flags::STREAM),
        include_usage: has(flags::INCLUDE_USAGE),
        greedy: has(flags::GREEDY_SAID).then(|| has(flags::GREEDY)),
        structured: Structured::from_code(columns.structured.next()?),
        schema_bytes: columns.schema_bytes.next_as()?,
        logprobs: has(flags::LOGPROBS)
            .then(|| columns.logprobs.next_as())
            .transpose()?,
        stop_count: columns.stop_count.next_as()?,
        reasoning_effort: has(flags::REASONING_EFFORT)
            .then(|| columns.reasoning_effort.next())
            .transpose()?
            .map(ReasoningEffort::from_code),
        token_ids: has(flags::TOKEN_IDS),
        echo: has(flags::ECHO),
        continues: has(flags::CONTINUES),
        context_tokens: has(flags::CONTEXT_TOKENS)
            .then(|| columns.context_tokens.next_as())
            .transpose()?,
        continuous_usage: has(flags::CONTINUOUS_USAGE),
        return_token_ids: has(flags::RETURN_TOKEN_IDS),
        dimensions: has(flags::DIMENSIONS)
            .then(|| columns.dimensions.next_as())
            .transpose()?,
        encoding_format: VectorEncoding::from_code(columns.encoding_format.next()?),
    })
}

/// Bytes of the prompt's text: what of the body's size can be guessed.
fn text_bytes(request: &RequestShape) -> u64 {
    request
        .messages
        .iter()
        .map(|message| u64::from(message.bytes))
        .fold(u64::from(request.tools.bytes), u64::wrapping_add)
}

/// How many blocks the prompt's chain has if it follows the header's block definition.
fn expected_blocks(request: &RequestShape, spec: Option<BlockSpec>) -> u64 {
    let Some(spec) = spec else { return 0 };
    let units = match spec.unit {
        BlockUnit::Bytes => request.rendered_bytes(),
        BlockUnit::Tokens => request
            .prompt_tokens
            .map_or(0, |tokens| tokens.count.into()),
    };
    let size = u64::from(spec.size);
    let whole = units.checked_div(size).unwrap_or(0);
    let part = units.checked_rem(size).unwrap_or(0);
    whole + u64::from(spec.partial_last && part > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::varint::Numbers;

    #[test]
    fn a_tensor_cannot_have_dimensions_without_end() {
        let read = |rank: &[u8]| {
            read_tensor(&mut ColumnNumbers {
                tensor_rank: Numbers::new(rank),
                ..ColumnNumbers::default()
            })
        };
        assert_eq!(read(&[9]).unwrap().dimensions, Dimensions::of([0; 8]));
        assert!(read(&[10]).is_err());
        assert!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }
}

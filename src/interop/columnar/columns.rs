//! The columns of an exported trace. docs/interop.md is their description; a column once published keeps its name and meaning.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, ListBuilder, StringBuilder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use serde::Serialize;

use crate::shape::{
    CacheMark, CachePlace, Exchange, FrameShape, GapSketch, MediaPart, MessageShape, TensorShape,
    TokenCount,
};

/// An exchange and its model's name or pseudonym.
type Seen<'a> = (&'a Exchange, Option<&'a str>);

/// All columns, and the values that wait in them.
pub(super) struct Columns {
    columns: Vec<(Field, Box<dyn Column>)>,
}

impl Columns {
    pub(super) fn new() -> Self {
        let mut all = arrival();
        all.extend(request());
        all.extend(params());
        all.extend(response());
        all.extend(frames());
        all.extend(outcome());
        Self { columns: all }
    }

    pub(super) fn schema(&self) -> Schema {
        let fields = self.columns.iter().map(|(field, _)| field.clone());
        Schema::new(fields.collect::<Vec<_>>())
    }

    pub(super) fn push(&mut self, exchange: &Exchange, model: Option<&str>) {
        for (_, column) in &mut self.columns {
            column.push((exchange, model));
        }
    }

    /// What was pushed, as one batch.
    pub(super) fn batch(&mut self, schema: Arc<Schema>) -> Result<RecordBatch, ArrowError> {
        let arrays = self.columns.iter_mut().map(|(_, column)| column.finish());
        RecordBatch::try_new(schema, arrays.collect())
    }
}

type Named = (Field, Box<dyn Column>);

fn arrival() -> Vec<Named> {
    vec![
        u64("at_us", |e| Some(e.at.us())),
        text("endpoint", |e| word(&e.endpoint)),
        text("method", |e| word(&e.method)),
        u32("model_id", |e| e.model.map(|id| id.0)),
        model("model"),
        u32("session_id", |e| e.session.map(|id| id.0)),
        u32("client_id", |e| e.client.map(|id| id.0)),
        u32("in_flight", |e| Some(e.in_flight)),
        flag("new_connection", |e| e.new_connection),
        text("shape", |e| word(&e.shape)),
    ]
}

fn request() -> Vec<Named> {
    vec![
        u64("request_bytes", |e| Some(e.request.bytes)),
        text("request_media_type", |e| word(&e.request.media_type)),
        u32("prompt_tokens", |e| count(e.request.prompt_tokens)),
        text("prompt_tokens_source", |e| source(e.request.prompt_tokens)),
        texts("message_roles", |e| {
            list(&e.request.messages, |m: &MessageShape| word(&m.role))
        }),
        u32s("message_bytes", |e| {
            list(&e.request.messages, |m: &MessageShape| Some(m.bytes))
        }),
        u32s("message_tokens", |e| {
            list(&e.request.messages, |m: &MessageShape| m.tokens)
        }),
        u32s("blocks", |e| list(&e.request.blocks, |id| Some(id.0))),
        u32("tools", |e| Some(e.request.tools.count.into())),
        u32("tools_bytes", |e| Some(e.request.tools.bytes)),
        texts("media_kinds", |e| {
            list(&e.request.media, |part: &MediaPart| word(&part.kind))
        }),
        texts("media_formats", |e| {
            list(&e.request.media, |part: &MediaPart| word(&part.format))
        }),
        u32s("media_message", |e| {
            list(&e.request.media, |part: &MediaPart| {
                Some(part.message.into())
            })
        }),
        u64s("media_bytes", |e| {
            list(&e.request.media, |part: &MediaPart| Some(part.bytes))
        }),
        u32s("media_width_pixels", |e| {
            list(&e.request.media, |part| part.pixels.map(|(width, _)| width))
        }),
        u32s("media_height_pixels", |e| {
            list(&e.request.media, |part| {
                part.pixels.map(|(_, height)| height)
            })
        }),
        u32s("tensor_message", |e| {
            list(&e.request.tensors, |it: &TensorShape| {
                Some(it.message.into())
            })
        }),
        texts("tensor_datatypes", |e| {
            list(&e.request.tensors, |it: &TensorShape| word(&it.datatype))
        }),
        u32_lists("tensor_dimensions", |e| {
            list(&e.request.tensors, |it: &TensorShape| {
                let sizes = it.dimensions?;
                Some(list(sizes.sizes(), |&size| Some(size)))
            })
        }),
        texts("cache_mark_on", |e| {
            list(&e.request.cache_marks, |it: &CacheMark| {
                Some(on(it).to_owned())
            })
        }),
        u32s("cache_mark_index", |e| {
            list(&e.request.cache_marks, |it: &CacheMark| match it.place {
                CachePlace::Request => None,
                CachePlace::Tool { index } | CachePlace::Message { index, .. } => {
                    Some(index.into())
                }
            })
        }),
        u32s("cache_mark_bytes", |e| {
            list(&e.request.cache_marks, |it: &CacheMark| match it.place {
                CachePlace::Message { bytes, .. } => Some(bytes),
                _ => None,
            })
        }),
        texts("cache_mark_life", |e| {
            list(&e.request.cache_marks, |it: &CacheMark| word(&it.life))
        }),
    ]
}

fn params() -> Vec<Named> {
    vec![
        u32("max_tokens", |e| e.request.params.max_tokens),
        u32("min_tokens", |e| e.request.params.min_tokens),
        flag("ignore_eos", |e| Some(e.request.params.ignore_eos)),
        u32("n", |e| Some(e.request.params.n.into())),
        u32("best_of", |e| e.request.params.best_of.map(Into::into)),
        flag("stream", |e| Some(e.request.params.stream)),
        flag("include_usage", |e| Some(e.request.params.include_usage)),
        flag("greedy", |e| e.request.params.greedy),
        text("structured", |e| word(&e.request.params.structured)),
        u32("schema_bytes", |e| Some(e.request.params.schema_bytes)),
        u32("logprobs", |e| e.request.params.logprobs.map(Into::into)),
        u32("stop_count", |e| Some(e.request.params.stop_count.into())),
        text("reasoning_effort", |e| {
            e.request.params.reasoning_effort.as_ref().and_then(word)
        }),
        flag("token_ids", |e| Some(e.request.params.token_ids)),
        flag("echo", |e| Some(e.request.params.echo)),
        flag("continues", |e| Some(e.request.params.continues)),
        u32("context_tokens", |e| e.request.params.context_tokens),
        flag("continuous_usage", |e| {
            Some(e.request.params.continuous_usage)
        }),
        flag("return_token_ids", |e| {
            Some(e.request.params.return_token_ids)
        }),
        u32("dimensions", |e| e.request.params.dimensions),
        text("encoding_format", |e| {
            word(&e.request.params.encoding_format)
        }),
    ]
}

fn response() -> Vec<Named> {
    vec![
        u32("status", |e| Some(e.response.status.into())),
        u64("headers_us", |e| e.response.headers_us),
        u64("first_byte_us", |e| e.response.first_byte_us),
        u64("first_token_us", |e| e.response.first_token_us),
        u64("first_answer_us", |e| e.response.first_answer_us),
        u64("last_token_us", |e| e.response.last_token_us),
        u64("end_us", |e| e.response.end_us),
        u64("reader_wait_us", |e| e.response.reader_wait_us),
        u64s("gap_us", |e| {
            list(e.response.gaps.buckets(), |(bucket, _)| {
                Some(GapSketch::middle_us(*bucket))
            })
        }),
        u32s("gap_count", |e| {
            list(e.response.gaps.buckets(), |(_, count)| Some(*count))
        }),
        u64s("gaps_in_order_us", |e| {
            e.response.trail.values().map(Some).collect()
        }),
        u64("longest_gap_us", |e| e.response.gaps.longest_gap_us()),
        u32("output_tokens", |e| count(e.response.output_tokens)),
        text("output_tokens_source", |e| source(e.response.output_tokens)),
        u32("cached_tokens", |e| e.response.cached_tokens),
        u32("reasoning_tokens", |e| e.response.reasoning_tokens),
        text("finish", |e| e.response.finish.as_ref().and_then(word)),
        u32("tool_calls", |e| Some(e.response.tool_calls.into())),
        u64("response_bytes", |e| Some(e.response.bytes)),
        text("response_media_type", |e| word(&e.response.media_type)),
        u32("events", |e| Some(e.response.events)),
        u32("token_events", |e| Some(e.response.token_events)),
    ]
}

/// Of exchanges that have frames.
fn frames() -> Vec<Named> {
    fn lists<T>(e: &Exchange, of: impl Fn(&FrameShape) -> Vec<T>) -> Vec<T> {
        e.frames.as_ref().map_or_else(Vec::new, |frames| of(frames))
    }
    vec![
        u64("frames_first_sent_us", |e| e.frames.as_ref()?.first_sent_us),
        u64s("frames_sent_gap_us", |e| {
            lists(e, |it| {
                list(it.sent_gaps.buckets(), |(bucket, _)| {
                    Some(GapSketch::middle_us(*bucket))
                })
            })
        }),
        u32s("frames_sent_gap_count", |e| {
            lists(e, |it| {
                list(it.sent_gaps.buckets(), |(_, count)| Some(*count))
            })
        }),
        u64("frames_sent_longest_gap_us", |e| {
            e.frames.as_ref()?.sent_gaps.longest_gap_us()
        }),
        u64s("frames_sent_gaps_in_order_us", |e| {
            lists(e, |it| it.sent_trail.values().map(Some).collect())
        }),
        u64s("frames_came_bytes", |e| {
            lists(e, |it| {
                it.came_sizes
                    .values()
                    .map(|(bytes, _)| Some(bytes))
                    .collect()
            })
        }),
        u32s("frames_came_count", |e| {
            lists(e, |it| {
                it.came_sizes
                    .values()
                    .map(|(_, count)| Some(count))
                    .collect()
            })
        }),
    ]
}

fn outcome() -> Vec<Named> {
    vec![
        text("outcome", |e| Some(e.outcome.name().to_owned())),
        u64("outcome_at_us", |e| e.outcome.at_us()),
    ]
}

/// What a mark stands behind.
fn on(mark: &CacheMark) -> &'static str {
    match mark.place {
        CachePlace::Request => "request",
        CachePlace::Tool { .. } => "tool",
        CachePlace::Message { .. } => "message",
    }
}

fn count(tokens: Option<TokenCount>) -> Option<u32> {
    tokens.map(|tokens| tokens.count)
}

fn source(tokens: Option<TokenCount>) -> Option<String> {
    tokens.and_then(|tokens| word(&tokens.source))
}

/// The word that JSON has for a value of a closed list.
fn word(value: &impl Serialize) -> Option<String> {
    match serde_json::to_value(value).ok()? {
        serde_json::Value::String(word) => Some(word),
        _ => None,
    }
}

fn list<T, V>(items: &[T], value: impl Fn(&T) -> Option<V>) -> Vec<Option<V>> {
    items.iter().map(value).collect()
}

/// The values of one column.
trait Column {
    fn push(&mut self, seen: Seen<'_>);
    fn finish(&mut self) -> ArrayRef;
}

/// A builder, and what goes into it.
struct Filled<B, F> {
    builder: B,
    value: F,
}

macro_rules! column {
    ($(#[$doc:meta])* $name:ident, $builder:ty, $value:ty, $type:expr) => {
        $(#[$doc])*
        fn $name(name: &str, value: fn(&Exchange) -> Option<$value>) -> Named {
            let column = Filled { builder: <$builder>::new(), value };
            (Field::new(name, $type, true), Box::new(column))
        }

        impl Column for Filled<$builder, fn(&Exchange) -> Option<$value>> {
            fn push(&mut self, (exchange, _): Seen<'_>) {
                self.builder.append_option((self.value)(exchange));
            }

            fn finish(&mut self) -> ArrayRef {
                Arc::new(self.builder.finish())
            }
        }
    };
}

macro_rules! list_column {
    ($(#[$doc:meta])* $name:ident, $builder:ty, $value:ty, $type:expr) => {
        $(#[$doc])*
        fn $name(name: &str, value: fn(&Exchange) -> Vec<$value>) -> Named {
            let column = Filled { builder: ListBuilder::new(<$builder>::default()), value };
            let items = Arc::new(Field::new("item", $type, true));
            (Field::new(name, DataType::List(items), true), Box::new(column))
        }

        impl Column for Filled<ListBuilder<$builder>, fn(&Exchange) -> Vec<$value>> {
            fn push(&mut self, (exchange, _): Seen<'_>) {
                for item in (self.value)(exchange) {
                    self.builder.values().append_option(item);
                }
                self.builder.append(true);
            }

            fn finish(&mut self) -> ArrayRef {
                Arc::new(self.builder.finish())
            }
        }
    };
}

column!(u32, UInt32Builder, u32, DataType::UInt32);
column!(u64, UInt64Builder, u64, DataType::UInt64);
column!(flag, BooleanBuilder, bool, DataType::Boolean);
column!(text, StringBuilder, String, DataType::Utf8);
list_column!(u32s, UInt32Builder, Option<u32>, DataType::UInt32);
list_column!(
    u32_lists,
    ListBuilder<UInt32Builder>,
    Option<Vec<Option<u32>>>,
    DataType::List(Arc::new(Field::new("item", DataType::UInt32, true)))
);
list_column!(u64s, UInt64Builder, Option<u64>, DataType::UInt64);
list_column!(texts, StringBuilder, Option<String>, DataType::Utf8);

/// The model's name or pseudonym, which is no part of the exchange.
struct Model(StringBuilder);

fn model(name: &str) -> Named {
    let column = Model(StringBuilder::new());
    (Field::new(name, DataType::Utf8, true), Box::new(column))
}

impl Column for Model {
    fn push(&mut self, (_, model): Seen<'_>) {
        self.0.append_option(model);
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

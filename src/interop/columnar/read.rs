//! Our own Parquet, as [`super::write`] writes it: every exchange back, and the header. A row becomes the JSON that our lines have, and is
//! read as that is.

use std::path::Path;

use arrow_array::RecordBatch;
use serde_json::{Map, Value, json};

use super::about::about;
use super::cells::value;
use super::columns::Columns;
use super::table::Table;
use crate::interop::InteropError;
use crate::interop::input::{About, Row, RowError, Rows};
use crate::interop::jsonl::exchange_of;
use crate::interop::options::ImportOptions;
use crate::shape::GapSketch;

/// The reader.
pub(in crate::interop) struct ParquetRows {
    table: Table,
    about: About,
}

/// Without these a row is no exchange. Others may be absent: older files do not have them.
const REQUIRED: [&str; 5] = ["at_us", "endpoint", "method", "shape", "outcome"];

impl ParquetRows {
    pub(in crate::interop) fn open(
        path: &Path,
        options: &ImportOptions,
    ) -> Result<Self, InteropError> {
        let schema = Columns::new().schema();
        let wanted: Vec<_> = schema
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        let table = Table::open(path, &wanted, &REQUIRED, &options.progress)?;
        let about = about(&table).map_err(|reason| InteropError::Format {
            path: path.to_owned(),
            reason,
        })?;
        Ok(Self { table, about })
    }
}

impl Rows for ParquetRows {
    fn next_row(&mut self) -> Option<Result<Row, RowError>> {
        self.table.next(|batch, place, line| {
            let cells = Cells { batch, place };
            let exchange = exchange_of(cells.exchange()?)?;
            Ok(Row {
                line,
                ..exchange.into()
            })
        })
    }

    fn about(&self) -> About {
        self.about
    }
}

/// One row.
struct Cells<'a> {
    batch: &'a RecordBatch,
    place: usize,
}

impl Cells<'_> {
    fn exchange(&self) -> Result<Value, String> {
        let mut exchange = self.fields(&[
            ("at_us", "at_us"),
            ("endpoint", "endpoint"),
            ("method", "method"),
            ("model", "model_id"),
            ("session", "session_id"),
            ("client", "client_id"),
            ("in_flight", "in_flight"),
            ("new_connection", "new_connection"),
            ("shape", "shape"),
        ])?;
        exchange.insert("request".to_owned(), self.request()?.into());
        exchange.insert("response".to_owned(), self.response()?.into());
        let frames = self.frames()?;
        if !frames.is_empty() {
            exchange.insert("frames".to_owned(), frames.into());
        }
        let outcome = self.fields(&[("kind", "outcome"), ("at_us", "outcome_at_us")])?;
        exchange.insert("outcome".to_owned(), outcome.into());
        Ok(exchange.into())
    }

    fn request(&self) -> Result<Map<String, Value>, String> {
        let mut request = self.fields(&[
            ("bytes", "request_bytes"),
            ("media_type", "request_media_type"),
            ("blocks", "blocks"),
        ])?;
        let mut put = |name: &str, value: Value| request.insert(name.to_owned(), value);
        if let Some(tokens) = self.tokens("prompt_tokens", "prompt_tokens_source")? {
            put("prompt_tokens", tokens);
        }
        put(
            "messages",
            self.items(&[
                ("role", "message_roles"),
                ("bytes", "message_bytes"),
                ("tokens", "message_tokens"),
            ])?
            .into(),
        );
        put(
            "tools",
            self.fields(&[("count", "tools"), ("bytes", "tools_bytes")])?
                .into(),
        );
        let mut media = self.items(&[
            ("message", "media_message"),
            ("kind", "media_kinds"),
            ("format", "media_formats"),
            ("bytes", "media_bytes"),
            ("width", "media_width_pixels"),
            ("height", "media_height_pixels"),
        ])?;
        for part in &mut media {
            if let (Some(width), Some(height)) = (part.remove("width"), part.remove("height")) {
                part.insert("pixels".to_owned(), json!([width, height]));
            }
        }
        put("media", media.into());
        put(
            "tensors",
            self.items(&[
                ("message", "tensor_message"),
                ("datatype", "tensor_datatypes"),
                ("dimensions", "tensor_dimensions"),
            ])?
            .into(),
        );
        put(
            "cache_marks",
            self.items(&[
                ("on", "cache_mark_on"),
                ("index", "cache_mark_index"),
                ("bytes", "cache_mark_bytes"),
                ("life", "cache_mark_life"),
            ])?
            .into(),
        );
        let params = [
            "max_tokens",
            "min_tokens",
            "ignore_eos",
            "n",
            "best_of",
            "stream",
            "include_usage",
            "greedy",
            "structured",
            "schema_bytes",
            "logprobs",
            "stop_count",
            "reasoning_effort",
            "token_ids",
            "echo",
            "continues",
            "context_tokens",
            "continuous_usage",
            "return_token_ids",
            "dimensions",
            "encoding_format",
        ];
        put(
            "params",
            self.fields(&params.map(|name| (name, name)))?.into(),
        );
        Ok(request)
    }

    fn response(&self) -> Result<Map<String, Value>, String> {
        let mut response = self.fields(&[
            ("status", "status"),
            ("headers_us", "headers_us"),
            ("first_byte_us", "first_byte_us"),
            ("first_token_us", "first_token_us"),
            ("first_answer_us", "first_answer_us"),
            ("last_token_us", "last_token_us"),
            ("end_us", "end_us"),
            ("reader_wait_us", "reader_wait_us"),
            ("gaps_in_order_us", "gaps_in_order_us"),
            ("cached_tokens", "cached_tokens"),
            ("reasoning_tokens", "reasoning_tokens"),
            ("finish", "finish"),
            ("tool_calls", "tool_calls"),
            ("bytes", "response_bytes"),
            ("media_type", "response_media_type"),
            ("events", "events"),
            ("token_events", "token_events"),
        ])?;
        if let Some(tokens) = self.tokens("output_tokens", "output_tokens_source")? {
            response.insert("output_tokens".to_owned(), tokens);
        }
        if let Some(gaps) = self.gaps("gap_us", "gap_count", "longest_gap_us")? {
            response.insert("gaps".to_owned(), gaps);
        }
        Ok(response)
    }

    /// What is known of frames; nothing where no column says anything.
    fn frames(&self) -> Result<Map<String, Value>, String> {
        let mut frames = self.fields(&[
            ("first_sent_us", "frames_first_sent_us"),
            ("sent_gaps_in_order_us", "frames_sent_gaps_in_order_us"),
        ])?;
        let gaps = self.gaps(
            "frames_sent_gap_us",
            "frames_sent_gap_count",
            "frames_sent_longest_gap_us",
        )?;
        let sizes = self.items(&[
            ("bytes", "frames_came_bytes"),
            ("count", "frames_came_count"),
        ])?;
        let sizes: Vec<_> = sizes
            .iter()
            .map(|size| json!([size.get("bytes"), size.get("count")]))
            .collect();
        frames.insert("came_sizes".to_owned(), sizes.into());
        frames.extend(gaps.map(|gaps| ("sent_gaps".to_owned(), gaps)));
        frames.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
        Ok(frames)
    }

    /// A sketch, where it has any gap.
    fn gaps(&self, us: &str, count: &str, longest: &str) -> Result<Option<Value>, String> {
        let gaps = self.items(&[("us", us), ("count", count)])?;
        if gaps.is_empty() {
            return Ok(None);
        }
        let bucket = |gap: &Map<String, Value>| -> Result<Value, String> {
            let middle_us = gap.get("us").and_then(Value::as_u64);
            let middle_us =
                middle_us.ok_or_else(|| format!("`{us}` is not a list of whole numbers"))?;
            Ok(json!([GapSketch::bucket_of(middle_us), gap.get("count")]))
        };
        let buckets = gaps.iter().map(bucket).collect::<Result<Vec<_>, _>>()?;
        let longest_us = self.get(longest)?;
        Ok(Some(json!({"buckets": buckets, "longest_us": longest_us})))
    }

    /// A cell; `Null` where it is empty, or the file does not have the column.
    fn get(&self, name: &str) -> Result<Value, String> {
        let Some(column) = self.batch.column_by_name(name) else {
            return Ok(Value::Null);
        };
        value(column.as_ref(), self.place).ok_or_else(|| {
            format!("`{name}` is neither a whole number, nor text, nor a list of them")
        })
    }

    /// The cells that are not empty, by the names of the fields that they are.
    fn fields(&self, names: &[(&str, &str)]) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        for (field, column) in names {
            let value = self.get(column)?;
            if !value.is_null() {
                fields.insert((*field).to_owned(), value);
            }
        }
        Ok(fields)
    }

    fn tokens(&self, count: &str, source: &str) -> Result<Option<Value>, String> {
        let tokens = self.fields(&[("count", count), ("source", source)])?;
        Ok((!tokens.is_empty()).then(|| tokens.into()))
    }

    /// The items of lists that belong together.
    fn items(&self, names: &[(&str, &str)]) -> Result<Vec<Map<String, Value>>, String> {
        let mut items: Option<Vec<Map<String, Value>>> = None;
        for (field, column) in names {
            let list = match self.get(column)? {
                Value::Null => continue,
                Value::Array(list) => list,
                _ => return Err(format!("`{column}` is not a list")),
            };
            let items = items.get_or_insert_with(|| vec![Map::new(); list.len()]);
            if items.len() != list.len() {
                return Err(format!(
                    "`{column}` is not as long as the lists that it belongs to"
                ));
            }
            for (item, value) in items.iter_mut().zip(list) {
                if !value.is_null() {
                    item.insert((*field).to_owned(), value);
                }
            }
        }
        Ok(items.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::columnar::ParquetSink;
    use crate::interop::output::Sink;
    use crate::shape::{BlockSpec, Exchange};
    use crate::trace::tests::any;
    use crate::trace::{Header, Source};
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            tool: "0.1.0".into(),
            source: Source::Weka,
            block: Some(BlockSpec::LIVE),
            epoch_unix_us: Some(7),
            run: 1,
            sample_ppm: 5,
            policy: None,
            envelope: None,
        }
    }

    fn back(exchanges: &[Exchange]) -> (About, Vec<Exchange>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.parquet");
        let mut sink = ParquetSink::create(&path, &header()).unwrap();
        for exchange in exchanges {
            assert!(sink.take(exchange, None).is_ok());
        }
        Box::new(sink).finish().unwrap();
        let mut rows = ParquetRows::open(&path, &ImportOptions::default()).unwrap();
        let read = std::iter::from_fn(|| rows.next_row());
        let read = read.map(|row| row.ok().unwrap().exchange).collect();
        (rows.about(), read)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_exchange_comes_back_as_it_went_out(mut exchanges in prop::collection::vec(any::exchange(), 1..5)) {
            exchanges.iter_mut().for_each(any::without_longest_of_none);
            let (about, read) = back(&exchanges);
            let header = header();
            prop_assert_eq!((about.source, about.block, about.epoch_unix_us, about.sample_ppm), (header.source, header.block, Some(7), 5));
            prop_assert_eq!(read, exchanges);
        }
    }
}

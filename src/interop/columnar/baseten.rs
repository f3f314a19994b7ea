//! Baseten's traces: Parquet, a row for each request. Of the prompt's text the length is taken.

use std::path::Path;

use arrow_array::RecordBatch;

use super::cells::{Cell, cell, hashes};
use super::table::Table;
use crate::anonymise::Private;
use crate::interop::InteropError;
use crate::interop::blocks::Blocks;
use crate::interop::input::{About, Numbering, Row, RowError, Rows, Told, message};
use crate::interop::options::ImportOptions;
use crate::shape::{Outcome, Role, SessionId};
use crate::trace::Source;

/// The reader.
pub(in crate::interop) struct BasetenRows {
    table: Table,
    reading: Reading,
}

/// What the rows so far have shown.
struct Reading {
    blocks: Blocks,
    /// Whether the size of a block was given with the command and not by the rows.
    block_given: bool,
    sessions: Numbering<Private>,
}

const TIME: &str = "timestamp_start_unix_ms";
const INPUT: &str = "input_tokens";
const OUTPUT: &str = "output_tokens";
const PROMPT: &str = "prompt";
const HASHES: &str = "total_hashes";
const BLOCK: &str = "block_size";
const SESSION: &str = "provided_session_id";
const MODEL: &str = "model_name";
const CANCELED: &str = "request_canceled";
const E2E: &str = "duration_e2e_ms";
const TTFT: &str = "duration_ttft_ms";
const READ: [&str; 11] = [
    TIME, INPUT, OUTPUT, PROMPT, HASHES, BLOCK, SESSION, MODEL, CANCELED, E2E, TTFT,
];
const REQUIRED: [&str; 3] = [TIME, INPUT, OUTPUT];

impl BasetenRows {
    pub(in crate::interop) fn open(
        path: &Path,
        options: &ImportOptions,
    ) -> Result<Self, InteropError> {
        Ok(Self {
            table: Table::open(path, &READ, &REQUIRED, &options.progress)?,
            reading: Reading {
                blocks: Blocks::of_tokens(options.block_tokens.map_or(0, Into::into)),
                block_given: options.block_tokens.is_some(),
                sessions: Numbering::default(),
            },
        })
    }
}

impl Reading {
    fn row(&mut self, batch: &RecordBatch, place: usize, line: u64) -> Result<Row, String> {
        let get = |name: &str| {
            batch
                .column_by_name(name)
                .map_or(Cell::Empty, |column| cell(column.as_ref(), place))
        };
        let whole = |name: &str| match get(name) {
            Cell::Empty => Ok(None),
            Cell::Whole(number) => Ok(Some(number)),
            _ => Err(format!("`{name}` is not a whole number")),
        };
        let tokens = |name: &str| {
            whole(name)?
                .and_then(|count| u32::try_from(count).ok())
                .ok_or_else(|| format!("`{name}` is missing or not a whole number of tokens"))
        };
        let ms = |name: &str| match whole(name)? {
            None => Ok(None),
            Some(ms) => ms
                .checked_mul(1000)
                .map(Some)
                .ok_or_else(|| format!("`{name}` is too large")),
        };
        let key = |name: &str| match get(name) {
            Cell::Empty => Ok(None),
            Cell::Whole(number) => Ok(Some(Private::new(number.to_string()))),
            Cell::Text(text) => Ok(Some(Private::new(text))),
            _ => Err(format!("`{name}` is neither a number nor a text")),
        };
        let prompt_tokens = tokens(INPUT)?;
        let ids = match get(HASHES) {
            Cell::Empty => Vec::new(),
            Cell::List(list) => {
                hashes(&list).ok_or_else(|| format!("`{HASHES}` is not a list of whole numbers"))?
            }
            _ => return Err(format!("`{HASHES}` is not a list of whole numbers")),
        };
        let told_size = whole(BLOCK)?.and_then(|size| u32::try_from(size).ok());
        let blocks = match told_size {
            _ if ids.is_empty() => Vec::new(),
            None if !self.block_given => {
                return Err(format!("`{BLOCK}` is missing: --block-tokens can say it"));
            }
            None => self.blocks.number(&ids, prompt_tokens)?,
            Some(size) => {
                self.blocks.told(size)?;
                self.blocks.number(&ids, prompt_tokens)?
            }
        };
        let end_us = ms(E2E)?;
        let outcome = match whole(CANCELED)? {
            Some(1..) => Outcome::ClientCancelled {
                at_us: end_us.unwrap_or(0),
            },
            _ => Outcome::Completed,
        };
        let messages = match get(PROMPT) {
            Cell::Text(text) => vec![message(Role::User, text.len())],
            _ => Vec::new(),
        };
        Ok(Row {
            line,
            ..Told {
                at_us: ms(TIME)?.ok_or_else(|| format!("`{TIME}` is missing"))?,
                prompt_tokens: Some(prompt_tokens),
                output_tokens: Some(tokens(OUTPUT)?),
                blocks,
                session: match key(SESSION)? {
                    Some(key) => Some(SessionId(self.sessions.number(key)?)),
                    None => None,
                },
                model: key(MODEL)?,
                first_token_us: ms(TTFT)?,
                end_us,
                outcome,
                messages,
                ..Told::default()
            }
            .into()
        })
    }
}

impl Rows for BasetenRows {
    fn next_row(&mut self) -> Option<Result<Row, RowError>> {
        let Self { table, reading } = self;
        table.next(|batch, place, line| reading.row(batch, place, line))
    }

    fn about(&self) -> About {
        About::new(Source::Baseten, self.reading.blocks.spec()).on_the_wall_clock()
    }

    fn blocks(&mut self) -> Option<&mut Blocks> {
        Some(&mut self.reading.blocks)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::shape::BlockId;

    fn written(columns: Vec<(&str, ArrayRef)>) -> tempfile::NamedTempFile {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer =
            ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    fn whole(numbers: Vec<Option<i64>>) -> ArrayRef {
        Arc::new(Int64Array::from(numbers))
    }

    fn read(file: &tempfile::NamedTempFile) -> Vec<Result<Row, (u64, String)>> {
        let options = ImportOptions::default();
        let mut rows = BasetenRows::open(file.path(), &options).ok().unwrap();
        std::iter::from_fn(|| rows.next_row())
            .map(|row| {
                row.map_err(|error| match error {
                    RowError::Bad { line, reason } => (line, reason),
                    _ => unreachable!(),
                })
            })
            .collect()
    }

    #[test]
    fn rows_are_read_and_of_prompts_only_their_length() {
        let mut hashes = ListBuilder::new(Int64Builder::new());
        for list in [&[1, -2][..], &[1, 3], &[]] {
            hashes.values().append_slice(list);
            hashes.append(true);
        }
        let prompts = StringArray::from(vec!["first prompt", "é", "secret"]);
        let sessions = StringArray::from(vec![Some("a"), None, Some("a")]);
        let file = written(vec![
            (
                TIME,
                whole(vec![
                    Some(1_700_000_000_100),
                    Some(1_700_000_000_350),
                    Some(-5),
                ]),
            ),
            (PROMPT, Arc::new(prompts)),
            (INPUT, whole(vec![Some(100), Some(128), Some(1)])),
            (OUTPUT, whole(vec![Some(6), Some(8), Some(1)])),
            (HASHES, Arc::new(hashes.finish())),
            (BLOCK, whole(vec![Some(64), Some(64), None])),
            (SESSION, Arc::new(sessions)),
            (CANCELED, whole(vec![Some(0), Some(1), None])),
            (E2E, whole(vec![Some(20), Some(30), None])),
            (TTFT, whole(vec![Some(3), None, None])),
        ]);
        let rows = read(&file);
        let first = &rows[0].as_ref().ok().unwrap().exchange;
        assert_eq!(first.at.us(), 1_700_000_000_100_000);
        assert_eq!(first.request.messages[0].bytes, 12);
        assert_eq!(first.request.blocks, [BlockId(0), BlockId(1)]);
        assert_eq!(first.session, Some(SessionId(0)));
        assert_eq!(first.response.end_us, Some(20_000));
        assert_eq!(first.response.first_token_us, Some(3_000));
        let second = &rows[1].as_ref().ok().unwrap().exchange;
        assert_eq!(second.request.blocks, [BlockId(0), BlockId(2)]);
        assert_eq!(second.outcome, Outcome::ClientCancelled { at_us: 30_000 });
        let (line, reason) = rows[2].as_ref().err().unwrap();
        assert_eq!(*line, 3);
        assert!(
            reason.contains(TIME) && !reason.contains("secret"),
            "{reason}"
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
        #[test]
        fn a_damaged_file_never_panics(at in proptest::prelude::any::<proptest::sample::Index>(), mask in 1_u8.., cut in proptest::bool::weighted(0.2)) {
            let file = written(vec![
                (TIME, whole((0..40).map(Some).collect())),
                (INPUT, whole((0..40).map(Some).collect())),
                (OUTPUT, whole(vec![Some(6); 40])),
                (PROMPT, Arc::new(StringArray::from(vec!["text"; 40]))),
            ]);
            let mut bytes = std::fs::read(file.path()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            if cut {
                bytes.truncate(at);
            }
            std::fs::write(file.path(), bytes).unwrap();
            if let Ok(mut rows) = BasetenRows::open(file.path(), &ImportOptions::default()) {
                for _ in 0..100 {
                    match rows.next_row() {
                        None | Some(Err(RowError::Io(_))) => break,
                        Some(_) => {}
                    }
                }
            }
        }
    }

    #[test]
    fn another_table_is_refused() {
        let file = written(vec![("x", whole(vec![Some(1)]))]);
        let options = ImportOptions::default();
        let error = BasetenRows::open(file.path(), &options).err().unwrap();
        assert!(error.to_string().contains(INPUT), "{error}");
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "PAR1 no more").unwrap();
        assert!(BasetenRows::open(text.path(), &options).is_err());
    }
}

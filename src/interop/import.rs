use std::io::{self, BufRead};
use std::path::Path;

use super::azure::AzureRows;
use super::mooncake::MooncakeRows;
use super::{InteropError, text};
use crate::anonymise::Recordable;
use crate::shape::{
    BlockId, BlockSpec, Endpoint, Exchange, MessageShape, Method, RequestParams, RequestShape,
    ResponseShape, Role, TokenCount, TokenSource, TraceTime,
};
use crate::trace::{Header, Source, Totals, TraceError, TraceWriter, WriterOptions};

/// Formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFormat {
    /// Mooncake JSON lines: `timestamp` (ms), `input_length`, `output_length`, `hash_ids`.
    Mooncake,
    /// Azure CSV: `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`.
    Azure,
}

/// How an import goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions {
    /// Leave malformed rows out and count them, instead of giving up at the first.
    pub skip_bad: bool,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Exchanges written.
    pub rows: u64,
    /// Malformed rows left out.
    pub skipped: u64,
    /// The first of those, by line and what is wrong with it.
    pub first_skipped: Option<(u64, String)>,
}

/// The rows of a foreign trace.
pub(super) trait Rows {
    /// The next row; `None` at the end.
    fn next_row(&mut self) -> Option<Result<Row, RowError>>;
}

/// What the imported formats say of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at_us: u64,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) blocks: Vec<BlockId>,
}

pub(super) enum RowError {
    Io(io::Error),
    /// The file is not of the format at all.
    Format(String),
    Bad {
        line: u64,
        reason: String,
    },
}

/// Reads a foreign trace (`-` for standard input, gzip or not) and writes it as a trace file, which has its name only when
/// it is whole.
///
/// # Errors
/// When the input cannot be read, has no row or a malformed one, or the trace cannot be written.
pub fn import(
    format: ImportFormat,
    input: &Path,
    output: &Path,
    options: ImportOptions,
) -> Result<Imported, InteropError> {
    let reader = text::open(input)?;
    let header = Header {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        source: match format {
            ImportFormat::Mooncake => Source::Mooncake,
            ImportFormat::Azure => Source::Azure,
        },
        block: match format {
            ImportFormat::Mooncake => Some(BlockSpec::MOONCAKE),
            ImportFormat::Azure => None,
        },
        epoch_unix_us: None,
        run: random_run(output)?,
        sample_ppm: 1_000_000,
    };
    let mut writer = TraceWriter::create_whole(output, &header, WriterOptions::default())?;
    let failed = |source| InteropError::Io {
        path: input.to_owned(),
        source,
    };
    let mut rows = open_rows(format, reader).map_err(|error| bad(input, error))?;
    let mut done = Imported {
        rows: 0,
        skipped: 0,
        first_skipped: None,
    };
    while let Some(row) = rows.next_row() {
        match row {
            Ok(row) => {
                done.rows += 1;
                // Before the push, which may cut the block that carries them.
                writer.account(&accounts(&done));
                writer.push(Recordable::content_free(exchange_of(row)))?;
            }
            Err(RowError::Bad { line, reason }) if options.skip_bad => {
                done.skipped += 1;
                done.first_skipped.get_or_insert((line, reason));
            }
            Err(RowError::Io(source)) => return Err(failed(source)),
            Err(error) => return Err(bad(input, error)),
        }
    }
    if done.rows == 0 {
        return Err(InteropError::NoRows {
            path: input.to_owned(),
            skipped: done.skipped,
        });
    }
    writer.account(&accounts(&done));
    writer.finish()?;
    Ok(done)
}

fn accounts(done: &Imported) -> Totals {
    let malformed = (done.skipped > 0).then(|| ("malformed_row".to_owned(), done.skipped));
    Totals {
        seen: done.rows + done.skipped,
        recorded: done.rows,
        dropped: malformed.into_iter().collect(),
        ..Totals::default()
    }
}

fn open_rows(format: ImportFormat, reader: Box<dyn BufRead>) -> Result<Box<dyn Rows>, RowError> {
    Ok(match format {
        ImportFormat::Mooncake => Box::new(MooncakeRows::new(reader)),
        ImportFormat::Azure => Box::new(AzureRows::new(reader)?),
    })
}

fn bad(input: &Path, error: RowError) -> InteropError {
    let path = input.to_owned();
    match error {
        RowError::Io(source) => InteropError::Io { path, source },
        RowError::Format(reason) => InteropError::Format { path, reason },
        RowError::Bad { line, reason } => InteropError::Row { path, line, reason },
    }
}

fn random_run(output: &Path) -> Result<u64, InteropError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| TraceError::Io {
        path: output.to_owned(),
        source: io::Error::other(error),
    })?;
    Ok(u64::from_le_bytes(bytes))
}

/// A streamed chat of one message that completed. Bytes are 0, for the sources do not tell them; the message is the whole
/// prompt, so its tokens are the prompt's.
fn exchange_of(row: Row) -> Exchange {
    let usage = |count| {
        Some(TokenCount {
            count,
            source: TokenSource::Usage,
        })
    };
    Exchange {
        request: RequestShape {
            messages: vec![MessageShape {
                role: Role::User,
                bytes: 0,
                tokens: None,
            }],
            prompt_tokens: usage(row.prompt_tokens),
            blocks: row.blocks,
            params: RequestParams {
                n: 1,
                stream: true,
                ..RequestParams::default()
            },
            ..RequestShape::default()
        },
        response: ResponseShape {
            status: 200,
            output_tokens: usage(row.output_tokens),
            ..ResponseShape::default()
        },
        ..Exchange::bare(
            TraceTime::from_us(row.at_us),
            Endpoint::ChatCompletions,
            Method::Post,
        )
    }
}

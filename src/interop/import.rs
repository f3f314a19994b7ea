use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::aiperf::MooncakeFamily;
use super::azure::Azure;
use super::bailian::Bailian;
use super::burstgpt::Burstgpt;
use super::dynamo::Dynamo;
use super::evalscope::Evalscope;
use super::input::{About, LineRows, Row, RowError, Rows, Window};
use super::jsonl::Jsonl;
use super::options::{ImportFormat, ImportOptions};
use super::vllm::VllmCustom;
use super::weka::WekaRows;
use super::{InteropError, input};
use crate::anonymise::{Anonymiser, ChainKey, Policy, Recordable, Sighting};
use crate::trace::{Header, Source, Totals, TraceError, TraceWriter, WriterOptions};

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Exchanges written.
    pub rows: u64,
    /// Malformed rows left out.
    pub skipped: u64,
    /// The first of those, by line and what is wrong with it.
    pub first_skipped: Option<(u64, String)>,
}

/// Reads a foreign trace (`-` for standard input; text may be compressed with gzip or zstd) and writes it as a trace file,
/// which has its name only when it is whole.
///
/// # Errors
/// When an option is not for this format, the input cannot be read, has no row or a malformed one, or the trace cannot be written.
pub fn import(
    format: ImportFormat,
    input: &Path,
    output: &Path,
    options: &ImportOptions,
) -> Result<Imported, InteropError> {
    options.check(format)?;
    let random = |error: getrandom::Error| TraceError::Io {
        path: output.to_owned(),
        source: io::Error::other(error),
    };
    let key = ChainKey::random().map_err(random)?;
    let mut intake = Intake {
        rows: open_rows(format, input, options, &key)?,
        ahead: VecDeque::new(),
        input,
        skip_bad: options.skip_bad,
        done: Imported::default(),
    };
    let Some(about) = intake.settle()? else {
        return Err(intake.nothing());
    };
    let header = Header {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        source: about.source,
        block: about.block,
        epoch_unix_us: about.epoch_unix_us,
        run: {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map_err(random)?;
            u64::from_le_bytes(bytes)
        },
        sample_ppm: about.sample_ppm,
        policy: None,
        envelope: None,
    };
    let policy = Policy {
        keep_models: options.keep_models.clone(),
        ..Policy::default()
    };
    let mut gate = Anonymiser::with_key(policy, key);
    let mut writer = TraceWriter::create_whole(output, &header, WriterOptions::default())?;
    let mut window = Window::new(about.wall_clock);
    while let Some(row) = intake.in_order(&mut window)? {
        if let Some(row) = intake.judge(row)? {
            intake.done.rows += 1;
            // Before the push, which may cut the block that carries them.
            writer.account(&accounts(&intake.done));
            writer.push(admitted(&mut gate, row))?;
        }
    }
    if intake.done.rows == 0 {
        return Err(intake.nothing());
    }
    writer.account(&accounts(&intake.done));
    writer.finish()?;
    Ok(intake.done)
}

/// The rows of a file, of whatever format.
fn open_rows(
    format: ImportFormat,
    path: &Path,
    options: &ImportOptions,
    key: &ChainKey,
) -> Result<Box<dyn Rows>, InteropError> {
    if matches!(format, ImportFormat::Baseten | ImportFormat::Parquet) {
        return open_parquet(format, path, options);
    }
    let mut lines = input::open(path, &options.progress)?;
    let spacing_us = options.spacing_us();
    let family = |source, unit_us, block_tokens| {
        MooncakeFamily::new(source, unit_us, block_tokens, options, key)
    };
    let bad = |error| bad(path, error);
    Ok(match format {
        ImportFormat::Mooncake => {
            Box::new(LineRows::new(lines, family(Source::Mooncake, 1000, 512)?))
        }
        ImportFormat::Aiperf => Box::new(LineRows::new(lines, family(Source::Aiperf, 1000, 512)?)),
        ImportFormat::VllmTimedTrace => {
            Box::new(LineRows::new(lines, family(Source::Vllm, 1_000_000, 16)?))
        }
        ImportFormat::Bailian => Box::new(LineRows::new(lines, Bailian::new())),
        ImportFormat::Azure => {
            let azure = Azure::open(&mut lines).map_err(bad)?;
            Box::new(LineRows::new(lines, azure))
        }
        ImportFormat::Burstgpt => {
            let burstgpt = Burstgpt::open(&mut lines).map_err(bad)?;
            Box::new(LineRows::new(lines, burstgpt))
        }
        ImportFormat::Weka => Box::new(WekaRows::new(lines, spacing_us)),
        ImportFormat::Dynamo => Box::new(LineRows::new(lines, Dynamo::new())),
        ImportFormat::VllmCustom => Box::new(LineRows::new(lines, VllmCustom::new(spacing_us))),
        ImportFormat::Evalscope => Box::new(LineRows::new(lines, Evalscope::new(key, spacing_us))),
        ImportFormat::Jsonl | ImportFormat::Baseten | ImportFormat::Parquet => {
            Box::new(LineRows::new(lines, Jsonl::new()))
        }
    })
}

#[cfg(feature = "parquet")]
fn open_parquet(
    format: ImportFormat,
    path: &Path,
    options: &ImportOptions,
) -> Result<Box<dyn Rows>, InteropError> {
    use super::columnar::{BasetenRows, ParquetRows};
    Ok(match format {
        ImportFormat::Baseten => Box::new(BasetenRows::open(path, options)?),
        _ => Box::new(ParquetRows::open(path, options)?),
    })
}

#[cfg(not(feature = "parquet"))]
fn open_parquet(
    _: ImportFormat,
    _: &Path,
    _: &ImportOptions,
) -> Result<Box<dyn Rows>, InteropError> {
    Err(InteropError::NoParquet)
}

/// The rows as they come in, and what became of them.
struct Intake<'a> {
    rows: Box<dyn Rows>,
    /// Rows that were read before the header could be written.
    ahead: VecDeque<Row>,
    input: &'a Path,
    skip_bad: bool,
    done: Imported,
}

impl Intake<'_> {
    /// Reads rows until they have shown what holds for the whole file, which the header must say before any of them; `None` where
    /// there is no row. What so many rows do not show is taken to be as is usual, and a later one that shows otherwise is
    /// malformed.
    fn settle(&mut self) -> Result<Option<About>, InteropError> {
        let mut weight = 0;
        while let Some(row) = self.read()? {
            weight += row.weight();
            self.ahead.push_back(row);
            let blocks = self.rows.blocks();
            if weight > MOST_AHEAD || blocks.is_none_or(|blocks| blocks.is_shown()) {
                break;
            }
        }
        if let Some(blocks) = self.rows.blocks() {
            blocks.settle();
        }
        Ok((!self.ahead.is_empty()).then(|| self.rows.about()))
    }

    /// The next row by arrival, as far as the window reaches.
    fn in_order(
        &mut self,
        window: &mut Window,
    ) -> Result<Option<Result<Row, RowError>>, InteropError> {
        while !window.is_full() {
            let next = match self.ahead.pop_front() {
                Some(row) => Some(row),
                None => self.read()?,
            };
            match next {
                Some(row) => window.hold(row),
                None => break,
            }
        }
        Ok(window.take())
    }

    /// The next row of the file that is well-formed.
    fn read(&mut self) -> Result<Option<Row>, InteropError> {
        while let Some(row) = self.rows.next_row() {
            let row = row.and_then(within_bounds);
            if let Some(row) = self.judge(row)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// A row, or nothing where it is malformed and may be skipped.
    fn judge(&mut self, row: Result<Row, RowError>) -> Result<Option<Row>, InteropError> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(RowError::Bad { line, reason }) if self.skip_bad => {
                self.done.skipped += 1;
                self.done.first_skipped.get_or_insert((line, reason));
                Ok(None)
            }
            Err(error) => Err(bad(self.input, error)),
        }
    }

    fn nothing(&self) -> InteropError {
        InteropError::NoRows {
            path: self.input.to_owned(),
            skipped: self.done.skipped,
        }
    }
}

/// One exchange must not fill a block of the trace by itself.
fn within_bounds(row: Row) -> Result<Row, RowError> {
    if row.exchange.list_elements() > MAX_ELEMENTS {
        return Err(RowError::Bad {
            line: row.line,
            reason: format!("its lists hold more than {MAX_ELEMENTS} items"),
        });
    }
    Ok(row)
}

const MAX_ELEMENTS: usize = 1 << 20;

/// What rows may weigh that are read before the header is written: some 32 MB, which is 30,000 rows that tell of no blocks.
const MOST_AHEAD: usize = 1 << 22;

fn admitted(gate: &mut Anonymiser, row: Row) -> Recordable {
    match row.chain {
        Some(chain) => gate.admit(Sighting {
            model: row.model,
            chain,
            ..Sighting::of(row.exchange)
        }),
        None => gate.admit_numbered(row.exchange, row.model),
    }
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

/// What is wrong, and in which file.
pub(super) fn bad(input: &Path, error: RowError) -> InteropError {
    let path = input.to_owned();
    match error {
        RowError::Io(source) => InteropError::Io { path, source },
        RowError::Format(reason) => InteropError::Format { path, reason },
        RowError::Bad { line, reason } => InteropError::Row { path, line, reason },
    }
}

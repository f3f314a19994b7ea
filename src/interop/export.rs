use std::collections::BTreeMap;
use std::path::Path;

use super::InteropError;
use super::azure::AzureWriter;
use super::bailian::BailianWriter;
use super::burstgpt::BurstgptWriter;
use super::jsonl::JsonlWriter;
use super::mooncake::MooncakeWriter;
use super::options::{ExportFormat, ExportOptions, name};
use super::output::{Output, Refused, RowWriter, Sink, TextSink};
use crate::trace::{Header, Trace};

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows written.
    pub rows: u64,
    /// Exchanges that the format cannot express, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
}

/// Writes a trace in another format, to a file (text is compressed where its name ends in `.gz` or `.zst`; it has its name only
/// when it is whole) or, for `-`, to standard output.
///
/// # Errors
/// When an option is not for this format, the trace cannot be read or its files were not recorded alike, the output cannot be
/// written, or no exchange has a row.
pub fn export(
    format: ExportFormat,
    trace: &mut Trace,
    output: &Path,
    options: &ExportOptions,
) -> Result<Exported, InteropError> {
    options.check(format)?;
    let mut sink = open_sink(format, trace, output, options)?;
    let mut done = Exported::default();
    let mut exchanges = trace.exchanges();
    while let Some(exchange) = exchanges.next() {
        let exchange = exchange?;
        let pseudonym = exchange.model.map(|model| model.to_string());
        let model = exchange.model.and_then(|model| exchanges.model_name(model));
        let model = model.or(pseudonym.as_deref());
        match sink.take(&exchange, model) {
            Ok(()) => done.rows += 1,
            Err(Refused::LeftOut(why)) => *done.left_out.entry(why.reason()).or_default() += 1,
            Err(Refused::Failed(source)) => {
                return Err(InteropError::Io {
                    path: output.to_owned(),
                    source,
                });
            }
        }
        options.progress.add(1);
    }
    if done.rows == 0 {
        let reasons: Vec<_> = done
            .left_out
            .iter()
            .map(|(reason, count)| format!("{count} with {reason}"))
            .collect();
        return Err(InteropError::NothingToExport {
            format: name(&format),
            reasons: if reasons.is_empty() {
                "it has none".to_owned()
            } else {
                reasons.join(", ")
            },
        });
    }
    sink.finish()?;
    Ok(done)
}

fn open_sink(
    format: ExportFormat,
    trace: &Trace,
    output: &Path,
    options: &ExportOptions,
) -> Result<Box<dyn Sink>, InteropError> {
    let header = &trace.joint_header()?;
    Ok(match format {
        ExportFormat::Mooncake => text(output, MooncakeWriter::mooncake(header.block))?,
        ExportFormat::Aiperf => text(output, MooncakeWriter::aiperf(header.block))?,
        ExportFormat::VllmTimedTrace => {
            let block_tokens = options.block_tokens.map_or(16, Into::into);
            text(output, MooncakeWriter::vllm(header.block, block_tokens))?
        }
        ExportFormat::Bailian => text(output, BailianWriter::new(header.block))?,
        ExportFormat::Azure => text(output, AzureWriter::new(header.epoch_unix_us))?,
        ExportFormat::Burstgpt => text(output, BurstgptWriter::default())?,
        ExportFormat::Jsonl => text(output, JsonlWriter::new(header))?,
        ExportFormat::Parquet => parquet(output, header)?,
    })
}

fn text(output: &Path, rows: impl RowWriter + 'static) -> Result<Box<dyn Sink>, InteropError> {
    let out = Output::create(output)?;
    Ok(Box::new(TextSink { out, rows }))
}

#[cfg(feature = "parquet")]
fn parquet(output: &Path, header: &Header) -> Result<Box<dyn Sink>, InteropError> {
    Ok(Box::new(super::columnar::ParquetSink::create(
        output, header,
    )?))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &Path, _: &Header) -> Result<Box<dyn Sink>, InteropError> {
    Err(InteropError::NoParquet)
}

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::InteropError;
use super::mooncake::MooncakeWriter;
use super::text::Output;
use crate::trace::Trace;

/// Formats that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Mooncake JSON lines: `timestamp` (ms), `input_length`, `output_length`, `hash_ids` (blocks of 512 tokens).
    Mooncake,
}

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows written.
    pub rows: u64,
    /// Exchanges that the format cannot express, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
}

/// Why an exchange has no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    NotInference,
    NoPromptTokens,
    NoOutputTokens,
}

impl LeftOut {
    fn reason(self) -> &'static str {
        match self {
            Self::NotInference => "not an inference request",
            Self::NoPromptTokens => "no prompt token count",
            Self::NoOutputTokens => "no output token count",
        }
    }
}

/// Writes a trace in another format, to a file (compressed where its name ends in `.gz`; it has its name only when it is
/// whole) or, for `-`, to standard output.
///
/// # Errors
/// When the trace cannot be read, the output cannot be written, or no exchange has a row.
pub fn export(
    format: ExportFormat,
    trace: &mut Trace,
    output: &Path,
) -> Result<Exported, InteropError> {
    let failed = |source: io::Error| InteropError::Io {
        path: output.to_owned(),
        source,
    };
    let mut out = Output::create(output)?;
    let mut rows = match format {
        ExportFormat::Mooncake => MooncakeWriter::new(trace.header().block),
    };
    let mut done = Exported::default();
    for exchange in trace.exchanges() {
        match rows.write(&exchange?, &mut out).map_err(failed)? {
            Ok(()) => done.rows += 1,
            Err(why) => *done.left_out.entry(why.reason()).or_default() += 1,
        }
    }
    if done.rows == 0 {
        let reasons: Vec<_> = done
            .left_out
            .iter()
            .map(|(reason, count)| format!("{count} with {reason}"))
            .collect();
        return Err(InteropError::NothingToExport {
            format: "mooncake",
            reasons: if reasons.is_empty() {
                "it has none".to_owned()
            } else {
                reasons.join(", ")
            },
        });
    }
    out.finish()?;
    Ok(done)
}

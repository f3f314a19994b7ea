//! What the trace's header says, as a Parquet file's own key-value pairs.

use parquet::file::metadata::KeyValue;

use super::table::Table;
use crate::interop::input::About;
use crate::shape::{BlockSpec, BlockUnit};
use crate::trace::{Header, Source};

const SCHEMA: &str = "reenact.parquet/1";

/// The pairs of a trace.
pub(super) fn pairs(header: &Header) -> Vec<KeyValue> {
    let pair = |key: &str, value: String| KeyValue::new(format!("reenact.{key}"), value);
    let mut pairs = vec![
        pair("schema", SCHEMA.to_owned()),
        pair("source", header.source.title().to_owned()),
        pair("sample_ppm", header.sample_ppm.to_string()),
    ];
    if let Some(block) = header.block {
        let unit = match block.unit {
            BlockUnit::Bytes => "bytes",
            BlockUnit::Tokens => "tokens",
        };
        pairs.push(pair("block_unit", unit.to_owned()));
        pairs.push(pair("block_size", block.size.to_string()));
        pairs.push(pair("block_partial_last", block.partial_last.to_string()));
    }
    pairs.extend(
        header
            .epoch_unix_us
            .map(|us| pair("epoch_unix_us", us.to_string())),
    );
    pairs
}

/// What they say; `Err` where it is no file of ours, or of a later version.
pub(super) fn about(table: &Table) -> Result<About, String> {
    let said = |key: &str| table.said(&format!("reenact.{key}"));
    if said("schema") != Some(SCHEMA) {
        return Err(format!(
            "its `reenact.schema` is not {SCHEMA}: export parquet writes such files"
        ));
    }
    let number = |key: &'static str| -> Result<Option<u64>, String> {
        let number = said(key).map(|text| text.parse::<u64>().map_err(|_| wrong(key)));
        number.transpose()
    };
    let block = match (said("block_unit"), number("block_size")?) {
        (Some(unit), Some(size)) => Some(BlockSpec {
            unit: match unit {
                "bytes" => BlockUnit::Bytes,
                "tokens" => BlockUnit::Tokens,
                _ => return Err(wrong("block_unit")),
            },
            size: u32::try_from(size)
                .ok()
                .filter(|&size| size > 0)
                .ok_or_else(|| wrong("block_size"))?,
            partial_last: said("block_partial_last") == Some("true"),
        }),
        _ => None,
    };
    let sample_ppm = number("sample_ppm")?.unwrap_or(1_000_000);
    Ok(About {
        epoch_unix_us: number("epoch_unix_us")?,
        sample_ppm: u32::try_from(sample_ppm).map_err(|_| wrong("sample_ppm"))?,
        ..About::new(said("source").map_or(Source::Other, Source::titled), block)
    })
}

fn wrong(key: &str) -> String {
    format!("its `reenact.{key}` is none")
}

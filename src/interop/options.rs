//! The formats, each once, and what can be said about a file beside its format.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::ValueEnum;

use super::InteropError;
use super::input::Progress;

/// Formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum ImportFormat {
    /// JSON lines: timestamp (ms), input_length, output_length, hash_ids of 512-token blocks
    Mooncake,
    /// Mooncake's with AIPerf's session_id and delay; hash_ids and timestamp optional; prompts as text, messages or payload
    Aiperf,
    /// JSON lines of Qwen-Bailian: timestamp (s), chat_id, parent_chat_id, lengths, hash_ids of 16-token blocks
    Bailian,
    /// CSV with TIMESTAMP, ContextTokens and GeneratedTokens (2023 and 2024)
    Azure,
    /// CSV with Timestamp (s), Model, Request tokens, Response tokens; Session ID and Elapsed time where they stand
    Burstgpt,
    /// JSON of agent sessions, one to a file or to a line, with sub-agents and 64-token blocks (kv-cache-tester)
    Weka,
    /// Parquet with timestamp_start_unix_ms, input_tokens, output_tokens, prompt, hashes
    Baseten,
    /// JSON lines of Dynamo's request trace, version 1
    Dynamo,
    /// JSON lines of vllm bench serve --dataset-name timed_trace: timestamp (s), lengths, hash_ids of 16-token blocks
    VllmTimedTrace,
    /// JSON lines of vllm bench serve --dataset-name custom: prompt, output_tokens
    VllmCustom,
    /// JSON lines of evalscope: body, timestamp, completion_tokens
    Evalscope,
    /// Our own lines, as export jsonl and inspect --exchanges write them
    Jsonl,
    /// Our own columns, as export parquet writes them
    Parquet,
}

impl ImportFormat {
    /// Every format, in the order of `--help`.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }
}

/// Formats that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum ExportFormat {
    /// JSON lines: timestamp (ms), input_length, output_length, hash_ids of 512-token blocks
    Mooncake,
    /// Mooncake's with session_id, for AIPerf
    Aiperf,
    /// JSON lines as Qwen-Bailian's: timestamp (s), chat_id, parent_chat_id, lengths, hash_ids of 16-token blocks
    Bailian,
    /// CSV with TIMESTAMP, ContextTokens and GeneratedTokens
    Azure,
    /// CSV with Timestamp (s), Session ID, Elapsed time, Model, tokens; failed requests have 0 response tokens
    Burstgpt,
    /// JSON lines for vllm bench serve --dataset-name timed_trace: timestamp (s), lengths, hash_ids
    VllmTimedTrace,
    /// Every exchange whole, as a line of JSON; import jsonl makes the same trace of it again
    Jsonl,
    /// Every exchange whole, as a row of flat columns, for DuckDB, Spark, Polars and the like; import parquet makes the same trace of it
    Parquet,
}

/// What the time of a row is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TimeUnit {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
}

impl TimeUnit {
    pub(super) fn us(self) -> u32 {
        match self {
            Self::S => 1_000_000,
            Self::Ms => 1_000,
            Self::Us => 1,
        }
    }
}

/// How an import goes.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Leave malformed rows out and count them, instead of giving up at the first.
    pub skip_bad: bool,
    /// Model names that may be kept as they are. All others become pseudonyms.
    pub keep_models: BTreeSet<String>,
    /// Fields that stand under another label in this file: (field, label).
    pub columns: Vec<(String, String)>,
    /// What `timestamp` is counted in, where it is not the format's own unit.
    pub time_unit: Option<TimeUnit>,
    /// Tokens in a block, where they are not the format's own number.
    pub block_tokens: Option<NonZeroU32>,
    /// How far apart requests, or sessions, begin where the file does not say; a second if absent.
    pub spacing: Option<Duration>,
    /// Where the import says how far it is.
    pub progress: Progress,
}

impl ImportOptions {
    pub(super) fn spacing_us(&self) -> u64 {
        let spacing = self.spacing.unwrap_or(Duration::from_secs(1));
        u64::try_from(spacing.as_micros()).unwrap_or(u64::MAX)
    }

    /// An option that does nothing is a mistake.
    pub(super) fn check(&self, format: ImportFormat) -> Result<(), InteropError> {
        use ImportFormat::{
            Aiperf, Baseten, Evalscope, Mooncake, VllmCustom, VllmTimedTrace, Weka,
        };
        let labelled = [Mooncake, Aiperf, VllmTimedTrace];
        let checks: [(bool, &'static str, &[ImportFormat]); 4] = [
            (!self.columns.is_empty(), "--column", &labelled),
            (self.time_unit.is_some(), "--time-unit", &labelled),
            (
                self.block_tokens.is_some(),
                "--block-tokens",
                &[Mooncake, Aiperf, VllmTimedTrace, Baseten],
            ),
            (
                self.spacing.is_some(),
                "--spacing",
                &[
                    Mooncake,
                    Aiperf,
                    VllmTimedTrace,
                    Weka,
                    VllmCustom,
                    Evalscope,
                ],
            ),
        ];
        for (given, option, formats) in checks {
            if given && !formats.contains(&format) {
                return Err(InteropError::Option {
                    option,
                    formats: names(formats),
                });
            }
        }
        Ok(())
    }
}

/// How an export goes.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Tokens in a block, where they are not the format's own number.
    pub block_tokens: Option<NonZeroU32>,
    /// Where the export says how far it is.
    pub progress: Progress,
}

impl ExportOptions {
    pub(super) fn check(&self, format: ExportFormat) -> Result<(), InteropError> {
        let formats = [ExportFormat::VllmTimedTrace];
        if self.block_tokens.is_some() && !formats.contains(&format) {
            return Err(InteropError::Option {
                option: "--block-tokens",
                formats: names(&formats),
            });
        }
        Ok(())
    }
}

/// The names of formats, as they are typed.
fn names<F: ValueEnum>(formats: &[F]) -> String {
    let names: Vec<_> = formats.iter().map(name).collect();
    names.join(", ")
}

/// A format's name, as it is typed.
pub(super) fn name<F: ValueEnum>(format: &F) -> String {
    format
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

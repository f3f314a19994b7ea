//! The trace file (`*.rt`): header, columnar blocks, index; writer, reader, recovery.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::anonymise::Recordable;
use crate::shape::{BlockSpec, Exchange, ModelId};

/// What a trace says about itself at its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the tool that wrote it.
    pub tool: String,
    /// Where its exchanges come from.
    pub source: Source,
    /// What one block of a prompt chain covers; absent where the trace has no chains.
    pub block: Option<BlockSpec>,
    /// Wall-clock instant of the epoch in microseconds since 1970, only where asked for.
    pub epoch_unix_us: Option<u64>,
    /// Random number shared by the files of one recorder run, so that rotated files join up.
    pub run: u64,
    /// Share of sessions recorded, in millionths.
    pub sample_ppm: u32,
}

/// Where a trace's exchanges come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `reenact record`.
    Recorded,
    /// Mooncake JSON lines.
    Mooncake,
    /// Azure CSV.
    Azure,
}

/// What became of every exchange that the recorder saw; cumulative, kept in every block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Exchanges that went through the proxy.
    pub seen: u64,
    /// Exchanges in the trace.
    pub recorded: u64,
    /// Exchanges that sampling left out.
    pub sampled_out: u64,
    /// Exchanges lost, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Exchanges that a simulated server answered.
    pub simulated: u64,
}

/// What is wrong with a trace. Every message names the file, and the offset where there is one.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}

/// How a writer cuts blocks.
#[derive(Debug, Clone, Default)]
pub struct WriterOptions {}

/// Writes one trace file.
pub struct TraceWriter {}

impl TraceWriter {
    /// Creates the file with mode 0600. Refuses to overwrite.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(
        _path: &Path,
        _header: &Header,
        _options: WriterOptions,
    ) -> Result<Self, TraceError> {
        todo!()
    }

    /// Adds an exchange; writes a block when enough have gathered.
    ///
    /// # Errors
    /// When the block cannot be written.
    pub fn push(&mut self, _exchange: Recordable) -> Result<(), TraceError> {
        todo!()
    }

    /// Sets the accounts that the next block and the footer carry.
    pub fn account(&mut self, _totals: &Totals) {}

    /// Writes what has gathered as a block and asks the disk to keep it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<(), TraceError> {
        todo!()
    }

    /// Bytes in the file so far.
    pub fn bytes(&self) -> u64 {
        0
    }

    /// Writes the last block and the footer.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(self) -> Result<(), TraceError> {
        todo!()
    }
}

/// One or more trace files read as one trace, in time order.
pub struct Trace {}

/// What a reader had to leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Files without a footer (their recorder crashed or still runs).
    pub unfinished_files: u64,
    /// Blocks skipped because they were torn or did not match their checksum.
    pub bad_blocks: u64,
    /// Bytes skipped.
    pub bad_bytes: u64,
}

impl Trace {
    /// Opens files and directories of `*.rt` files as one trace. Reads headers and indexes only.
    ///
    /// # Errors
    /// When one is missing, empty, foreign or of a newer major version.
    pub fn open(_paths: &[PathBuf]) -> Result<Self, TraceError> {
        todo!()
    }

    /// The files, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        todo!()
    }

    /// The first file's header.
    pub fn header(&self) -> &Header {
        todo!()
    }

    /// The accounts, summed over files.
    pub fn totals(&self) -> Totals {
        todo!()
    }

    /// Exchanges that can be read, from the indexes.
    pub fn exchange_count(&self) -> u64 {
        todo!()
    }

    /// What had to be left out, as far as it is known yet.
    pub fn damage(&self) -> Damage {
        todo!()
    }

    /// A model's name, where it was kept. Complete once the exchanges have been read.
    pub fn model_name(&self, _model: ModelId) -> Option<&str> {
        todo!()
    }

    /// The exchanges in order of arrival, streamed.
    pub fn exchanges(&mut self) -> Exchanges<'_> {
        todo!()
    }
}

/// The exchanges of a [`Trace`] in order of arrival.
pub struct Exchanges<'a> {
    _trace: &'a mut Trace,
}

impl Iterator for Exchanges<'_> {
    type Item = Result<Exchange, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

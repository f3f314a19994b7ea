use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::about::pairs;
use super::columns::Columns;
use crate::interop::InteropError;
use crate::interop::output::{Output, Refused, Sink};
use crate::shape::Exchange;
use crate::trace::Header;

/// Writes exchanges as Parquet, in row groups that bound what is held at a time.
pub(in crate::interop) struct ParquetSink {
    writer: ArrowWriter<Output>,
    schema: Arc<Schema>,
    columns: Columns,
    waiting: usize,
    /// What the waiting rows' lists hold.
    elements: usize,
    path: PathBuf,
}

/// Rows that become a batch, and list elements: one row may have a million.
const BATCH_ROWS: usize = 1024;
const BATCH_ELEMENTS: usize = 1 << 20;
/// Rows of a row group at most, and bytes that it may take before it is written: chains of a long context are large.
const GROUP_ROWS: usize = 1 << 16;
const GROUP_BYTES: usize = 64 << 20;

impl ParquetSink {
    pub(in crate::interop) fn create(path: &Path, header: &Header) -> Result<Self, InteropError> {
        let out = Output::create_plain(path)?;
        let columns = Columns::new();
        let schema = Arc::new(columns.schema());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(concat!("reenact ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(pairs(header)))
            .build();
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))
            .map_err(|error| failed(path, error))?;
        Ok(Self {
            writer,
            schema,
            columns,
            waiting: 0,
            elements: 0,
            path: path.to_owned(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        self.waiting = 0;
        self.elements = 0;
        let batch = self.columns.batch(Arc::clone(&self.schema));
        let batch = batch.map_err(io::Error::other)?;
        self.writer.write(&batch).map_err(unwrapped)?;
        if self.writer.in_progress_size() > GROUP_BYTES {
            self.writer.flush().map_err(unwrapped)?;
        }
        Ok(())
    }
}

impl Sink for ParquetSink {
    fn take(&mut self, exchange: &Exchange, model: Option<&str>) -> Result<(), Refused> {
        self.columns.push(exchange, model);
        self.waiting += 1;
        self.elements += exchange.list_elements();
        if self.waiting == BATCH_ROWS || self.elements >= BATCH_ELEMENTS {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), InteropError> {
        let path = self.path.clone();
        self.flush().map_err(|source| InteropError::Io {
            path: path.clone(),
            source,
        })?;
        let out = self
            .writer
            .into_inner()
            .map_err(|error| failed(&path, error))?;
        out.finish()
    }
}

fn failed(path: &Path, error: parquet::errors::ParquetError) -> InteropError {
    InteropError::Io {
        path: path.to_owned(),
        source: unwrapped(error),
    }
}

/// The error of the system that a Parquet error is about, where it is about one (a reader that left is no failure).
fn unwrapped(error: parquet::errors::ParquetError) -> io::Error {
    match error {
        parquet::errors::ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{BlockId, Endpoint, Method, TraceTime};
    use crate::trace::Source;

    #[test]
    fn long_chains_make_batches_of_few_rows() {
        let directory = tempfile::tempdir().unwrap();
        let header = Header {
            tool: "0.1.0".into(),
            source: Source::Other,
            block: None,
            epoch_unix_us: None,
            run: 1,
            sample_ppm: 1_000_000,
            policy: None,
            envelope: None,
        };
        let path = directory.path().join("a.parquet");
        let mut sink = ParquetSink::create(&path, &header).unwrap();
        let mut exchange = Exchange::bare(TraceTime::default(), Endpoint::Other, Method::Post);
        exchange.request.blocks = (0..300_000).map(BlockId).collect();
        let mut waiting = Vec::new();
        for _ in 0..8 {
            assert!(sink.take(&exchange, None).is_ok());
            waiting.push((sink.waiting, sink.elements));
        }
        // The fourth takes it over a million elements.
        assert!(
            waiting
                .iter()
                .all(|&(_, elements)| elements < BATCH_ELEMENTS)
        );
        let rows: Vec<_> = waiting.iter().map(|&(rows, _)| rows).collect();
        assert_eq!(rows, [1, 2, 3, 0, 1, 2, 3, 0]);
        exchange.request.blocks.clear();
        for _ in 0..BATCH_ROWS {
            assert!(sink.take(&exchange, None).is_ok());
        }
        assert_eq!((sink.waiting, sink.elements), (0, 0));
        Box::new(sink).finish().unwrap();
        assert!(path.exists());
    }
}

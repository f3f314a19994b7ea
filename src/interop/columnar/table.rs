//! A Parquet file's rows, batch by batch, whoever wrote it.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::interop::InteropError;
use crate::interop::input::{Progress, RowError};

/// The rows of a file, of which the columns are read that are wanted.
pub(super) struct Table {
    batches: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    /// The next row of the batch, and of the file.
    place: usize,
    number: u64,
    /// What the file says of itself.
    pairs: Vec<(String, Option<String>)>,
    progress: Progress,
    bytes_per_row: u64,
}

/// Rows read at a time: a prompt may be long, and all of a batch are held.
const BATCH_ROWS: usize = 256;

impl Table {
    /// Opens a file. The `required` of the `wanted` columns must be there.
    pub(super) fn open(
        path: &Path,
        wanted: &[&str],
        required: &[&str],
        progress: &Progress,
    ) -> Result<Self, InteropError> {
        let format = |reason: &str| InteropError::Format {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        if path == Path::new("-") {
            return Err(InteropError::Io {
                path: PathBuf::from("-"),
                source: std::io::Error::other(
                    "Parquet is read from its end, which standard input does not have",
                ),
            });
        }
        let failed = |source| InteropError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        // Its own message may hold what stands in the file.
        let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file).ok())
            .ok_or_else(|| format("it is no Parquet file, or is cut short"))?;
        let schema = builder.schema();
        if required.iter().any(|name| schema.index_of(name).is_err()) {
            return Err(format(&format!(
                "it does not have the columns {}",
                required.join(", ")
            )));
        }
        let wanted: Vec<_> = wanted
            .iter()
            .filter_map(|name| schema.index_of(name).ok())
            .collect();
        let about = builder.metadata().file_metadata();
        let rows = about.num_rows().max(1);
        let pairs = about.key_value_metadata().into_iter().flatten();
        let pairs = pairs.map(|pair| (pair.key.clone(), pair.value.clone()));
        let pairs = pairs.collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        let batches =
            guarded(|| builder.build().ok()).ok_or_else(|| format("its columns cannot be read"))?;
        Ok(Self {
            batches,
            batch: None,
            place: 0,
            number: 0,
            pairs,
            progress: progress.clone(),
            bytes_per_row: bytes / rows.unsigned_abs(),
        })
    }

    /// What the file says of itself under a key.
    pub(super) fn said(&self, key: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(said, _)| said == key);
        pair.and_then(|(_, value)| value.as_deref())
    }

    /// What `read` makes of the next row: its batch, its place there and its number, counted from 1.
    pub(super) fn next<T>(
        &mut self,
        read: impl FnOnce(&RecordBatch, usize, u64) -> Result<T, String>,
    ) -> Option<Result<T, RowError>> {
        loop {
            if let Some(batch) = self.batch.take() {
                if self.place < batch.num_rows() {
                    self.number += 1;
                    let row = read(&batch, self.place, self.number);
                    self.place += 1;
                    self.progress.add(self.bytes_per_row);
                    self.batch = Some(batch);
                    return Some(row.map_err(|reason| RowError::Bad {
                        line: self.number,
                        reason,
                    }));
                }
                self.place = 0;
            }
            let batches = &mut self.batches;
            match guarded(|| Some(batches.next().map(Result::ok))) {
                Some(None) => return None,
                Some(Some(Some(batch))) => self.batch = Some(batch),
                _ => {
                    let reason = "what follows cannot be read: the file is damaged";
                    return Some(Err(RowError::Io(std::io::Error::other(reason))));
                }
            }
        }
    }
}

/// Runs what reads Parquet. The crate has assertions that a damaged file can break; that is the file's fault and no panic of ours.
fn guarded<T>(read: impl FnOnce() -> Option<T>) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .ok()
        .flatten()
}

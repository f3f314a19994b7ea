//! Parquet: Baseten's in, our own out.

mod baseten;
mod cells;
mod columns;
mod write;

pub(super) use baseten::BasetenRows;
pub(super) use write::ParquetSink;

//! Parquet: Baseten's in, our own both ways.

mod about;
mod baseten;
mod cells;
mod columns;
mod read;
mod table;
mod write;

pub(super) use baseten::BasetenRows;
pub(super) use read::ParquetRows;
pub(super) use write::ParquetSink;

//! What all exporters stand on: files, rows, and prompt chains cut into another format's blocks.

mod file;
mod rechain;
mod rows;

pub(super) use file::Output;
pub(super) use rechain::Rechain;
pub(super) use rows::{Cell, LeftOut, Refused, RowWriter, Sink, TextSink, counts};

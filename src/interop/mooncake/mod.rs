//! Mooncake's JSON lines, both ways.

mod rechain;
mod rows;
mod write;

pub(super) use rows::MooncakeRows;
pub(super) use write::MooncakeWriter;

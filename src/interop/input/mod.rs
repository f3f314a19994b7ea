//! What all importers stand on: files opened whatever their compression, lines of bounded length, rows, and the numbering of
//! names.

mod csv_line;
mod fields;
mod line_rows;
mod lines;
mod numbering;
mod open;
mod progress;
mod row;
mod window;

pub(super) use csv_line::CsvLine;
pub(super) use fields::{Fields, Labels, json_reason};
pub(super) use line_rows::{LineFormat, LineRows};
pub(super) use lines::Lines;
pub(super) use numbering::Numbering;
pub(super) use open::open;
pub use progress::Progress;
pub(super) use row::{About, Row, RowError, Rows, Told, message, microseconds};
pub(super) use window::Window;

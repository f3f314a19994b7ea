//! What the fuzz targets (`fuzz/`) may see of the parsers that no public function leads to. Compiled only with `--cfg fuzzing`,
//! which cargo-fuzz sets, so that the crate's interface is the same without it.
//!
//! Each room opens its own door, in a file `fuzzing.rs` beside what it shows, and is gathered here.

pub use crate::dialect::fuzzing::events;
pub use crate::net::http1::fuzzing::{Answered, answer};
pub use crate::record::fuzzing::{
    Bodies, Framed, Read, Request, Response, chunks, proxy_header, recorded, request, response,
    write_proxy_header,
};
pub use crate::trace::fuzzing::{sealed, unsealed};

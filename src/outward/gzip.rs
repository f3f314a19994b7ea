use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;

/// A body under gzip, where that is worth it: a smaller one costs about as much either way.
pub(super) fn packed(body: &[u8]) -> Option<Bytes> {
    if body.len() < WORTH {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Whether a refusal may be of the coding: a server that knows none takes the body for a broken one, and says so in its own way.
pub(super) const fn may_be_of_coding(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 415 | 422 | 500)
}

const WORTH: usize = 4096;

//! Text from a file or standard input, compressed or not. What it is shows in its first bytes, whatever its name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::lines::Lines;
use super::progress::{Counted, Progress};
use crate::interop::InteropError;

/// Opens a file, or standard input for `-`, and undoes gzip and zstd.
pub(in crate::interop) fn open(path: &Path, progress: &Progress) -> Result<Lines, InteropError> {
    let failed = |source| InteropError::Io {
        path: path.to_owned(),
        source,
    };
    let raw: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let counted = Counted {
        reader: raw,
        progress: progress.clone(),
    };
    let mut raw = BufReader::with_capacity(BUFFER, counted);
    let start = raw.fill_buf().map_err(failed)?;
    let text: Box<dyn BufRead> = match start {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(raw).map_err(failed)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        _ => match binary(start) {
            Some(what) => {
                return Err(InteropError::Binary {
                    path: path.to_owned(),
                    what,
                });
            }
            None => Box::new(raw),
        },
    };
    Ok(Lines::new(text))
}

const BUFFER: usize = 1 << 16;

/// What a file is that is no text, by the marks that formats begin with.
fn binary(start: &[u8]) -> Option<&'static str> {
    match start {
        [b'P', b'A', b'R', b'1', ..] => Some("a Parquet file"),
        [b'P', b'K', 3 | 5 | 7, ..] => Some("a zip archive"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some("compressed with bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("compressed with xz"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("compressed with lz4"),
        [b'7', b'z', 0xbc, 0xaf, ..] => Some("a 7z archive"),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some("an Arrow file"),
        [0x89, b'R', b'N', b'T', ..] => Some("a trace of reenact already"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("text in UTF-16"),
        _ if start.contains(&0) => Some("binary, no text"),
        _ => None,
    }
}

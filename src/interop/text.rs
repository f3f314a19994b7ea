//! Text in and out: files or the standard streams, compressed or not, in lines of bounded length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::InteropError;
use crate::trace::PartialName;

/// The longest line that is read.
const MAX_LINE: usize = 16 << 20;

/// Whether a path means the standard stream.
fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Opens a file, or standard input for `-`; undoes gzip, which is known by its first bytes.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, InteropError> {
    let failed = |source| InteropError::Io {
        path: path.to_owned(),
        source,
    };
    let raw: Box<dyn Read> = if is_standard(path) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut raw = BufReader::with_capacity(1 << 16, raw);
    let text: Box<dyn Read> = if raw.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(raw))
    } else {
        Box::new(raw)
    };
    Ok(Box::new(BufReader::with_capacity(
        1 << 16,
        BoundedLines { text, line: 0 },
    )))
}

/// Refuses text whose lines never end, before anyone gathers one.
struct BoundedLines {
    text: Box<dyn Read>,
    line: usize,
}

impl Read for BoundedLines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        self.line = match memchr::memrchr(b'\n', bytes) {
            Some(end) => read - end - 1,
            None => self.line + read,
        };
        if self.line > MAX_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is longer than 16 MiB",
            ));
        }
        Ok(read)
    }
}

/// Where text goes: standard output for `-`, else a file that gets its name when it is whole.
pub(super) enum Output {
    Standard(BufWriter<io::Stdout>),
    Plain(BufWriter<File>, PartialName),
    Gzip(GzEncoder<BufWriter<File>>, PartialName),
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self, InteropError> {
        if is_standard(path) {
            return Ok(Self::Standard(BufWriter::new(io::stdout())));
        }
        let (file, name) = PartialName::create(path)?;
        let file = BufWriter::with_capacity(1 << 16, file);
        Ok(if path.extension().is_some_and(|end| end == "gz") {
            Self::Gzip(GzEncoder::new(file, Compression::default()), name)
        } else {
            Self::Plain(file, name)
        })
    }

    pub(super) fn finish(self) -> Result<(), InteropError> {
        let failed = |name: &PartialName| {
            let path = name.target().to_owned();
            move |source| InteropError::Io { path, source }
        };
        let (file, name) = match self {
            Self::Standard(mut out) => {
                return out.flush().map_err(|source| InteropError::Io {
                    path: "-".into(),
                    source,
                });
            }
            Self::Plain(file, name) => (file, name),
            Self::Gzip(encoder, name) => (encoder.finish().map_err(failed(&name))?, name),
        };
        let file = file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .map_err(failed(&name))?;
        Ok(name.keep(&file)?)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::Plain(out, _) => out.write(bytes),
            Self::Gzip(out, _) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::Plain(out, _) => out.flush(),
            Self::Gzip(out, _) => out.flush(),
        }
    }
}

//! Where text goes: a file, compressed as its name says, or standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::interop::InteropError;
use crate::trace::PartialName;

/// Where text goes: standard output for `-`, else a file that gets its name when it is whole.
pub(in crate::interop) enum Output {
    Standard(BufWriter<io::Stdout>),
    Plain(BufWriter<File>, PartialName),
    Gzip(BufWriter<GzEncoder<File>>, PartialName),
    Zstd(BufWriter<ZstdEncoder<'static, File>>, PartialName),
}

/// Bytes.
const GATHERED: usize = 64 << 10;

impl Output {
    /// Compressed where the name ends in `.gz` or `.zst`. Gathered before that: an encoder's own price is by the call.
    pub(in crate::interop) fn create(path: &Path) -> Result<Self, InteropError> {
        let ends_in = |wanted| path.extension().is_some_and(|end| end == wanted);
        if path == Path::new("-") || !(ends_in("gz") || ends_in("zst")) {
            return Self::create_plain(path);
        }
        let (file, name) = PartialName::create(path)?;
        if ends_in("gz") {
            let encoder = GzEncoder::new(file, Compression::default());
            return Ok(Self::Gzip(
                BufWriter::with_capacity(GATHERED, encoder),
                name,
            ));
        }
        let encoder = ZstdEncoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL);
        let encoder = encoder.map_err(|source| InteropError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::Zstd(
            BufWriter::with_capacity(GATHERED, encoder),
            name,
        ))
    }

    /// Never compressed.
    pub(in crate::interop) fn create_plain(path: &Path) -> Result<Self, InteropError> {
        if path == Path::new("-") {
            return Ok(Self::Standard(BufWriter::new(io::stdout())));
        }
        let (file, name) = PartialName::create(path)?;
        Ok(Self::Plain(BufWriter::with_capacity(GATHERED, file), name))
    }

    pub(in crate::interop) fn finish(self) -> Result<(), InteropError> {
        let (file, name) = match self {
            Self::Standard(mut out) => {
                return out.flush().map_err(|source| InteropError::Io {
                    path: "-".into(),
                    source,
                });
            }
            Self::Plain(out, name) => (written(out), name),
            Self::Gzip(out, name) => (written(out).and_then(GzEncoder::finish), name),
            Self::Zstd(out, name) => (written(out).and_then(ZstdEncoder::finish), name),
        };
        let file = file.map_err(|source| InteropError::Io {
            path: name.target().to_owned(),
            source,
        })?;
        Ok(name.keep(&file)?)
    }
}

/// What was gathered into, with all of it.
fn written<W: Write>(out: BufWriter<W>) -> io::Result<W> {
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::Plain(out, _) => out.write(bytes),
            Self::Gzip(out, _) => out.write(bytes),
            Self::Zstd(out, _) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::Plain(out, _) => out.flush(),
            Self::Gzip(out, _) => out.flush(),
            Self::Zstd(out, _) => out.flush(),
        }
    }
}

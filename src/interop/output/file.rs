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
    Gzip(GzEncoder<BufWriter<File>>, PartialName),
    Zstd(ZstdEncoder<'static, BufWriter<File>>, PartialName),
}

impl Output {
    /// Compressed where the name ends in `.gz` or `.zst`.
    pub(in crate::interop) fn create(path: &Path) -> Result<Self, InteropError> {
        Ok(match Self::create_plain(path)? {
            Self::Plain(file, name) if path.extension().is_some_and(|end| end == "gz") => {
                Self::Gzip(GzEncoder::new(file, Compression::default()), name)
            }
            Self::Plain(file, name) if path.extension().is_some_and(|end| end == "zst") => {
                let encoder = ZstdEncoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL);
                let encoder = encoder.map_err(|source| InteropError::Io {
                    path: path.to_owned(),
                    source,
                })?;
                Self::Zstd(encoder, name)
            }
            other => other,
        })
    }

    /// Never compressed.
    pub(in crate::interop) fn create_plain(path: &Path) -> Result<Self, InteropError> {
        if path == Path::new("-") {
            return Ok(Self::Standard(BufWriter::new(io::stdout())));
        }
        let (file, name) = PartialName::create(path)?;
        Ok(Self::Plain(BufWriter::with_capacity(1 << 16, file), name))
    }

    pub(in crate::interop) fn finish(self) -> Result<(), InteropError> {
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
            Self::Zstd(encoder, name) => (encoder.finish().map_err(failed(&name))?, name),
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

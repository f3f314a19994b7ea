//! Content codings, undone on a copy, off the path, piece by piece, within a bound: a few kilobytes can ask for gigabytes.

use std::io::{self, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// A coding that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, `x-gzip`
    Gzip,
    /// `deflate`: zlib's form of it, or, as some servers have it, without.
    Deflate,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

/// What a `content-encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coded {
    /// Nothing, or `identity`.
    Plain,
    /// One coding.
    By(Coding),
    /// A coding that is not known here, or several.
    Unknown,
}

impl Coded {
    /// Reads the header's value.
    pub fn named(value: &str) -> Self {
        let value = value.trim();
        let is = |name: &str| value.eq_ignore_ascii_case(name);
        if value.is_empty() || is("identity") {
            Self::Plain
        } else if is("gzip") || is("x-gzip") {
            Self::By(Coding::Gzip)
        } else if is("deflate") {
            Self::By(Coding::Deflate)
        } else if is("br") {
            Self::By(Coding::Brotli)
        } else if is("zstd") {
            Self::By(Coding::Zstd)
        } else {
            Self::Unknown
        }
    }
}

/// Why a coded body is not read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// It is not what its coding says.
    #[error("the body does not read as its content coding")]
    Malformed,
    /// It grows beyond the bound.
    #[error("the body grows beyond {MOST_GROWTH} times its size, or beyond the bound on bodies")]
    TooLarge,
}

/// Undoes one body's coding.
pub struct Decoder {
    how: How,
    came: u64,
    given: u64,
    most: u64,
}

enum How {
    /// Deflate in a form that its first byte will tell.
    Unbegun,
    Gzip(Box<MultiGzDecoder<Sink>>),
    Zlib(Box<ZlibDecoder<Sink>>),
    Deflate(Box<DeflateDecoder<Sink>>),
    Brotli(Box<Brotli>),
    Zstd(Box<Zstd>),
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    sink: Sink,
    out: Out,
    /// Its window's size is told by its first byte.
    first: Option<u8>,
    over: bool,
}

struct Zstd {
    context: DCtx<'static>,
    sink: Sink,
    out: Out,
}

/// What a decoder writes to. It is no local variable, since nothing wipes a stack, and its memory is wiped as all that is freed.
type Out = [u8; AT_ONCE];

/// Takes what comes out of a piece, up to a bound.
#[derive(Default)]
struct Sink {
    out: Vec<u8>,
    room: u64,
    over: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() as u64 + bytes.len() as u64 > self.room {
            self.over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    /// A decoder that gives at most `most` bytes, and at most `MOST_GROWTH` times what came, `SLACK` aside. `None` where
    /// the system has no memory for one.
    pub fn new(coding: Coding, most: u64) -> Option<Self> {
        let how = match coding {
            Coding::Gzip => How::Gzip(Box::new(MultiGzDecoder::new(Sink::default()))),
            Coding::Deflate => How::Unbegun,
            Coding::Brotli => How::Brotli(Box::new(Brotli {
                // Strict: without windows beyond 16 MiB.
                state: BrotliState::new_strict(
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                ),
                sink: Sink::default(),
                out: [0; AT_ONCE],
                first: None,
                over: false,
            })),
            Coding::Zstd => {
                let mut context = DCtx::try_create()?;
                let most = DParameter::WindowLogMax(ZSTD_WINDOW_LOG);
                context.set_parameter(most).ok()?;
                How::Zstd(Box::new(Zstd {
                    context,
                    sink: Sink::default(),
                    out: [0; AT_ONCE],
                }))
            }
        };
        Some(Self {
            how,
            came: 0,
            given: 0,
            most,
        })
    }

    /// Takes the next piece and hands on what it says.
    ///
    /// # Errors
    /// When the piece is not of the coding, or says too much. Nothing may be fed after that.
    pub fn feed(
        &mut self,
        piece: &[u8],
        mut on_plain: impl FnMut(&[u8]),
    ) -> Result<(), Undecodable> {
        for part in piece.chunks(AT_ONCE) {
            self.came += part.len() as u64;
            let growth = SLACK + MOST_GROWTH.saturating_mul(self.came);
            let room = self.most.min(growth).saturating_sub(self.given);
            self.how.begin(part);
            let Some(sink) = self.how.sink() else {
                continue;
            };
            sink.room = room;
            let fed = self.how.feed(part);
            let Some(sink) = self.how.sink() else {
                continue;
            };
            if sink.over {
                return Err(Undecodable::TooLarge);
            }
            on_plain(&sink.out);
            self.given += sink.out.len() as u64;
            // What was said is not kept longer than it is needed.
            sink.out.fill(0);
            sink.out.clear();
            sink.out.shrink_to(EVERYDAY);
            fed.map_err(|_| Undecodable::Malformed)?;
        }
        Ok(())
    }

    /// Bytes that it holds: its window, above all.
    pub fn held_bytes(&self) -> usize {
        let window = match &self.how {
            How::Unbegun => 0,
            How::Gzip(_) | How::Zlib(_) | How::Deflate(_) => DEFLATE_BYTES,
            How::Brotli(brotli) => {
                // The window grows as it fills, by doubling.
                let filled = usize::try_from(2 * self.given).unwrap_or(usize::MAX);
                BROTLI_BYTES + brotli_window(brotli.first.unwrap_or(0)).min(filled)
            }
            How::Zstd(zstd) => zstd.context.sizeof() + AT_ONCE,
        };
        window + EVERYDAY + size_of::<Self>()
    }
}

impl How {
    /// Chooses the form of deflate: RFC 1950's, whose first byte has the method 8 and a window of at most 32 KiB, or RFC 1951's alone.
    fn begin(&mut self, piece: &[u8]) {
        let (Self::Unbegun, Some(first)) = (&self, piece.first()) else {
            return;
        };
        *self = match first {
            first if first & 0x0f == 8 && first >> 4 <= 7 => {
                Self::Zlib(Box::new(ZlibDecoder::new(Sink::default())))
            }
            _ => Self::Deflate(Box::new(DeflateDecoder::new(Sink::default()))),
        };
    }

    fn sink(&mut self) -> Option<&mut Sink> {
        match self {
            Self::Unbegun => None,
            Self::Gzip(decoder) => Some(decoder.get_mut()),
            Self::Zlib(decoder) => Some(decoder.get_mut()),
            Self::Deflate(decoder) => Some(decoder.get_mut()),
            Self::Brotli(brotli) => Some(&mut brotli.sink),
            Self::Zstd(zstd) => Some(&mut zstd.sink),
        }
    }

    /// Decodes all that the piece tells.
    fn feed(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Unbegun => Ok(()),
            Self::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Self::Zlib(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Self::Deflate(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Self::Brotli(brotli) => brotli.feed(piece),
            Self::Zstd(zstd) => zstd.feed(piece),
        }
    }
}

impl Brotli {
    fn feed(&mut self, piece: &[u8]) -> io::Result<()> {
        self.first = self.first.or(piece.first().copied());
        let (mut left, mut at, mut total) = (piece.len(), 0, 0);
        while !self.over {
            let (mut room, mut given) = (AT_ONCE, 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                piece,
                &mut room,
                &mut given,
                &mut self.out,
                &mut total,
                &mut self.state,
            );
            let given = self.out.get(..given).unwrap_or_default();
            self.sink.write_all(given)?;
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => break,
                BrotliResult::ResultSuccess => self.over = true,
                BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }
}

impl Zstd {
    fn feed(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(piece);
        loop {
            let mut output = OutBuffer::around(&mut self.out[..]);
            self.context
                .decompress_stream(&mut output, &mut input)
                .map_err(|_| io::ErrorKind::InvalidData)?;
            let given = output.as_slice();
            let more = given.len() == AT_ONCE;
            self.sink.write_all(given)?;
            if !more && input.pos() == piece.len() {
                break;
            }
        }
        Ok(())
    }
}

/// The window that a stream's first byte asks for (RFC 7932, 9.1).
fn brotli_window(first: u8) -> usize {
    let log = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        (_, 0, log) => 8 + log,
        (_, log, _) => 17 + log,
    };
    1 << log
}

/// Coded bodies grow by so much at most. Text as servers send it grows by ten, event streams by thirty.
const MOST_GROWTH: u64 = 100;
/// Small bodies may grow by more.
const SLACK: u64 = 1 << 20;
/// RFC 9659: windows of coded bodies have at most 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Decoded at a time.
const AT_ONCE: usize = 8 << 10;
const EVERYDAY: usize = 16 << 10;
/// A window of 32 KiB, its buffer for output, and tables.
const DEFLATE_BYTES: usize = 80 << 10;
/// Tables, without the window.
const BROTLI_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;

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
    /// Its window's size is told by its first byte.
    first: Option<u8>,
    over: bool,
}

struct Zstd {
    context: DCtx<'static>,
    sink: Sink,
}

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
            How::Zstd(zstd) => zstd.context.sizeof(),
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
        let mut out = [0; AT_ONCE];
        let (mut left, mut at, mut total) = (piece.len(), 0, 0);
        while !self.over {
            let (mut room, mut given) = (out.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                piece,
                &mut room,
                &mut given,
                &mut out,
                &mut total,
                &mut self.state,
            );
            self.sink.write_all(out.get(..given).unwrap_or_default())?;
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => break,
                BrotliResult::ResultSuccess => self.over = true,
                BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        out.fill(0);
        Ok(())
    }
}

impl Zstd {
    fn feed(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut out = [0; AT_ONCE];
        let mut input = InBuffer::around(piece);
        loop {
            let mut output = OutBuffer::around(&mut out[..]);
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
        out.fill(0);
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
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    const TEXT: &[u8] =
        b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
    /// `TEXT` as the reference encoder of Brotli writes it, in two flushes.
    const BROTLI: &[u8] = include_bytes!("../../../fixtures/http/chat_stream.br");

    fn encoders() -> Vec<(Coding, Vec<u8>, usize)> {
        let (head, tail) = TEXT.split_at(20);
        macro_rules! flushed {
            ($encoder:expr) => {{
                let mut encoder = $encoder;
                encoder.write_all(head).unwrap();
                encoder.flush().unwrap();
                let first = encoder.get_ref().len();
                encoder.write_all(tail).unwrap();
                (encoder.finish().unwrap(), first)
            }};
        }
        let best = Compression::best();
        let (gzip, gzip_at) = flushed!(GzEncoder::new(Vec::new(), best));
        let (zlib, zlib_at) = flushed!(ZlibEncoder::new(Vec::new(), best));
        let (raw, raw_at) = flushed!(DeflateEncoder::new(Vec::new(), best));
        let (zstd, zstd_at) = flushed!(zstd::Encoder::new(Vec::new(), 3).unwrap());
        vec![
            (Coding::Gzip, gzip, gzip_at),
            (Coding::Deflate, zlib, zlib_at),
            (Coding::Deflate, raw, raw_at),
            (Coding::Zstd, zstd, zstd_at),
        ]
    }

    fn decode(coding: Coding, pieces: &[&[u8]], most: u64) -> Result<Vec<u8>, Undecodable> {
        let mut decoder = Decoder::new(coding, most).unwrap();
        let mut plain = Vec::new();
        for piece in pieces {
            decoder.feed(piece, |bytes| plain.extend_from_slice(bytes))?;
        }
        Ok(plain)
    }

    #[test]
    fn bodies_are_decoded_wherever_they_are_cut() {
        let mut all: Vec<_> = encoders()
            .into_iter()
            .map(|(coding, body, _)| (coding, body))
            .collect();
        all.push((Coding::Brotli, BROTLI.to_vec()));
        for (coding, body) in all {
            for cut in 0..=body.len() {
                let (head, tail) = body.split_at(cut);
                let plain = decode(coding, &[head, tail], 1 << 20).unwrap();
                assert_eq!(plain, TEXT, "{coding:?} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(decode(coding, &bytes, 1 << 20).unwrap(), TEXT, "{coding:?}");
        }
    }

    #[test]
    fn what_was_flushed_is_read_before_the_rest_comes() {
        for (coding, body, first) in encoders() {
            let plain = decode(coding, &[&body[..first]], 1 << 20).unwrap();
            assert_eq!(plain, &TEXT[..20], "{coding:?}");
        }
        let mut decoder = Decoder::new(Coding::Brotli, 1 << 20).unwrap();
        let mut seen = Vec::new();
        for byte in BROTLI.chunks(1) {
            let mut now = Vec::new();
            decoder
                .feed(byte, |bytes| now.extend_from_slice(bytes))
                .unwrap();
            seen.extend((!now.is_empty()).then_some(now.len()));
        }
        assert!(seen.len() > 1, "it came at once: {seen:?}");
    }

    #[test]
    fn bombs_are_put_out() {
        let zeros = vec![0; 32 << 20];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&zeros).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&zeros[..], 19).unwrap();
        for (coding, body) in [(Coding::Gzip, gzip), (Coding::Zstd, zstd)] {
            assert!(body.len() < 64 << 10);
            let mut given = 0;
            let mut decoder = Decoder::new(coding, u64::MAX).unwrap();
            let refused = decoder.feed(&body, |bytes| given += bytes.len());
            assert_eq!(refused, Err(Undecodable::TooLarge), "{coding:?}");
            let bound = SLACK + MOST_GROWTH * body.len() as u64;
            assert!(given as u64 <= bound, "{given} of {}", body.len());
        }
        let (coding, body, _) = encoders().swap_remove(0);
        let bound = TEXT.len() as u64;
        assert_eq!(decode(coding, &[&body], bound).unwrap(), TEXT);
        assert_eq!(
            decode(coding, &[&body], bound - 1),
            Err(Undecodable::TooLarge)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            let nonsense = [0xff; 64];
            let refused = decode(coding, &[&nonsense], 1 << 20);
            assert_eq!(refused, Err(Undecodable::Malformed), "{coding:?}");
        }
    }

    #[test]
    fn codings_are_known_by_their_names() {
        for (value, coded) in [
            ("", Coded::Plain),
            ("identity", Coded::Plain),
            ("GZIP", Coded::By(Coding::Gzip)),
            ("x-gzip", Coded::By(Coding::Gzip)),
            (" br ", Coded::By(Coding::Brotli)),
            ("zstd", Coded::By(Coding::Zstd)),
            ("deflate", Coded::By(Coding::Deflate)),
            ("gzip, br", Coded::Unknown),
            ("aes128gcm", Coded::Unknown),
        ] {
            assert_eq!(Coded::named(value), coded, "{value}");
        }
    }

    #[test]
    fn a_window_weighs_what_its_first_byte_asks_for() {
        let logs = [0x00, 0x01, 0x03, 0x0f, 0x71].map(|first| brotli_window(first).ilog2());
        assert_eq!(logs, [16, 17, 18, 24, 15]);
        assert!(Decoder::new(Coding::Zstd, 1).unwrap().held_bytes() > EVERYDAY);
    }
}

//! Pictures and sound of the recorded size, and of no meaning.

use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::Serialize;

use crate::dialect::DraftMedia;
use crate::shape::{MediaKind, MediaPart};

/// What sets the load of a picture or a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct MediaShape {
    /// A picture, or sound; nothing else is made.
    pub kind: MediaKind,
    /// Bytes of its file.
    pub bytes: u64,
    /// Width and height of a picture.
    pub pixels: (u32, u32),
}

impl MediaShape {
    /// The shape of a recorded part. What was only referred to, or is of a format that tells no pixels, is taken for an everyday one.
    pub fn of(part: &MediaPart) -> Self {
        let bytes = match (part.bytes, part.kind) {
            (0, MediaKind::Audio) => EVERYDAY_SOUND,
            (0, _) => EVERYDAY_PICTURE,
            (bytes, _) => bytes.min(MOST_BYTES),
        };
        let (width, height) = part.pixels.unwrap_or(EVERYDAY_PIXELS);
        Self {
            kind: part.kind,
            bytes,
            pixels: (width.clamp(1, MOST_SIDE), height.clamp(1, MOST_SIDE)),
        }
    }

    /// What its tokens go by: pixels, or bytes.
    pub(super) fn size(&self) -> u64 {
        match self.kind {
            MediaKind::Image => u64::from(self.pixels.0) * u64::from(self.pixels.1),
            _ => self.bytes,
        }
    }
}

/// Sides beyond are cut: engines refuse them.
const MOST_SIDE: u32 = 8192;
/// Bytes of a file beyond are cut.
const MOST_BYTES: u64 = 24 << 20;
const EVERYDAY_PIXELS: (u32, u32) = (768, 768);
const EVERYDAY_PICTURE: u64 = 128 << 10;
/// Five seconds.
const EVERYDAY_SOUND: u64 = 44 + 5 * 2 * SAMPLES_PER_S as u64;
/// What speech models are fed with.
const SAMPLES_PER_S: u32 = 16_000;

/// Makes pictures and clips. The bulk of a picture is made once for each size and kept; its first row is its own, so that no
/// cache of an engine takes two for one.
///
/// Holds at most [`Studio::MOST_HELD`] bytes of bulks.
#[derive(Default)]
pub(in crate::replay) struct Studio {
    bulks: HashMap<MediaShape, Bulk>,
    held: usize,
}

/// All rows of a picture but the first.
struct Bulk {
    /// A chunk of compressed rows.
    chunk: Vec<u8>,
    /// Adler-32 of the rows, and their bytes.
    adler: u32,
    length: u64,
}

impl Studio {
    const MOST_HELD: usize = 64 << 20;

    /// A picture or a clip for `message`, the same for the same seed; `None` for what is not made (video, documents).
    pub(in crate::replay) fn make(
        &mut self,
        message: usize,
        part: &MediaPart,
        seed: u64,
    ) -> Option<DraftMedia> {
        let shape = MediaShape::of(part);
        self.make_shape(message, shape, seed)
    }

    /// The same for a shape.
    pub(in crate::replay) fn make_shape(
        &mut self,
        message: usize,
        shape: MediaShape,
        seed: u64,
    ) -> Option<DraftMedia> {
        let file = match shape.kind {
            MediaKind::Image => self.png(shape, seed),
            MediaKind::Audio => wav(shape.bytes, seed),
            _ => return None,
        };
        Some(DraftMedia {
            message,
            kind: shape.kind,
            base64: base64(&file),
        })
    }

    /// A PNG of exactly the pixels, and of the bytes where those are enough for a flat picture.
    fn png(&mut self, shape: MediaShape, seed: u64) -> Vec<u8> {
        let (width, height) = shape.pixels;
        if !self.bulks.contains_key(&shape) {
            let bulk = Bulk::of(shape);
            if self.held + bulk.chunk.len() > Self::MOST_HELD {
                self.bulks.clear();
                self.held = 0;
            }
            self.held += bulk.chunk.len();
            self.bulks.insert(shape, bulk);
        }
        let mut file = Vec::with_capacity(usize::try_from(shape.bytes).unwrap_or(0) + 256);
        file.extend_from_slice(b"\x89PNG\r\n\x1a\n");
        let mut head = Vec::with_capacity(13);
        head.extend_from_slice(&width.to_be_bytes());
        head.extend_from_slice(&height.to_be_bytes());
        // Eight bits of red, green and blue; no interlacing.
        head.extend_from_slice(&[8, 2, 0, 0, 0]);
        chunk(&mut file, *b"IHDR", &head);
        let row = first_row(width, seed);
        let stored = stored_block(&row);
        chunk(&mut file, *b"IDAT", &stored);
        let Some(bulk) = self.bulks.get(&shape) else {
            return file;
        };
        file.extend_from_slice(&bulk.chunk);
        let adler = adler_of_both(adler32(&row), bulk.adler, bulk.length);
        chunk(&mut file, *b"IDAT", &adler.to_be_bytes());
        let left = shape.bytes.saturating_sub(file.len() as u64 + CHUNK);
        if let Some(filling) = left.checked_sub(CHUNK) {
            // A private chunk, which readers skip.
            chunk(&mut file, *b"rnPd", &noise(filling, seed));
        }
        chunk(&mut file, *b"IEND", &[]);
        file
    }
}

/// Bytes of a chunk without data.
const CHUNK: u64 = 12;

impl Bulk {
    /// Noise for as many of the bytes as the file shall have, the rest flat.
    fn of(shape: MediaShape) -> Self {
        let (width, height) = shape.pixels;
        let row = u64::from(width) * 3 + 1;
        let rows = u64::from(height) - 1;
        // Signature, head, first row, checksum, end.
        let around = 8 + 25 + (CHUNK + 7 + row) + 16 + CHUNK;
        let room = shape.bytes.saturating_sub(around + CHUNK);
        let most = row * rows;
        let mut noisy = room.saturating_sub(most / 1000).min(most);
        loop {
            let (deflated, adler) = deflate(row, rows, noisy);
            let over = (deflated.len() as u64).saturating_sub(room);
            if over == 0 || noisy == 0 {
                let mut whole = Vec::with_capacity(deflated.len() + 12);
                chunk(&mut whole, *b"IDAT", &deflated);
                return Self {
                    chunk: whole,
                    adler,
                    length: most,
                };
            }
            noisy = noisy.saturating_sub(over + over / 64 + 16);
        }
    }
}

/// Rows of which the first `noisy` bytes are noise and the others the same, as the end of a deflate stream; and their Adler-32.
fn deflate(row: u64, rows: u64, noisy: u64) -> (Vec<u8>, u32) {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let mut random = Xorshift::new(row ^ rows << 32);
    let mut line = vec![0; usize::try_from(row).unwrap_or(1)];
    let mut adler = Adler::default();
    let mut left = noisy;
    for _ in 0..rows {
        for (place, byte) in line.iter_mut().enumerate() {
            // The first of a row names its filter: none.
            *byte = match (place, left) {
                (0, _) => 0,
                (_, 0) => 0x7f,
                _ => {
                    left -= 1;
                    random.byte()
                }
            };
        }
        adler.add(&line);
        // Writing to memory cannot fail.
        let _ = encoder.write_all(&line);
    }
    (encoder.finish().unwrap_or_default(), adler.value())
}

fn first_row(width: u32, seed: u64) -> Vec<u8> {
    let mut row = vec![0];
    row.extend(noise(u64::from(width) * 3, seed));
    row
}

/// The beginning of a zlib stream: its head, and one block that is not compressed.
fn stored_block(row: &[u8]) -> Vec<u8> {
    // A row of MOST_SIDE pixels is shorter than the most that such a block holds.
    let length = u16::try_from(row.len()).unwrap_or(u16::MAX);
    let mut block = vec![0x78, 0x01, 0];
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(&(!length).to_le_bytes());
    block.extend_from_slice(row.get(..usize::from(length)).unwrap_or(row));
    block
}

fn chunk(file: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(&name);
    file.extend_from_slice(data);
    let mut crc = flate2::Crc::new();
    crc.update(&name);
    crc.update(data);
    file.extend_from_slice(&crc.sum().to_be_bytes());
}

/// One channel of 16-bit samples, quiet noise, in a file of exactly `bytes` (an even number of them, and the head's 44 at least).
fn wav(bytes: u64, seed: u64) -> Vec<u8> {
    let samples = bytes.saturating_sub(44) / 2;
    let data = u32::try_from(samples * 2).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(data as usize + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&data.saturating_add(36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend_from_slice(&[1, 0, 1, 0]);
    file.extend_from_slice(&SAMPLES_PER_S.to_le_bytes());
    file.extend_from_slice(&(SAMPLES_PER_S * 2).to_le_bytes());
    // Two bytes for all channels, of 16 bits each.
    file.extend_from_slice(&[2, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data.to_le_bytes());
    let mut random = Xorshift::new(seed);
    for _ in 0..samples {
        let sample = i16::from(random.byte()) - 128;
        file.extend_from_slice(&(sample * 8).to_le_bytes());
    }
    file
}

fn noise(bytes: u64, seed: u64) -> Vec<u8> {
    let mut random = Xorshift::new(seed);
    (0..bytes).map(|_| random.byte()).collect()
}

/// Bytes that do not compress.
struct Xorshift(u64);

impl Xorshift {
    fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    #[allow(clippy::cast_possible_truncation, reason = "one byte is wanted")]
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }
}

/// Adler-32 (RFC 1950, section 8.2).
struct Adler(u32, u32);

const ADLER: u32 = 65_521;

impl Default for Adler {
    fn default() -> Self {
        Self(1, 0)
    }
}

impl Adler {
    fn add(&mut self, bytes: &[u8]) {
        // The most bytes after which the sums still fit 32 bits.
        for piece in bytes.chunks(5552) {
            for &byte in piece {
                self.0 += u32::from(byte);
                self.1 += self.0;
            }
            self.0 %= ADLER;
            self.1 %= ADLER;
        }
    }

    fn value(&self) -> u32 {
        self.1 << 16 | self.0
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    let mut adler = Adler::default();
    adler.add(bytes);
    adler.value()
}

/// The Adler-32 of two runs of bytes from that of each: the second's first sum starts at the first's, not at one, and so adds that to
/// the second sum at each of its bytes.
#[allow(
    clippy::cast_possible_truncation,
    reason = "remainders of a number of 16 bits"
)]
fn adler_of_both(first: u32, second: u32, second_length: u64) -> u32 {
    let modulus = u64::from(ADLER);
    let (a, b) = (u64::from(first & 0xffff), u64::from(first >> 16));
    let (c, d) = (u64::from(second & 0xffff), u64::from(second >> 16));
    let low = (a + c + modulus - 1) % modulus;
    let high = (b + d + (second_length % modulus) * ((a + modulus - 1) % modulus)) % modulus;
    (high as u32) << 16 | low as u32
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    let digit = |word: u32, shift: u32| {
        let place = (word >> shift & 63) as usize;
        char::from(DIGITS.get(place).copied().unwrap_or(b'A'))
    };
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.push(digit(word, 18));
        text.push(digit(word, 12));
        text.push(if three.len() > 1 { digit(word, 6) } else { '=' });
        text.push(if three.len() > 2 { digit(word, 0) } else { '=' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn picture(bytes: u64, pixels: (u32, u32)) -> MediaShape {
        MediaShape {
            kind: MediaKind::Image,
            bytes,
            pixels,
        }
    }

    /// The chunks of a PNG, their checksums checked.
    fn chunks(file: &[u8]) -> Vec<(&[u8], &[u8])> {
        let mut rest = file.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let mut crc = flate2::Crc::new();
            crc.update(&rest[4..8 + length]);
            assert_eq!(crc.sum().to_be_bytes(), rest[8 + length..12 + length]);
            chunks.push((&rest[4..8], &rest[8..8 + length]));
            rest = &rest[12 + length..];
        }
        chunks
    }

    #[test]
    fn pictures_are_whole_pngs_of_the_recorded_pixels_and_bytes() {
        let mut studio = Studio::default();
        for (bytes, pixels, exact) in [
            (40_000, (320, 200), true),
            (300_000, (640, 480), true),
            (2_000, (8, 8), true),
            (100, (300, 300), false),
            (1, (1, 1), false),
            (5_000_000, (1000, 1), true),
        ] {
            let file = studio.png(picture(bytes, pixels), 7);
            if exact {
                assert_eq!(file.len() as u64, bytes, "{pixels:?}");
            }
            let chunks = chunks(&file);
            let data: Vec<u8> = chunks
                .iter()
                .filter(|it| it.0 == b"IDAT")
                .flat_map(|it| it.1.to_vec())
                .collect();
            let mut rows = Vec::new();
            // It checks the Adler-32, too.
            flate2::read::ZlibDecoder::new(&data[..])
                .read_to_end(&mut rows)
                .unwrap();
            assert_eq!(
                rows.len() as u64,
                (u64::from(pixels.0) * 3 + 1) * u64::from(pixels.1)
            );
            assert_eq!(chunks[0].1[..4], pixels.0.to_be_bytes());
            assert_eq!(chunks.last().unwrap().0, b"IEND");
        }
    }

    #[test]
    fn two_pictures_of_one_size_differ_and_the_same_one_comes_again() {
        let mut studio = Studio::default();
        let part = MediaPart {
            message: 0,
            kind: MediaKind::Image,
            bytes: 5000,
            pixels: Some((64, 64)),
        };
        let mut make = |seed| studio.make(0, &part, seed).unwrap().base64;
        assert_eq!(make(1 << 40), make(1 << 40));
        assert_ne!(make(1 << 40), make(2 << 40));
        assert_eq!(studio.bulks.len(), 1);
    }

    #[test]
    fn sound_is_a_wav_of_the_recorded_bytes() {
        let file = wav(32_044, 3);
        assert_eq!(file.len(), 32_044);
        assert_eq!((&file[..4], &file[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
        assert_eq!(u32::from_le_bytes(file[4..8].try_into().unwrap()), 32_036);
        assert_eq!(wav(0, 3).len(), 44);
    }

    #[test]
    fn base64_pads() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }
}

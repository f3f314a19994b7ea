use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::MediaShape;
use super::adler::{Adler, adler_of_both, adler32};
use super::noise::{Xorshift, noise};

/// All rows of a PNG but the first.
pub(super) struct Png {
    /// A chunk of compressed rows.
    chunk: Vec<u8>,
    /// Adler-32 of the rows, and their bytes.
    adler: u32,
    length: u64,
}

impl Png {
    /// A file of exactly the pixels, and of the bytes where those are enough for a flat picture.
    pub(super) fn file(&self, shape: MediaShape, seed: u64) -> Vec<u8> {
        let (width, height) = shape.pixels;
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
        file.extend_from_slice(&self.chunk);
        let adler = adler_of_both(adler32(&row), self.adler, self.length);
        chunk(&mut file, *b"IDAT", &adler.to_be_bytes());
        let left = shape.bytes.saturating_sub(file.len() as u64 + CHUNK);
        if let Some(filling) = left.checked_sub(CHUNK) {
            // A private chunk, which readers skip.
            chunk(&mut file, *b"rnPd", &noise(filling, seed));
        }
        chunk(&mut file, *b"IEND", &[]);
        file
    }

    /// Noise for as many of the bytes as the file shall have, the rest flat.
    pub(super) fn of(shape: MediaShape) -> Self {
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

    /// Bytes of the heap that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.chunk.len()
    }
}

/// Bytes of a chunk without data.
const CHUNK: u64 = 12;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{MediaKind, PictureFormat};
    use std::io::Read;

    fn picture(bytes: u64, pixels: (u32, u32)) -> MediaShape {
        MediaShape {
            kind: MediaKind::Image,
            format: PictureFormat::Png,
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
        for (bytes, pixels, exact) in [
            (40_000, (320, 200), true),
            (300_000, (640, 480), true),
            (2_000, (8, 8), true),
            (100, (300, 300), false),
            (1, (1, 1), false),
            (5_000_000, (1000, 1), true),
        ] {
            let shape = picture(bytes, pixels);
            let file = Png::of(shape).file(shape, 7);
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
}

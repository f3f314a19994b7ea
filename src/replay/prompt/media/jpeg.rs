use super::MediaShape;
use super::noise::{Xorshift, noise};

/// All rows of a JPEG but the first: baseline, three components, colours at half the resolution as cameras write them (ITU-T T.81).
///
/// Each row of blocks is a restart interval, so a row of its own can stand before rows that were made once. The Huffman tables have
/// as few codes as the noise needs; a decoder reads as many bytes, and transforms as many blocks, as of a photograph of the size.
pub(super) struct Jpeg {
    rows: Vec<u8>,
}

/// Pixels along each side of what is coded together: four blocks of light, two of colour.
const UNIT: u32 = 16;
const BLOCKS: u64 = 6;
/// Bits of a unit that is flat: no difference, end of block.
const FLAT_BITS: u64 = BLOCKS * 2;
/// Coefficients of a block beside its mean; each takes a byte here.
const COEFFICIENTS: u64 = 63;
/// Coefficients of each block in the first row, which tell one picture from another.
const OWN: u64 = 2;

/// Bytes of a restart marker.
const MARKER: u64 = 2;
const END: [u8; 2] = [0xff, 0xd9];

impl Jpeg {
    /// Noise for as many of the bytes as the file shall have.
    pub(super) fn of(shape: MediaShape) -> Self {
        let (columns, rows) = units(shape.pixels);
        let first = (columns * (FLAT_BITS + BLOCKS * OWN * 8)).div_ceil(8);
        let around = (before(shape.pixels).len() + SCAN.len() + END.len()) as u64 + first;
        let room = shape.bytes.saturating_sub(around);
        // Bits of flat rows are zeros, so none of their bytes is stuffed. Where they have no room, no smaller aim is met either.
        let flat = (rows - 1) * (MARKER + (columns * FLAT_BITS).div_ceil(8));
        let mut aim = if room < flat { 0 } else { room };
        loop {
            let scan = noisy_rows(columns, rows, aim);
            let over = (scan.len() as u64).saturating_sub(room);
            if over == 0 || aim == 0 {
                return Self { rows: scan };
            }
            aim = aim.saturating_sub(over);
        }
    }

    /// A file of exactly the pixels, and of the bytes where those are enough for a flat picture.
    pub(super) fn file(&self, shape: MediaShape, seed: u64) -> Vec<u8> {
        let (columns, _) = units(shape.pixels);
        let mut file = Vec::with_capacity(usize::try_from(shape.bytes).unwrap_or(0) + 1024);
        file.extend(before(shape.pixels));
        let mut row = Bits::default();
        let mut random = Xorshift::new(seed);
        (0..columns).for_each(|_| row.unit(OWN * BLOCKS, &mut random));
        let row = row.finish();
        let bytes = file.len() + SCAN.len() + row.len() + self.rows.len() + END.len();
        fill(&mut file, shape.bytes.saturating_sub(bytes as u64), seed);
        file.extend(SCAN);
        file.extend(row);
        file.extend(&self.rows);
        file.extend(END);
        file
    }

    /// Bytes of the heap that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.rows.len()
    }
}

/// Units in a row, and rows.
fn units((width, height): (u32, u32)) -> (u64, u64) {
    let units = |side: u32| u64::from(side.div_ceil(UNIT));
    (units(width), units(height))
}

/// The rows after the first, each behind its restart marker, of about `room` bytes, which are spread evenly.
fn noisy_rows(columns: u64, rows: u64, room: u64) -> Vec<u8> {
    let mut random = Xorshift::new(columns ^ rows << 32);
    let mut scan = Vec::new();
    let mut left = columns * (rows - 1);
    for row in 1..rows {
        #[allow(clippy::cast_possible_truncation, reason = "below 8")]
        scan.extend([0xff, 0xd0 + ((row - 1) % 8) as u8]);
        let mut bits = Bits::default();
        // Markers, and bits that fill the last byte of a row.
        let markers = (rows - row - 1) * MARKER + (rows - row);
        for _ in 0..columns {
            let taken = (scan.len() + bits.bytes.len()) as u64;
            let share = room.saturating_sub(taken + markers) * 8 / left.max(1);
            let noisy = share.saturating_sub(FLAT_BITS) / 8;
            bits.unit(noisy.min(BLOCKS * COEFFICIENTS), &mut random);
            left -= 1;
        }
        scan.extend(bits.finish());
    }
    scan
}

/// What stands before the scan, but for what fills the file.
fn before((width, height): (u32, u32)) -> Vec<u8> {
    // Sides are at most `MOST_SIDE`.
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX).to_be_bytes();
    let columns = side(width.div_ceil(UNIT));
    let (width, height) = (side(width), side(height));
    let mut head = vec![0xff, 0xd8];
    segment(&mut head, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    // Nothing is quantised away.
    let mut quantisation = vec![0];
    quantisation.extend([1; 64]);
    segment(&mut head, 0xdb, &quantisation);
    let mut frame = vec![8];
    frame.extend(height.into_iter().chain(width));
    // Three components: number, sampling, table.
    frame.extend([3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]);
    segment(&mut head, 0xc0, &frame);
    let mut huffman = Vec::new();
    for (table, lengths, symbols) in [(0, [1, 0], &[0][..]), (0x10, [1, 1], &[0, 6])] {
        huffman.push(table);
        huffman.extend(lengths);
        huffman.extend([0; 14]);
        huffman.extend(symbols);
    }
    segment(&mut head, 0xc4, &huffman);
    segment(&mut head, 0xdd, &columns);
    head
}

/// The scan's head: all components, whole blocks.
const SCAN: [u8; 14] = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0];

fn segment(file: &mut Vec<u8>, marker: u8, payload: &[u8]) {
    let length = u16::try_from(payload.len() + 2).unwrap_or(u16::MAX);
    file.extend([0xff, marker]);
    file.extend(length.to_be_bytes());
    file.extend_from_slice(payload);
}

/// Adds exactly `left` bytes that say nothing: comments, or before the next marker the bytes that may stand before any.
fn fill(file: &mut Vec<u8>, mut left: u64, seed: u64) {
    const LEAST: u64 = 4;
    const MOST: u64 = 65_535 + 2;
    while left >= LEAST {
        let bytes = match left.min(MOST) {
            // What is left after it must be a comment again, or nothing.
            bytes if (1..LEAST).contains(&(left - bytes)) => bytes - LEAST,
            bytes => bytes,
        };
        segment(file, 0xfe, &noise(bytes - LEAST, seed));
        left -= bytes;
    }
    file.extend((0..left).map(|_| 0xff));
}

/// Entropy-coded data under way.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    word: u32,
    held: u32,
}

impl Bits {
    /// A unit with so many coefficients that are noise.
    fn unit(&mut self, noisy: u64, random: &mut Xorshift) {
        for block in 0..BLOCKS {
            // The mean is that of the block before.
            self.put(0, 1);
            let noisy = (noisy + BLOCKS - 1 - block) / BLOCKS;
            // Six bits of value behind the code that says so.
            (0..noisy).for_each(|_| self.put(0b10 << 6 | u32::from(random.byte() >> 2), 8));
            if noisy < COEFFICIENTS {
                self.put(0, 1);
            }
        }
    }

    fn put(&mut self, bits: u32, count: u32) {
        self.word = self.word << count | bits;
        self.held += count;
        while self.held >= 8 {
            self.held -= 8;
            let [.., byte] = (self.word >> self.held).to_be_bytes();
            self.bytes.push(byte);
            if byte == 0xff {
                // So that it is taken for no marker.
                self.bytes.push(0);
            }
        }
    }

    /// The last byte is filled with ones.
    fn finish(mut self) -> Vec<u8> {
        let missing = (8 - self.held) % 8;
        self.put((1 << missing) - 1, missing);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{MediaKind, PictureFormat};

    fn file(bytes: u64, pixels: (u32, u32), seed: u64) -> Vec<u8> {
        let shape = MediaShape {
            kind: MediaKind::Image,
            format: PictureFormat::Jpeg,
            bytes,
            pixels,
        };
        Jpeg::of(shape).file(shape, seed)
    }

    #[test]
    fn a_picture_has_exactly_the_recorded_bytes_where_it_can() {
        for (bytes, pixels) in [
            (40_000, (320, 200)),
            (300_000, (640, 480)),
            (2_000, (8, 8)),
            (400_000, (1, 1)),
            (5_000_000, (1000, 1)),
            (90_001, (4000, 3000)),
        ] {
            for seed in 0..5 {
                assert_eq!(file(bytes + seed, pixels, seed).len() as u64, bytes + seed);
            }
        }
        let smallest = file(1, (300, 300), 7);
        assert!(smallest.len() < 1500, "{}", smallest.len());
    }

    #[test]
    fn most_of_a_pictures_bytes_are_of_its_pixels_and_its_first_row_is_its_own() {
        let (one, other) = (
            file(100_000, (640, 480), 1 << 40),
            file(100_000, (640, 480), 2 << 40),
        );
        let scan = |file: &[u8]| {
            let at = file.windows(2).position(|it| it == [0xff, 0xda]).unwrap();
            file[at..].to_vec()
        };
        let (one, other) = (scan(&one), scan(&other));
        assert!(one.len() > 99_000, "{}", one.len());
        let second = |scan: &[u8]| scan.windows(2).position(|it| it == [0xff, 0xd0]).unwrap();
        assert_ne!(one[..second(&one)], other[..second(&other)]);
        assert_eq!(one[second(&one)..], other[second(&other)..]);
    }

    #[test]
    fn a_picture_of_hardly_fewer_bytes_than_a_flat_one_is_soon_made() {
        let pixels = (4000, 4000);
        let flat = file(1, pixels, 7).len() as u64;
        assert_eq!(file(flat - 1, pixels, 7).len() as u64, flat);
        assert_eq!(file(flat + 1, pixels, 7).len() as u64, flat + 1);
    }
}

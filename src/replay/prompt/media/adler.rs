/// Adler-32 (RFC 1950, section 8.2).
pub(super) struct Adler(u32, u32);

const ADLER: u32 = 65_521;

impl Default for Adler {
    fn default() -> Self {
        Self(1, 0)
    }
}

impl Adler {
    pub(super) fn add(&mut self, bytes: &[u8]) {
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

    pub(super) fn value(&self) -> u32 {
        self.1 << 16 | self.0
    }
}

pub(super) fn adler32(bytes: &[u8]) -> u32 {
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
pub(super) fn adler_of_both(first: u32, second: u32, second_length: u64) -> u32 {
    let modulus = u64::from(ADLER);
    let (a, b) = (u64::from(first & 0xffff), u64::from(first >> 16));
    let (c, d) = (u64::from(second & 0xffff), u64::from(second >> 16));
    let low = (a + c + modulus - 1) % modulus;
    let high = (b + d + (second_length % modulus) * ((a + modulus - 1) % modulus)) % modulus;
    (high as u32) << 16 | low as u32
}

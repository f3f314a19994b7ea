pub(super) fn noise(bytes: u64, seed: u64) -> Vec<u8> {
    let mut random = Xorshift::new(seed);
    (0..bytes).map(|_| random.byte()).collect()
}

/// Bytes that do not compress.
pub(super) struct Xorshift(u64);

impl Xorshift {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    #[allow(clippy::cast_possible_truncation, reason = "one byte is wanted")]
    pub(super) fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }
}

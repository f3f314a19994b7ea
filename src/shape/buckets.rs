/// Log-linear buckets of whole numbers: `2^bits` to the octave, so that a bucket's middle is within `2^-(bits + 1)` of every value
/// in it.
///
/// Bucket `b` below `2^bits` holds the value `b` alone. From there on, bucket `2^bits * (e - bits + 1) + m` holds values of
/// `e + 1` significant bits whose `bits` bits after the leading one are `m`. Integer arithmetic only, so every machine agrees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets {
    bits: u32,
}

impl Buckets {
    pub(super) const fn of_bits(bits: u32) -> Self {
        Self { bits }
    }

    /// How many there are for values of 64 bits.
    #[allow(clippy::cast_possible_truncation, reason = "3,776 at six bits")]
    pub(super) const fn count(self) -> u16 {
        (1 << self.bits) * (65 - self.bits) as u16
    }

    pub(super) fn of(self, value: u64) -> u16 {
        let linear = 1_u64 << self.bits;
        if value < linear {
            return u16::try_from(value).unwrap_or(u16::MAX);
        }
        let exponent = 63 - value.leading_zeros(); // at least `bits`
        let mantissa = (value >> (exponent - self.bits)) & (linear - 1);
        let octave = u64::from(exponent - self.bits + 1);
        u16::try_from(linear * octave + mantissa).unwrap_or(u16::MAX)
    }

    /// The middle of a bucket that there is.
    pub(super) fn middle(self, bucket: u16) -> u64 {
        let linear = 1_u16 << self.bits;
        if bucket < linear {
            return u64::from(bucket);
        }
        let exponent = u32::from(bucket / linear) + self.bits - 1;
        let width = 1_u64 << (exponent - self.bits);
        let low = (1_u64 << exponent) + u64::from(bucket % linear) * width;
        low + (width >> 1)
    }
}

//! Numbers of variable length (LEB128), and zigzag for signed ones.

/// Something in a block that its format does not allow. Never leaves this room: a reader skips the block and counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Appends `value`, seven bits to a byte, lowest first, the top bit set on all bytes but the last.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "masked to seven bits")]
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value - predicted` (wrapping), zigzag.
#[inline]
pub(super) fn put_residual(out: &mut Vec<u8>, value: u64, predicted: u64) {
    put(out, zigzag(value.wrapping_sub(predicted).cast_signed()));
}

/// Small magnitudes of either sign to small numbers: 0, -1, 1, -2, … to 0, 1, 2, 3, …
#[inline]
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
pub(super) const fn unzigzag(code: u64) -> i64 {
    (code >> 1).cast_signed() ^ -((code & 1).cast_signed())
}

/// Reads a column's numbers one after another. A column that a file does not have reads as zeros without end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbers<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Numbers<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Some(bytes) }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            None => Ok(0),
            Some([byte, rest @ ..]) if *byte < 0x80 => {
                self.rest = Some(rest);
                Ok(u64::from(*byte))
            }
            Some(bytes) => self.long(bytes),
        }
    }

    fn long(&mut self, bytes: &'a [u8]) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (i, &byte) in bytes.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                return Err(Malformed("a number is longer than 64 bits"));
            }
            value |= bits << (7 * i);
            if byte < 0x80 {
                self.rest = bytes.get(i + 1..);
                return Ok(value);
            }
        }
        Err(Malformed(if bytes.len() < 10 {
            "a column ends early"
        } else {
            "a number is longer than 64 bits"
        }))
    }

    /// Whether there is no further number. A missing column has none, though it reads as zeros.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_none_or(<[u8]>::is_empty)
    }

    /// A number that must fit a smaller type.
    #[inline]
    pub(super) fn next_as<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.next()?).map_err(|_| Malformed("a number is too large for its field"))
    }

    /// The number that was written as the difference from `predicted`.
    #[inline]
    pub(super) fn residual(&mut self, predicted: u64) -> Result<u64, Malformed> {
        Ok(predicted.wrapping_add(unzigzag(self.next()?).cast_unsigned()))
    }

    /// The next `count` numbers, each written as the difference from `predicted`. Most of them take one byte: those are read by the run,
    /// which is several times as fast as one by one.
    pub(super) fn residuals(
        &mut self,
        predicted: u64,
        count: usize,
    ) -> Result<Vec<u16>, Malformed> {
        let mut out = Vec::with_capacity(count);
        // What is far above a `u16` stays above it after any difference of one byte.
        let base = i32::try_from(predicted.min(1 << 20)).unwrap_or(i32::MAX);
        while let left @ 1.. = count - out.len() {
            let bytes = self.rest.unwrap_or_default();
            let (run, rest) = bytes.split_at(short_run(bytes, left));
            if run.is_empty() {
                out.push(self.residual_as(predicted)?);
                continue;
            }
            self.rest = Some(rest);
            let mut beyond = 0;
            out.extend(run.iter().map(|&byte| {
                let code = i32::from(byte);
                let value = base + ((code >> 1) ^ -(code & 1));
                beyond |= value;
                low_half(value)
            }));
            if u16::try_from(beyond).is_err() {
                return Err(Malformed("a number is too large for its field"));
            }
        }
        Ok(out)
    }

    /// [`residual`](Self::residual), for a number that must fit a smaller type.
    #[inline]
    pub(super) fn residual_as<T: TryFrom<u64>>(&mut self, predicted: u64) -> Result<T, Malformed> {
        T::try_from(self.residual(predicted)?)
            .map_err(|_| Malformed("a number is too large for its field"))
    }
}

/// How many of the first `most` bytes are numbers of one byte, without one of more between them.
pub(super) fn short_run(bytes: &[u8], most: usize) -> usize {
    let bytes = bytes.get(..most).unwrap_or(bytes);
    if bytes.first().is_none_or(|&byte| byte >= 0x80) {
        return 0;
    }
    let long = |chunk: &&[u8]| chunk.iter().fold(0, |all, byte| all | byte) >= 0x80;
    let run: usize = bytes
        .chunks(16)
        .take_while(|chunk| !long(chunk))
        .map(<[u8]>::len)
        .sum();
    let rest = bytes.get(run..).unwrap_or_default();
    run + rest.iter().take_while(|&&byte| byte < 0x80).count()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whether it fits is asked for a run at a time"
)]
const fn low_half(value: i32) -> u16 {
    value as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(values in prop::collection::vec(any::<u64>(), 0..50), predicted in any::<u64>()) {
            let (mut plain, mut residuals) = (Vec::new(), Vec::new());
            for &value in &values {
                put(&mut plain, value);
                put_residual(&mut residuals, value, predicted);
            }
            let (mut plain, mut residuals) = (Numbers::new(&plain), Numbers::new(&residuals));
            for &value in &values {
                prop_assert_eq!(plain.next(), Ok(value));
                prop_assert_eq!(residuals.residual(predicted), Ok(value));
            }
            prop_assert_eq!(plain.next(), Err(Malformed("a column ends early")));
        }

        #[test]
        fn a_run_of_differences_reads_as_one_by_one(
            bytes in prop::collection::vec(prop_oneof![4 => 0..128_u8, 1 => any::<u8>()], 0..80),
            predicted in prop_oneof![0..100_u64, 65_400..65_700_u64, any::<u64>()],
            count in 0..60_usize,
            missing in any::<bool>(),
        ) {
            let numbers = if missing { Numbers::default() } else { Numbers::new(&bytes) };
            let (mut by_run, mut one_by_one) = (numbers, numbers);
            let read = by_run.residuals(predicted, count);
            let expected: Result<Vec<u16>, _> = (0..count).map(|_| one_by_one.residual_as(predicted)).collect();
            prop_assert_eq!(read.is_ok(), expected.is_ok());
            if expected.is_ok() {
                prop_assert_eq!(read, expected);
                prop_assert_eq!(by_run.rest, one_by_one.rest);
            }
        }

        #[test]
        fn any_bytes_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut numbers = Numbers::new(&bytes);
            while numbers.next().is_ok() {}
        }
    }

    #[test]
    fn small_magnitudes_take_one_byte() {
        for (value, code) in [(0, 0), (-1, 1), (1, 2), (-64, 127), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(value), code);
            assert_eq!(unzigzag(code), value);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let eleven = [0x80; 11];
        assert!(Numbers::new(&eleven).next().is_err());
        let mut too_long = [0xff; 10];
        too_long[9] = 0x02;
        assert!(Numbers::new(&too_long).next().is_err());
        assert!(Numbers::new(&[0x80, 0x02]).next_as::<u8>().is_err());
        assert_eq!(Numbers::default().next(), Ok(0), "a missing column");
    }
}

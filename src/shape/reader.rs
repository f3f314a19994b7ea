//! Clients that take their answers slowly.

use super::Exchange;

impl Exchange {
    /// Bytes in a second at which a slow reader took the answer, from its first byte to its last; `None` where its client was not slow, or
    /// nobody looked.
    ///
    /// A reader is slow that kept the answer waiting for at least half of that time, and for 20 ms: then its pace was the reader's more
    /// than the server's.
    pub fn slow_reader_bytes_per_s(&self) -> Option<u64> {
        let response = &self.response;
        let wait_us = response.reader_wait_us.filter(|&us| us >= SLOW_US)?;
        let end_us = response.end_us.or(self.outcome.at_us())?;
        let took_us = end_us.checked_sub(response.first_byte_us?)?;
        if took_us == 0 || wait_us < took_us / 2 {
            return None;
        }
        let bytes_per_s = u128::from(response.bytes) * 1_000_000 / u128::from(took_us);
        u64::try_from(bytes_per_s).ok().filter(|&it| it > 0)
    }
}

/// A reader is not slow that kept an answer waiting for less than this in all.
const SLOW_US: u64 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, Method, Outcome, ResponseShape, TraceTime};

    fn answer(bytes: u64, took_us: u64, reader_wait_us: Option<u64>) -> Exchange {
        Exchange {
            response: ResponseShape {
                first_byte_us: Some(700),
                end_us: Some(700 + took_us),
                bytes,
                reader_wait_us,
                ..ResponseShape::default()
            },
            ..Exchange::bare(TraceTime::from_us(0), Endpoint::Other, Method::Post)
        }
    }

    #[test]
    fn a_slow_reader_is_one_that_was_waited_for_most_of_the_time() {
        let pace =
            |bytes, took_us, wait_us| answer(bytes, took_us, wait_us).slow_reader_bytes_per_s();
        assert_eq!(pace(1_000_000, 500_000, Some(400_000)), Some(2_000_000));
        assert_eq!(pace(1_000_000, 500_000, Some(250_000)), Some(2_000_000));
        assert_eq!(
            pace(1_000_000, 500_000, Some(249_999)),
            None,
            "mostly the server's pace"
        );
        assert_eq!(pace(1_000_000, 25_000, Some(20_000)), Some(40_000_000));
        assert_eq!(
            pace(1_000_000, 25_000, Some(19_999)),
            None,
            "too short to matter"
        );
        assert_eq!(pace(1_000_000, 500_000, Some(0)), None);
        assert_eq!(pace(1_000_000, 500_000, None), None, "nobody looked");
        assert_eq!(pace(0, 500_000, Some(400_000)), None);
        assert_eq!(pace(1, u64::MAX - 700, Some(u64::MAX)), None);
        assert_eq!(pace(u64::MAX, 1_000_000, Some(u64::MAX)), Some(u64::MAX));
    }

    #[test]
    fn of_a_client_that_left_what_it_had_taken_by_then_counts() {
        let mut left = answer(300_000, 0, Some(2_000_000));
        left.response.end_us = None;
        assert_eq!(left.slow_reader_bytes_per_s(), None, "no end is known");
        left.outcome = Outcome::ClientCancelled { at_us: 3_000_700 };
        assert_eq!(left.slow_reader_bytes_per_s(), Some(100_000));
        left.response.first_byte_us = None;
        assert_eq!(left.slow_reader_bytes_per_s(), None);
    }
}

use std::str::FromStr;

use super::read_rate::ReadRate;
use super::synthesise::Prepared;
use crate::shape::Exchange;

/// How fast clients take their answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Readers {
    /// Those of slow readers at the recorded pace, where the trace tells; all others as they come.
    #[default]
    AsRecorded,
    /// All as they come.
    Fast,
    /// At one rate, each or a share of them.
    Drawn(ReadRate),
}

impl Readers {
    /// Bytes that a request's client takes in a second, at most; `None` where it takes what comes. What is drawn is drawn with `seed`.
    pub(super) fn bytes_per_s(self, seed: u64, prepared: &Prepared) -> Option<u64> {
        match self {
            Self::Fast => None,
            Self::AsRecorded => prepared.reader_bytes_per_s,
            Self::Drawn(rate) => rate
                .is_of(seed, prepared.turn.session, prepared.index)
                .then_some(rate.bytes_per_s),
        }
    }

    /// Bytes in a second at which a request's client took its answer, where that was slow and is so again.
    pub fn recorded_bytes_per_s(self, exchange: &Exchange) -> Option<u64> {
        let pace = exchange.slow_reader_bytes_per_s()?;
        (self == Self::AsRecorded).then(|| pace.max(ReadRate::SLOWEST_BYTES_PER_S))
    }
}

impl FromStr for Readers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "recorded" => Ok(Self::AsRecorded),
            "fast" => Ok(Self::Fast),
            _ => Err("neither `recorded` nor `fast`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing::exchange;
    use crate::shape::ResponseShape;

    #[test]
    fn readers_are_as_recorded_or_fast() {
        assert_eq!("recorded".parse(), Ok(Readers::AsRecorded));
        assert_eq!(" fast".parse(), Ok(Readers::Fast));
        for bad in ["", "slow", "64KiB/s"] {
            assert!(bad.parse::<Readers>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_recorded_pace_is_kept_where_it_is_that_of_a_reader_and_ends_in_time() {
        let mut slow = exchange(0);
        slow.response.first_byte_us = Some(0);
        slow.response.end_us = Some(1_000_000);
        slow.response.reader_wait_us = Some(600_000);
        slow.response.bytes = 5_000_000;
        let pace = |readers: Readers, exchange: &Exchange| readers.recorded_bytes_per_s(exchange);
        assert_eq!(pace(Readers::AsRecorded, &slow), Some(5_000_000));
        assert_eq!(pace(Readers::Fast, &slow), None);
        let crawling = Exchange {
            response: ResponseShape {
                bytes: 10,
                ..slow.response.clone()
            },
            ..slow.clone()
        };
        assert_eq!(pace(Readers::AsRecorded, &crawling), Some(1024));
        slow.response.reader_wait_us = Some(0);
        assert_eq!(pace(Readers::AsRecorded, &slow), None);
    }
}

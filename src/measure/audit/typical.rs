use serde::Serialize;

use crate::shape::{Exchange, GapSketch, TraceTime};

/// What is usual in a trace, to hold against what a policy takes away. Medians, within 3 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Typical {
    /// From an arrival to the next; absent where there are no two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_gap_us: Option<u64>,
    /// Output tokens of an answer; absent where none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

/// Gathers what is typical. A sketch's buckets are as fit for tokens as for microseconds.
#[derive(Default)]
pub(super) struct TypicalMeter {
    last: Option<TraceTime>,
    arrival_gaps: GapSketch,
    output_tokens: GapSketch,
}

impl TypicalMeter {
    /// Takes the next exchange, in order of arrival.
    pub(super) fn add(&mut self, exchange: &Exchange) {
        if let Some(last) = self.last.replace(exchange.at) {
            self.arrival_gaps
                .record(exchange.at.us().saturating_sub(last.us()));
        }
        if let Some(tokens) = exchange.response.output_tokens {
            self.output_tokens.record(tokens.count.into());
        }
    }

    pub(super) fn finish(&self) -> Typical {
        Typical {
            arrival_gap_us: median(&self.arrival_gaps),
            output_tokens: median(&self.output_tokens),
        }
    }
}

fn median(sketch: &GapSketch) -> Option<u64> {
    let half = sketch.count().div_ceil(2);
    let mut so_far = 0;
    sketch.values().find_map(|(value, count)| {
        so_far += u64::from(count);
        (so_far >= half).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, Method, TokenCount, TokenSource};

    #[test]
    fn few_long_pauses_and_answers_are_not_typical() {
        let mut meter = TypicalMeter::default();
        assert_eq!(meter.finish(), Typical::default());
        for (at, count) in [(0, 9), (10, 9), (20, 9), (1_000_000, 4000), (1_000_010, 9)] {
            let at = TraceTime::from_us(at);
            let mut exchange = Exchange::bare(at, Endpoint::Completions, Method::Post);
            exchange.response.output_tokens = Some(TokenCount {
                count,
                source: TokenSource::Usage,
            });
            meter.add(&exchange);
        }
        let typical = meter.finish();
        assert_eq!(
            (typical.arrival_gap_us, typical.output_tokens),
            (Some(10), Some(9))
        );
    }
}

use serde::{Deserialize, Serialize};

use super::{MemorySamples, TokensInFlight, nearest, seconds};

/// Where memory ran out, as far as it could be seen: answers that say so, and what the engine counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ooms {
    /// How often.
    pub count: u64,
    /// Those that answers told of, in order of time; at most [`Ooms::MOST`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<OomEvent>,
}

/// Memory ran out, with the load at that instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct OomEvent {
    /// When the first answer said so, in seconds since the run began.
    pub t_s: f64,
    /// Answers that said so, none of them more than two seconds after the one before.
    pub answers: u64,
    /// The most tokens in flight in the second before.
    pub in_flight_tokens: f64,
    /// Share of the KV cache in use, at the sample nearest to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<f64>,
    /// Share of the fullest GPU's memory in use, at the sample nearest to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram: Option<f64>,
}

impl Ooms {
    /// Events kept at most.
    pub const MOST: usize = 1_000;

    /// Whether memory never ran out.
    pub fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Those of several runs.
    pub(in crate::measure) fn sum<'a>(runs: impl Iterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for run in runs {
            sum.count += run.count;
            sum.events.extend(&run.events);
        }
        sum.events.truncate(Self::MOST);
        sum
    }
}

/// When answers told that memory had run out.
#[derive(Debug, Default)]
pub(in crate::measure) struct OomLog {
    at_us: Vec<u64>,
}

impl OomLog {
    /// An answer that ended then told so. Answers of a run that does nothing else are thinned: each is near its neighbour anyway.
    pub(in crate::measure) fn record(&mut self, end_us: u64) {
        if self.at_us.len() < MOST_ANSWERS {
            self.at_us.push(end_us);
        }
    }

    pub(in crate::measure) fn finish(
        mut self,
        tokens: &TokensInFlight,
        samples: &MemorySamples,
    ) -> Ooms {
        self.at_us.sort_unstable();
        let clusters = self.at_us.chunk_by(|a, b| b - a <= APART_US);
        let events: Vec<OomEvent> = clusters
            .filter_map(|cluster| {
                let at_us = *cluster.first()?;
                let before = at_us.saturating_sub(1_000_000);
                Some(OomEvent {
                    t_s: seconds(at_us),
                    answers: cluster.len() as u64,
                    in_flight_tokens: tokens.peak_between(before, at_us + 1).unwrap_or(0.0),
                    kv_cache: nearest(&samples.kv_cache, at_us),
                    vram: nearest(&samples.vram, at_us),
                })
            })
            .take(Ooms::MOST)
            .collect();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count; a page that tells otherwise saturates"
        )]
        let counted = samples.ooms.unwrap_or(0.0).round() as u64;
        Ooms {
            count: counted.max(events.len() as u64),
            events,
        }
    }
}

const MOST_ANSWERS: usize = 100_000;
const APART_US: u64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::RequestOutcome;

    #[test]
    fn answers_close_together_are_one_event_with_the_load_before_it() {
        let mut tokens = TokensInFlight::default();
        tokens.record(&RequestOutcome {
            sent_us: Some(0),
            end_us: 5_000_000,
            prompt_tokens: Some(700),
            ..RequestOutcome::default()
        });
        let mut log = OomLog::default();
        for at in [5_100_000, 5_000_000, 6_900_000, 30_000_000] {
            log.record(at);
        }
        let samples = MemorySamples {
            vram: vec![(4_000_000, 0.9), (5_000_000, 0.99), (29_000_000, 0.5)],
            ..MemorySamples::default()
        };
        let ooms = log.finish(&tokens, &samples);
        assert_eq!(ooms.count, 2);
        let first = ooms.events[0];
        assert_eq!((first.answers, first.vram), (3, Some(0.99)));
        assert!((first.in_flight_tokens - 700.0).abs() < 1e-6, "{first:?}");
        assert_eq!(
            (ooms.events[1].t_s, ooms.events[1].in_flight_tokens),
            (30.0, 0.0)
        );
    }

    #[test]
    fn what_the_engine_counts_and_nobody_was_told_counts_too() {
        let samples = MemorySamples {
            ooms: Some(3.0),
            ..MemorySamples::default()
        };
        let ooms = OomLog::default().finish(&TokensInFlight::default(), &samples);
        assert_eq!((ooms.count, ooms.events.len()), (3, 0));
        let none = OomLog::default().finish(&TokensInFlight::default(), &MemorySamples::default());
        assert!(none.is_none());
    }
}

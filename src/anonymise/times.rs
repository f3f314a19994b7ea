use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::policy::Policy;
use crate::shape::{Exchange, Outcome, TraceTime};

/// Makes arrivals uncertain: each is put off by a random time, and all by the same random time. Moments within an exchange
/// count from its arrival and move with it, so their order and distances stay.
pub(super) struct Times {
    shift_us: u64,
    jitter_us: u64,
    /// A cryptographic generator: who knows some of its numbers cannot take the others off again.
    random: ChaCha20Rng,
}

impl Times {
    /// As the policy says, from a seed for this file and the shift of this recorder.
    pub(super) fn new(policy: &Policy, shift_us: u64, seed: [u8; 32]) -> Self {
        Self {
            shift_us,
            jitter_us: policy.time_jitter_us,
            random: ChaCha20Rng::from_seed(seed),
        }
    }

    /// A shift for all files of a recorder.
    pub(super) fn any_shift(policy: &Policy, seed: [u8; 32]) -> u64 {
        below(policy.time_shift_us, &mut ChaCha20Rng::from_seed(seed))
    }

    /// Puts an arrival off, by the `jitter_us` that was drawn for it before, or by one that is drawn now.
    pub(super) fn blur(&mut self, exchange: &mut Exchange, jitter_us: &mut Option<u64>) {
        let jitter_us = *jitter_us.get_or_insert_with(|| below(self.jitter_us, &mut self.random));
        let later_us = self.shift_us.saturating_add(jitter_us);
        exchange.at = TraceTime::from_us(exchange.at.us().saturating_add(later_us));
        if let Outcome::InFlight { at_us } = &mut exchange.outcome {
            // All that a round finds in flight are found at one moment, which does not move with their arrivals: by it those could
            // be told from each other.
            let response = &exchange.response;
            let latest_us = response.headers_us.max(response.first_byte_us);
            *at_us = at_us.saturating_sub(jitter_us).max(latest_us.unwrap_or(0));
        }
    }

    /// A number that is no other's.
    pub(super) fn any(&mut self) -> u64 {
        self.random.random()
    }
}

fn below(limit_us: u64, random: &mut impl Rng) -> u64 {
    match limit_us {
        0 => 0,
        limit_us => random.random_range(0..limit_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, Method};

    fn arrivals(policy: &Policy, shift_us: u64, seed: u8) -> Vec<u64> {
        let mut times = Times::new(policy, shift_us, [seed; 32]);
        (0..1000)
            .map(|number| {
                let at = TraceTime::from_us(number * 10);
                let mut exchange = Exchange::bare(at, Endpoint::Other, Method::Get);
                times.blur(&mut exchange, &mut None);
                exchange.at.us() - number * 10
            })
            .collect()
    }

    #[test]
    fn arrivals_are_put_off_by_less_than_the_jitter_and_evenly() {
        let policy = Policy {
            time_jitter_us: 1000,
            ..Policy::default()
        };
        let put_off = arrivals(&policy, 5000, 1);
        assert!(put_off.iter().all(|us| (5000..6000).contains(us)));
        let mean = put_off.iter().sum::<u64>() / 1000;
        assert!((5450..5550).contains(&mean), "{mean}");
        assert_ne!(put_off, arrivals(&policy, 5000, 2));
    }

    #[test]
    fn those_found_in_flight_at_one_moment_were_all_seen_last_at_that_moment() {
        let policy = Policy {
            time_jitter_us: 1000,
            ..Policy::default()
        };
        let mut times = Times::new(&policy, 5000, [1; 32]);
        for arrival in (0..100_000).step_by(1000) {
            let at = TraceTime::from_us(arrival);
            let mut exchange = Exchange::bare(at, Endpoint::Other, Method::Get);
            exchange.outcome = Outcome::InFlight {
                at_us: 2_000_000 - arrival,
            };
            let mut drawn = None;
            times.blur(&mut exchange, &mut drawn);
            let Outcome::InFlight { at_us } = exchange.outcome else {
                unreachable!();
            };
            assert_eq!(exchange.at.us() + at_us, 2_005_000);
            let mut ended = Exchange::bare(at, Endpoint::Other, Method::Get);
            times.blur(&mut ended, &mut drawn);
            assert_eq!(ended.at, exchange.at, "drawn once");
        }
    }

    #[test]
    fn nothing_moves_unasked() {
        assert!(arrivals(&Policy::default(), 0, 1).iter().all(|&us| us == 0));
        assert_eq!(Times::any_shift(&Policy::default(), [1; 32]), 0);
    }
}

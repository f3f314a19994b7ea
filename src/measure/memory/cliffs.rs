//! Loads from which on things are worse at once, not little by little.

use serde::{Deserialize, Serialize};

use super::{MemorySamples, TokensInFlight, seconds};
use crate::measure::median::median;

/// A load from which on a figure is another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cliff {
    /// Of what: `tpot_ms`, `preemptions_per_s`.
    pub metric: String,
    /// From so many tokens in flight on.
    pub in_flight_tokens: f64,
    /// What it would be beyond if it went on as below (TPOT), or what it was below (preemptions).
    pub before: f64,
    /// What it is beyond.
    pub after: f64,
}

/// TPOT of requests with the moment in their middle; of a long run every second, every fourth … of them.
#[derive(Debug)]
pub(in crate::measure) struct TpotLog {
    samples: Vec<(u64, f64)>,
    every: u64,
    seen: u64,
}

impl Default for TpotLog {
    fn default() -> Self {
        Self {
            samples: Vec::new(),
            every: 1,
            seen: 0,
        }
    }
}

impl TpotLog {
    pub(in crate::measure) fn record(&mut self, middle_us: u64, tpot_ms: f64) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every) {
            return;
        }
        if self.samples.len() >= MOST {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
        self.samples.push((middle_us, tpot_ms));
    }
}

/// The cliffs of a run.
pub(in crate::measure) fn cliffs(
    tokens: &TokensInFlight,
    tpot: &TpotLog,
    samples: &MemorySamples,
) -> Vec<Cliff> {
    let beside = tpot.samples.iter();
    let mut pairs: Vec<(f64, f64)> = beside.map(|&(us, ms)| (tokens.at(us), ms)).collect();
    let rates = samples.preemptions.windows(2).filter_map(|pair| {
        let &[(from, before), (to, after)] = pair else {
            return None;
        };
        let load = tokens.peak_between(from, to)?;
        Some((
            load,
            (after - before).max(0.0) / seconds(to - from).max(1e-6),
        ))
    });
    let mut rates: Vec<(f64, f64)> = rates.collect();
    [slower(&mut pairs), preempts(&mut rates)]
        .into_iter()
        .flatten()
        .collect()
}

/// Where TPOT leaves its line: of the medians of 30 equal parts by load, the break into two lines that leaves least. It is a cliff if two
/// lines leave less than two fifths of what one leaves, and beyond it TPOT is at least half more than the lower line says.
fn slower(pairs: &mut [(f64, f64)]) -> Option<Cliff> {
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    if pairs.len() < 4 * PARTS {
        return None;
    }
    let parts: Vec<(f64, f64)> = pairs
        .chunks(pairs.len().div_ceil(PARTS))
        .filter_map(|part| {
            let mut loads: Vec<f64> = part.iter().map(|pair| pair.0).collect();
            let mut values: Vec<f64> = part.iter().map(|pair| pair.1).collect();
            Some((median(&mut loads)?, median(&mut values)?))
        })
        .collect();
    let one = Line::through(&parts)?;
    let breaks = FEWEST..parts.len().checked_sub(FEWEST)?;
    let best = breaks.filter_map(|at| {
        let (low, high) = parts.split_at(at);
        let (low, high) = (Line::through(low)?, Line::through(high)?);
        Some((low.left + high.left, at, low))
    });
    let (left, at, low) = best.min_by(|a, b| a.0.total_cmp(&b.0))?;
    let (below, beyond) = parts.split_at(at);
    let middle = beyond.get(beyond.len() / 2)?;
    let mut values: Vec<f64> = beyond.iter().map(|part| part.1).collect();
    let after = median(&mut values)?;
    // A line that falls towards the break foretells less than was ever seen: a TPOT that only stops falling is no cliff.
    let mut seen: Vec<f64> = below.iter().map(|part| part.1).collect();
    let before = low.at(middle.0).max(median(&mut seen)?);
    let cliff = left < 0.4 * one.left && before > 0.0 && after >= 1.5 * before;
    cliff.then(|| Cliff {
        metric: "tpot_ms".to_owned(),
        in_flight_tokens: below
            .last()
            .map_or(0.0, |part| part.0)
            .midpoint(beyond.first().map_or(0.0, |part| part.0)),
        before,
        after,
    })
}

/// The least load at and beyond which at least half of the stretches between two pages preempted, where below hardly any did.
fn preempts(rates: &mut [(f64, f64)]) -> Option<Cliff> {
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let preempted = |rate: &(f64, f64)| rate.1 > 0.0;
    let in_all = rates.iter().filter(|rate| preempted(rate)).count();
    let mut below = 0;
    let found = rates.iter().enumerate().position(|(at, rate)| {
        let beyond = rates.len() - at;
        let cliff = preempted(rate)
            && at >= FEWEST_CALM
            && beyond >= FEWEST
            && float(in_all - below) / float(beyond) >= 0.5
            && float(below) / float(at) <= 0.1;
        below += usize::from(preempted(rate));
        cliff
    });
    let (below, beyond) = rates.split_at(found?);
    let mean = |part: &[(f64, f64)]| {
        part.iter().map(|rate| rate.1).sum::<f64>() / float(part.len().max(1))
    };
    Some(Cliff {
        metric: "preemptions_per_s".to_owned(),
        in_flight_tokens: beyond.first()?.0,
        before: mean(below),
        after: mean(beyond),
    })
}

/// A least-squares line.
struct Line {
    slope: f64,
    rest: f64,
    /// Sum of squares that it leaves.
    left: f64,
}

impl Line {
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        let n = float(points.len());
        let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / n;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let (mut xx, mut xy) = (0.0, 0.0);
        for point in points {
            xx += (point.0 - x).powi(2);
            xy += (point.0 - x) * (point.1 - y);
        }
        let slope = if xx > 0.0 { xy / xx } else { 0.0 };
        let rest = y - slope * x;
        let left = points
            .iter()
            .map(|point| (point.1 - rest - slope * point.0).powi(2))
            .sum();
        (points.len() > 1).then_some(Self { slope, rest, left })
    }

    fn at(&self, x: f64) -> f64 {
        self.rest + self.slope * x
    }
}

#[allow(clippy::cast_precision_loss, reason = "lengths stay below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

/// Requests that are remembered at most.
const MOST: usize = 8_192;
const PARTS: usize = 30;
/// Parts, or stretches, on each side.
const FEWEST: usize = 4;
/// Stretches without preemption below the load from which on there is some: of fewer, a coin that is tossed for each would do.
const FEWEST_CALM: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Requests under loads up to 10,000 tokens, and what TPOT is at each, a fifth of it noise.
    fn requests(seed: u64, tpot: fn(f64) -> f64) -> Vec<(f64, f64)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..600)
            .map(|_| {
                let load = 10_000.0 * rng.random::<f64>();
                (load, tpot(load) * (0.9 + 0.2 * rng.random::<f64>()))
            })
            .collect()
    }

    #[test]
    fn a_cliff_is_found_where_it_is() {
        for seed in 0..20 {
            let falls = |load: f64| 10.0 + load / 2_000.0 + if load > 6_000.0 { 25.0 } else { 0.0 };
            let cliff = slower(&mut requests(seed, falls)).unwrap();
            assert!(
                (cliff.in_flight_tokens - 6_000.0).abs() < 600.0,
                "{cliff:?}"
            );
            assert!(cliff.before < 16.0 && cliff.after > 35.0, "{cliff:?}");
        }
    }

    #[test]
    fn getting_slower_little_by_little_is_no_cliff() {
        for seed in 0..50 {
            assert_eq!(
                slower(&mut requests(seed, |load| 10.0 + load / 500.0)),
                None
            );
            assert_eq!(slower(&mut requests(seed, |_| 10.0)), None);
        }
        assert_eq!(slower(&mut requests(1, |load| load)[..50]), None);
    }

    #[test]
    fn a_tpot_that_only_stops_falling_is_no_cliff() {
        for seed in 0..50 {
            let warms = |load: f64| {
                if load < 5_000.0 {
                    20.0 - load / 500.0
                } else {
                    10.0
                }
            };
            assert_eq!(slower(&mut requests(seed, warms)), None);
        }
    }

    #[test]
    fn preemptions_at_any_load_are_no_cliff() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let told = (0..200).filter(|_| {
            let mut rate = || f64::from(u8::from(rng.random::<bool>()));
            let mut rates: Vec<(f64, f64)> =
                (0..60).map(|load| (f64::from(load), rate())).collect();
            preempts(&mut rates).is_some()
        });
        assert!(told.count() <= 5);
    }

    #[test]
    fn the_load_from_which_on_it_preempts_is_told() {
        let rate = |load: u32| if load > 70 { 2.0 } else { 0.0 };
        let mut rates: Vec<(f64, f64)> = (0..100)
            .map(|i| i * 37 % 100)
            .map(|load| (f64::from(load), rate(load)))
            .collect();
        let cliff = preempts(&mut rates).unwrap();
        assert_eq!(
            (cliff.in_flight_tokens, cliff.before, cliff.after),
            (71.0, 0.0, 2.0)
        );
        let mut never: Vec<(f64, f64)> = (0..100).map(|load| (f64::from(load), 0.0)).collect();
        assert_eq!(preempts(&mut never), None);
    }

    /// What `preempts` must find, looked for as its words say it: at each load both sides are gone through anew.
    fn found_the_long_way(rates: &mut [(f64, f64)]) -> Option<Cliff> {
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let share = |part: &[(f64, f64)]| {
            float(part.iter().filter(|rate| rate.1 > 0.0).count()) / float(part.len().max(1))
        };
        let mean = |part: &[(f64, f64)]| {
            part.iter().map(|rate| rate.1).sum::<f64>() / float(part.len().max(1))
        };
        let found = (FEWEST_CALM..rates.len()).find(|&at| {
            let (below, beyond) = rates.split_at(at);
            beyond.len() >= FEWEST
                && beyond.first().is_some_and(|rate| rate.1 > 0.0)
                && share(beyond) >= 0.5
                && share(below) <= 0.1
        });
        let (below, beyond) = rates.split_at(found?);
        Some(Cliff {
            metric: "preemptions_per_s".to_owned(),
            in_flight_tokens: beyond.first()?.0,
            before: mean(below),
            after: mean(beyond),
        })
    }

    /// Stretches that preempt one time in so many below a load, and beyond it.
    fn stretches() -> impl Strategy<Value = Vec<(f64, f64)>> {
        let one = (0..40_u32, 0..12_u32, 1..5_u32);
        let many = proptest::collection::vec(one, 0..120);
        (0..40_u32, 1..12_u32, 1..4_u32, many).prop_map(|(cliff, calm, busy, many)| {
            let rate = |(load, coin, rate): (u32, u32, u32)| {
                let odds = if load < cliff { calm } else { busy };
                let falls = coin % odds == 0 && (load >= cliff || odds > 1);
                (f64::from(load), f64::from(u32::from(falls) * rate))
            };
            many.into_iter().map(rate).collect()
        })
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_going_through_both_sides_at_each_load_does(rates in stretches()) {
            prop_assert_eq!(preempts(&mut rates.clone()), found_the_long_way(&mut rates.clone()));
        }
    }

    #[test]
    fn most_of_the_compared_are_no_empty_answers() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let told = (0..256).filter(|_| {
            let mut rates = stretches().new_tree(&mut runner).unwrap().current();
            preempts(&mut rates).is_some()
        });
        let told = told.count();
        assert!((30..226).contains(&told), "{told} of 256");
    }

    #[test]
    fn a_long_run_is_remembered_in_a_bounded_number_of_requests() {
        let mut log = TpotLog::default();
        (0..100_000).for_each(|us| log.record(us, 1.0));
        assert!(log.samples.len() <= MOST && log.samples.len() > MOST / 4);
        assert!(log.samples.last().unwrap().0 > 99_000);
    }
}

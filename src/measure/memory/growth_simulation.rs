//! Runs whose truth is known: clean ones of every kind of engine, and the same with a leak.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// How an engine's memory follows its load.
#[derive(Debug, Clone, Copy)]
enum Engine {
    /// The cache is taken at start; the allocator keeps, in segments of 20 MiB, what the highest batch so far took.
    Pool,
    /// Every token in flight takes 128 KiB, told late and by estimates that are a hundredth off.
    Follows,
    /// As `Pool`, and three times at moments of its own a segment of up to 200 MiB is kept.
    Steps,
    /// A process' resident memory: what it churns through wanders, and comes back within seconds.
    Resident,
}

const ENGINES: [Engine; 4] = [
    Engine::Pool,
    Engine::Follows,
    Engine::Steps,
    Engine::Resident,
];

/// Two minutes of bursts: conversations of a few hundred to a few thousand tokens that come in clusters and stay for seconds.
fn load(rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut load = vec![0.0; TICKS];
    let mut at = 0.0_f64;
    while at < 120.0 {
        at += -(1.0 - rng.random::<f64>()).ln() * 2.5;
        for _ in 0..rng.random_range(1..12) {
            let starts = at + rng.random::<f64>();
            let tokens = (6.0 + 1.0 * normal(rng)).exp();
            let stays = 1.0 + 9.0 * rng.random::<f64>();
            let tick = |t: f64| ((t * 10.0) as usize).min(TICKS);
            for value in &mut load[tick(starts)..tick(starts + stays)] {
                *value += tokens;
            }
        }
    }
    load
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // Irwin and Hall's: the sum of twelve.
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// A run sampled at this many a second, which leaks so many bytes a second in pieces of so many.
fn run(engine: Engine, hz: usize, (leak, piece): (f64, f64), seed: u64) -> Vec<Loaded> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let load = load(&mut rng);
    let moments: Vec<(f64, f64)> = (0..3)
        .map(|_| {
            (
                120.0 * rng.random::<f64>(),
                200.0 * MIB * rng.random::<f64>(),
            )
        })
        .collect();
    let lag = rng.random_range(0..3);
    let (mut kept, mut wander) = (0.0_f64, 0.0);
    let mut samples = Vec::new();
    for tick in 0..TICKS {
        let t_s = float(tick) / 10.0;
        let told = load[tick];
        let truth = load[tick.saturating_sub(lag)];
        let segment = 20.0 * MIB;
        kept = kept.max((truth * 40_000.0 / segment).ceil() * segment);
        wander = 0.95 * wander + 2.0 * MIB * normal(&mut rng);
        let steps: f64 = moments
            .iter()
            .filter(|(at, _)| *at <= t_s)
            .map(|(_, size)| size)
            .sum();
        let pool = 60_000.0 * MIB;
        let used = match engine {
            Engine::Pool => pool + kept,
            Engine::Follows => pool + 131_072.0 * truth,
            Engine::Steps => pool + kept + steps,
            Engine::Resident => 4_000.0 * MIB + 2_000.0 * truth + wander,
        };
        let leaked = (leak * t_s / piece).floor() * piece;
        if tick % (10 / hz) == 0 {
            let off = match engine {
                Engine::Follows => 1.0 + 0.02 * (rng.random::<f64>() - 0.5),
                _ => 1.0,
            };
            samples.push(Loaded {
                t_s,
                bytes: used + leaked,
                load: told * off,
            });
        }
    }
    samples
}

/// Of 25 runs of two minutes, in how many the leak was found.
fn found(engine: Engine, hz: usize, leak: f64, piece: f64) -> usize {
    (1_000..1_025)
        .filter_map(|seed| apart_from_load(&run(engine, hz, (leak, piece), seed)))
        .filter(|growth| growth.leak)
        .inspect(|growth| {
            assert!((growth.bytes_per_s / leak - 1.0).abs() < 0.6, "{growth:?}");
        })
        .count()
}

#[test]
fn a_leak_of_a_mebibyte_a_second_is_found_in_two_minutes() {
    for engine in [Engine::Pool, Engine::Steps] {
        for (hz, piece) in [(1, 1.0), (1, 2.0 * MIB), (10, 2.0 * MIB)] {
            let found = found(engine, hz, MIB, piece);
            assert!(found >= 22, "{engine:?}, {hz} Hz: {found} of 25");
        }
    }
}

#[test]
fn where_memory_itself_wanders_a_leak_must_stand_out_of_that() {
    for (engine, leak) in [(Engine::Resident, 2.0), (Engine::Follows, 8.0)] {
        let found = found(engine, 1, leak * MIB, 1.0);
        assert!(found >= 17, "{engine:?}: {found} of 25");
    }
}

#[test]
fn no_clean_run_is_called_a_leak() {
    for engine in ENGINES {
        for hz in [1, 10] {
            let alarms: Vec<MemoryGrowth> = (0..100)
                .filter_map(|seed| apart_from_load(&run(engine, hz, (0.0, 1.0), seed)))
                .filter(|growth| growth.leak)
                .collect();
            assert_eq!(alarms, [], "{engine:?} at {hz} Hz");
        }
    }
}

#[test]
fn short_and_sparse_and_senseless_samples_say_nothing() {
    let sample = |t_s, bytes| Loaded {
        t_s,
        bytes,
        load: 0.0,
    };
    assert_eq!(apart_from_load(&[]), None);
    let short: Vec<Loaded> = (0..100_u8)
        .map(|i| sample(f64::from(i) / 10.0, 1.0))
        .collect();
    assert_eq!(apart_from_load(&short), None);
    let still: Vec<Loaded> = (0..100_u8).map(|i| sample(f64::from(i), 5e9)).collect();
    let growth = apart_from_load(&still).unwrap();
    assert_eq!((growth.bytes_per_s, growth.leak), (0.0, false));
    let at_once: Vec<Loaded> = (0..100_u8).map(|_| sample(1.0, 1.0)).collect();
    assert_eq!(apart_from_load(&at_once), None);
}

const TICKS: usize = 1200;

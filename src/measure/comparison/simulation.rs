//! What the statistics promise, held against queues whose truth is known: a first-come-first-served queue of several servers, bursty
//! arrivals, conversations.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{CompareOptions, Comparison, ComparisonVerdict, RunSample, Side, compare};
use crate::measure::{MeasureOptions, TargetMeasure};
use crate::replay::RequestOutcome;

/// A request of a simulated trace.
struct Arrival {
    at_us: u64,
    session: u64,
    service_us: f64,
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // Box and Muller 1958.
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn exponential(rng: &mut ChaCha8Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.random::<f64>()).ln()
}

/// Conversations of one to four turns whose rate changes every eight seconds, log-normal service of a second in the mean.
fn trace(requests: usize, seed: u64) -> Vec<Arrival> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut arrivals = Vec::new();
    let (mut now, mut session) = (0.0_f64, 0);
    while arrivals.len() < requests {
        let factor = [0.6, 1.0, 1.4][(now / 8e6) as usize % 3];
        now += exponential(&mut rng, 1e6 * 2.5 / (SERVERS as f64 * LOAD * factor));
        session += 1;
        let mut at = now;
        for _ in 0..rng.random_range(1..=4) {
            arrivals.push(Arrival {
                at_us: at as u64,
                session,
                service_us: 1e6 * (0.6 * normal(&mut rng) - 0.18).exp(),
            });
            at += exponential(&mut rng, 3e6);
        }
    }
    arrivals.sort_by_key(|arrival| arrival.at_us);
    arrivals
}

const SERVERS: usize = 32;
const LOAD: f64 = 0.7;

/// Sends a trace through the queue; each service differs from the trace's by `slower` and by 10 % of noise.
fn run(trace: &[Arrival], slower: f64, seed: u64) -> RunSample {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut free = vec![0.0_f64; SERVERS];
    let mut sample = RunSample::default();
    for (index, arrival) in trace.iter().enumerate() {
        let server = (0..SERVERS)
            .min_by(|&a, &b| free[a].total_cmp(&free[b]))
            .unwrap();
        let begun = free[server].max(arrival.at_us as f64);
        let noise = (0.1 * normal(&mut rng)).exp();
        free[server] = begun + arrival.service_us * slower * noise;
        sample.record(&RequestOutcome {
            index: index as u64,
            session: Some(arrival.session),
            intended_us: arrival.at_us,
            sent_us: Some(arrival.at_us),
            end_us: free[server] as u64,
            ..RequestOutcome::default()
        });
    }
    sample
}

/// Five runs of each side on one trace, with noise of their own.
fn compared(case: u64, slower: f64, requests: usize) -> Comparison {
    let trace = trace(requests, case);
    let runs = |slower: f64, side: u64| -> Vec<RunSample> {
        (0..5)
            .map(|repeat| run(&trace, slower, case * 1000 + side * 100 + repeat))
            .collect()
    };
    let (baseline, target) = (runs(1.0, 0), runs(slower, 1));
    let side = |name, runs| Side { name, runs };
    let options = CompareOptions {
        resamples: 300,
        seed: case,
        ..CompareOptions::default()
    };
    compare(side("a", &baseline), side("b", &target), &options)
}

fn worse(comparison: &Comparison) -> bool {
    comparison
        .metrics
        .values()
        .any(|metric| metric.verdict == ComparisonVerdict::Worse)
}

fn share_of_worse(cases: u64, slower: f64, requests: usize) -> f64 {
    let found = (0..cases)
        .filter(|&case| worse(&compared(case, slower, requests)))
        .count();
    found as f64 / cases as f64
}

#[test]
fn a_target_against_itself_is_seldom_worse_and_ten_percent_slower_service_is_found() {
    let false_alarms = share_of_worse(40, 1.0, 600);
    assert!(false_alarms < 0.05, "{false_alarms}");
    let found = share_of_worse(20, 1.1, 600);
    assert!(found >= 0.9, "{found}");
}

/// `cargo test --lib simulation -- --ignored`
#[test]
#[ignore = "a minute of simulation: the same over many more cases"]
fn the_same_over_hundreds_of_traces() {
    let false_alarms = share_of_worse(400, 1.0, 4000);
    let found = share_of_worse(200, 1.1, 4000);
    println!("worse against itself: {false_alarms}; 10 % slower found: {found}");
    assert!(
        false_alarms < 0.05 && found >= 0.9,
        "{false_alarms} {found}"
    );
}

/// One server, Poisson arrivals, exponential service: the time in the system is exponential with mean 1 / (μ − λ) (any textbook), so
/// its P99 is ln 100 / (μ − λ). A client that waits for each answer before it sends the next, and counts from when it
/// sent, sees no queue at all.
#[test]
fn the_known_p99_of_a_queue_is_found_and_a_capped_closed_loop_misses_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mean_service_us, load) = (1000.0, 0.8);
    let (mut arrival, mut free) = (0.0_f64, 0.0_f64);
    let mut ours = TargetMeasure::new(MeasureOptions::default());
    let mut capped = TargetMeasure::new(MeasureOptions::default());
    for index in 0..400_000 {
        arrival += exponential(&mut rng, mean_service_us / load);
        let begun = free.max(arrival);
        free = begun + exponential(&mut rng, mean_service_us);
        let outcome = |intended: f64| RequestOutcome {
            index,
            intended_us: intended as u64,
            sent_us: Some(intended as u64),
            end_us: free as u64,
            ..RequestOutcome::default()
        };
        ours.record(&outcome(arrival));
        capped.record(&outcome(begun));
    }
    let p99 = |measure: &TargetMeasure| measure.latencies().e2e.quantile_ms(0.99).unwrap();
    let truth = 100_f64.ln() * (mean_service_us / 1000.0) / (1.0 - load);
    let (ours, capped) = (p99(&ours), p99(&capped));
    assert!((ours / truth - 1.0).abs() < 0.05, "{ours} {truth}");
    assert!(capped < truth / 4.0, "{capped} {truth}");
}

use super::*;
use crate::measure::target::tests::outcome;
use crate::replay::{FailureKind, SendResult};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const OPTIONS: CompareOptions = CompareOptions {
    margin: 0.05,
    seed: 9,
    resamples: 400,
    live: false,
};

fn sample(factor: f64, seed: u64) -> RunSample {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sample = RunSample::default();
    for i in 0..2000 {
        let base = 100_000.0 + f64::from(i as u32 % 97) * 1000.0;
        let noise = 1.0 + 0.02 * rng.random::<f64>();
        sample.record(&outcome(i, i * 1000, (base * factor * noise) as u64));
    }
    sample
}

fn compared(baseline: &RunSample, target: &RunSample) -> Comparison {
    let side = |name, run| Side {
        name,
        runs: std::slice::from_ref(run),
    };
    compare(side("a", baseline), side("b", target), &OPTIONS)
}

#[test]
fn a_target_against_itself_is_not_worse_and_a_slower_one_is() {
    let baseline = sample(1.0, 1);
    let same = compared(&baseline, &sample(1.0, 2));
    assert_eq!(same.pairs, 2000);
    let not_worse = |metric: &MetricComparison| metric.verdict == ComparisonVerdict::NotWorse;
    assert!(same.metrics.values().all(not_worse), "{same:#?}");
    let slower = compared(&baseline, &sample(1.2, 2));
    let worse = |metric: &MetricComparison| metric.verdict == ComparisonVerdict::Worse;
    assert!(slower.metrics.values().all(worse), "{slower:#?}");
    let close = compared(&baseline, &sample(1.05, 2));
    let (low, high) = close.metrics["e2e.p50"].ratio_ci95.unwrap();
    let high = high.unwrap();
    assert!(low < 1.05 && high > 1.04 && high < 1.08, "{low} {high}");
}

#[test]
fn failures_are_worse_than_any_value() {
    let baseline = sample(1.0, 1);
    let mut failing = RunSample::default();
    for i in 0..2000 {
        let mut outcome = outcome(i, i * 1000, 100_000);
        if i % 10 == 0 {
            outcome.result = SendResult::Failed(FailureKind::Reset);
        }
        failing.record(&outcome);
    }
    let compared = compared(&baseline, &failing);
    let p99 = &compared.metrics["e2e.p99"];
    assert_eq!(
        (p99.verdict, p99.target_ms),
        (ComparisonVerdict::Worse, None)
    );
}

/// Else only those that failed would have it, and whatever is compared with them would do better.
#[test]
fn what_a_side_does_not_tell_of_its_answers_is_not_compared() {
    let target = sample(1.0, 1);
    let told = |tells_first: bool, tells_gaps: bool| {
        let mut baseline = RunSample::default();
        for i in 0..2000 {
            let mut outcome = outcome(i, i * 1000, 100_000);
            if !tells_first {
                outcome.first_token_us = None;
            }
            if !tells_gaps {
                outcome.gaps_us.clear();
            }
            if i % 10 == 0 {
                outcome.result = SendResult::Failed(FailureKind::Reset);
            }
            baseline.record(&outcome);
        }
        let compared = compared(&baseline, &target);
        let metrics = ["ttft", "itl", "tpot", "e2e", "stall"];
        let told = metrics.map(|metric| compared.metrics.contains_key(&format!("{metric}.p50")));
        // The same of the parts by size and load, which are of all but itl.
        let (recorded, target) = ([baseline], std::slice::from_ref(&target));
        let strata = strata::strata(&recorded, target, &OPTIONS);
        for (metric, told) in metrics.into_iter().zip(told) {
            let has = strata.iter().any(|stratum| stratum.metric == metric);
            assert_eq!(has, told && metric != "itl", "{metric}");
        }
        told
    };
    assert_eq!(told(true, true), [true; 5]);
    assert_eq!(told(true, false), [true, false, true, true, false]);
    assert_eq!(told(false, false), [false, false, false, true, false]);
}

#[test]
fn gaps_between_tokens_are_compared_and_so_are_means_and_every_quantile() {
    let slower = compared(&sample(1.0, 1), &sample(1.2, 2));
    for figure in ["p50", "p90", "p95", "p99", "p99.9", "mean"] {
        for metric in ["ttft", "itl", "tpot", "e2e", "stall"] {
            let one = &slower.metrics[&format!("{metric}.{figure}")];
            assert_eq!(one.verdict, ComparisonVerdict::Worse, "{metric}.{figure}");
            let (low, high) = one.ratio_ci95.unwrap();
            assert!(low > 1.15 && high.unwrap() < 1.25, "{metric}.{figure}");
        }
    }
    assert_eq!(slower.pairs, 2000, "requests, and not gaps");
}

#[test]
fn too_few_requests_have_no_interval_and_say_how_many_it_takes() {
    let few = |factor: f64, requests: u64| {
        let mut sample = RunSample::default();
        for i in 0..requests {
            let took = (100_000.0 + i as f64 * 100.0) * factor;
            sample.record(&outcome(i, i * 1000, took as u64));
        }
        sample
    };
    let twice = compared(&few(1.0, 60), &few(2.0, 60));
    let of = |figure: &str| twice.metrics[&format!("e2e.{figure}")].clone();
    assert_eq!(of("p50").verdict, ComparisonVerdict::Worse);
    assert_eq!(of("p95").verdict, ComparisonVerdict::Worse);
    for (figure, needs) in [("p99", 100), ("p99.9", 1000)] {
        let none = of(figure);
        assert_eq!(none.verdict, ComparisonVerdict::Inconclusive, "{figure}");
        assert_eq!((none.ratio_ci95, none.pairs_needed), (None, Some(needs)));
        assert!(none.ratio.is_some());
    }
    let tiny = compared(&few(1.0, 5), &few(2.0, 5));
    assert_eq!(tiny.metrics["e2e.p50"].pairs_needed, Some(6));
    // That every request failed needs no interval.
    let mut failing = RunSample::default();
    for i in 0..5 {
        let mut outcome = outcome(i, i * 1000, 100_000);
        outcome.result = SendResult::Failed(FailureKind::Reset);
        failing.record(&outcome);
    }
    let failed = compared(&few(1.0, 5), &failing);
    assert_eq!(failed.metrics["e2e.p50"].verdict, ComparisonVerdict::Worse);
}

#[test]
fn a_target_that_fails_was_under_the_same_load() {
    let baseline = sample(1.0, 1);
    let mut failing = RunSample::default();
    for i in 0..2000 {
        let mut outcome = outcome(i, i * 1000, 100_000);
        if i % 10 == 0 {
            // It took no connection, or told nothing.
            outcome.sent_us = outcome.sent_us.filter(|_| i % 20 == 0);
            outcome.result = SendResult::Failed(FailureKind::Connect);
            (outcome.prompt_tokens, outcome.output_tokens) = (None, None);
        }
        failing.record(&outcome);
    }
    let compared = compared(&baseline, &failing);
    let load = compared.load.as_ref().unwrap();
    assert!(!load.differs, "{load:?}");
    assert_eq!(
        compared.metrics["e2e.p99"].verdict,
        ComparisonVerdict::Worse
    );
}

#[test]
fn targets_under_different_load_get_no_verdict() {
    let baseline = sample(1.0, 1);
    // As many requests, spread over a longer time: a slow target slows its own conversations down.
    let mut spread = RunSample::default();
    for i in 0..2000 {
        spread.record(&outcome(i, i * 1030, 100_000));
    }
    let compared = compared(&baseline, &spread);
    assert!(compared.load.as_ref().unwrap().differs);
    let unlike = |metric: &MetricComparison| metric.verdict == ComparisonVerdict::UnlikeLoad;
    assert!(compared.metrics.values().all(unlike), "{compared:#?}");
}

/// A replay of what production was sent one request a millisecond of.
fn beside_production(due_us: impl Fn(u64) -> u64, scaling: Scaling) -> Comparison {
    let (mut recorded, mut target) = (RunSample::default(), RunSample::default());
    for i in 0..2000 {
        let mut outcome = outcome(i, due_us(i), 100_000);
        outcome.planned_us = (i as f64 * 1000.0 / scaling.speed) as u64;
        outcome.recorded.at_us = 5_000_000 + i * 1000;
        outcome.recorded.end_us = Some(100_000);
        outcome.recorded.completed = true;
        // That this machine was late is no change of the load.
        outcome.sent_us = outcome.sent_us.map(|us| us + i * 50);
        recorded.record(&crate::measure::twin(&outcome).unwrap());
        target.record(&outcome);
    }
    let runs = std::slice::from_ref(&target);
    let target = Side { name: "b", runs };
    compare_with_recorded(std::slice::from_ref(&recorded), target, scaling, &OPTIONS)
}

#[test]
fn production_is_compared_with_only_under_its_own_load() {
    let load = |compared: &Comparison| {
        let load = compared.load.clone().unwrap();
        ((load.requests * 1000.0).round() / 1000.0, load.differs)
    };
    let same = beside_production(|i| i * 1000, Scaling::default());
    assert_eq!(load(&same), (1.0, false));
    assert_eq!(same.metrics["e2e.p50"].verdict, ComparisonVerdict::NotWorse);
    // Its own slow answers held up its conversations.
    let slow = beside_production(|i| i * 1250, Scaling::default());
    assert_eq!(load(&slow), (0.8, true));
    let unlike = |metric: &MetricComparison| metric.verdict == ComparisonVerdict::UnlikeLoad;
    assert!(slow.metrics.values().all(unlike), "{slow:#?}");
    let scaled = |speed, rate_scale, loop_for_s| Scaling {
        speed,
        rate_scale,
        loop_for_s,
        shape: None,
    };
    let faster = beside_production(|i| i * 250, scaled(4.0, 1.0, None));
    assert_eq!(load(&faster), (4.0, true));
    let fewer = beside_production(|i| i * 1000, scaled(1.0, 0.5, None));
    assert_eq!(load(&fewer), (0.5, true));
    // Again and again: the trace is over several times in that time.
    let looped = beside_production(|i| i * 1000, scaled(1.0, 1.0, Some(2.0)));
    assert_eq!(load(&looped), (1.0, false));
    let looped = beside_production(|i| i * 500, scaled(2.0, 1.0, Some(1.0)));
    assert_eq!(load(&looped), (2.0, true));
    // Whose arrivals stand where a shape has put them.
    let shaped = Scaling {
        shape: Some("step:1,2,3".parse().unwrap()),
        ..scaled(1.0, 1.0, Some(2.0))
    };
    assert_eq!(load(&beside_production(|i| i * 1000, shaped)), (2.0, true));
}

#[test]
fn a_percentile_among_the_failures_of_both_is_not_compared() {
    let failing = |every: u64, took_us: u64| {
        let mut sample = RunSample::default();
        for i in 0..2000 {
            let mut outcome = outcome(i, i * 1000, took_us);
            if i.is_multiple_of(every) {
                outcome.result = SendResult::Failed(FailureKind::Reset);
            }
            sample.record(&outcome);
        }
        sample
    };
    // Two of a hundred fail at the one, 40 at the other, which takes thrice as long.
    let compared = compared(&failing(50, 100_000), &failing(5, 300_000));
    let p99 = &compared.metrics["e2e.p99"];
    assert_eq!((p99.baseline_ms, p99.target_ms), (None, None));
    assert_eq!((p99.ratio, p99.ratio_ci95), (None, None));
    assert_eq!(p99.verdict, ComparisonVerdict::Inconclusive);
    assert_eq!(p99.more_runs, None);
    let p50 = &compared.metrics["e2e.p50"];
    assert_eq!(p50.verdict, ComparisonVerdict::Worse);
}

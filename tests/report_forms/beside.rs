//! A result of what was seen beside the requests: memory from an exporter that stalls, and an evaluator that found less under load.

use reenact::measure::{
    EvaluatedTest, Evaluation, GpuSummary, MemorySamples, Observed, Sampled, TestOutcome, quality,
};
use reenact::replay::RequestOutcome;
use reenact::verdict::judge;

use super::documents::{Document, document, evidence, objectives, observed, request};

/// Of the target whose exporter stalls: windows of a second in which nothing was sampled, but for the one between them.
const STALLED: [std::ops::Range<u64>; 2] = [14..18, 19..23];
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000_000;

/// Ever longer requests, and how many are open when memory is sampled, four times a second.
fn filling() -> (Vec<RequestOutcome>, Vec<(u64, u32)>) {
    let requests: Vec<RequestOutcome> = (0..400).map(|i| request(i, 100 + i * 10)).collect();
    let open = |us: u64| {
        let within = |one: &&RequestOutcome| one.intended_us <= us && us < one.end_us;
        u32::try_from(requests.iter().filter(within).count()).unwrap()
    };
    let samples = (0..160).map(|i| (i * SECOND / 4, open(i * SECOND / 4 + SECOND / 8)));
    let samples = samples.collect();
    (requests, samples)
}

/// A GPU of 80 GiB of which the model takes `model_gib`, and each open request another 800 MiB.
fn memory(samples: &[(u64, u32)], model_gib: u64) -> Observed<'_> {
    let bytes = move |open: u32| model_gib * GIB + u64::from(open) * GIB * 8 / 10;
    let share = |open: u32| 0.3 + 0.01 * f64::from(open);
    let within = move |from: u64, to: u64| {
        let inside = samples
            .iter()
            .filter(move |(us, _)| (from..to).contains(us));
        inside.map(|(_, open)| *open).max()
    };
    let shares: Vec<(u64, f64)> = samples
        .iter()
        .map(|&(us, open)| (us, share(open)))
        .collect();
    Observed {
        gpu: vec![GpuSummary {
            source: "dcgm".to_owned(),
            total_bytes: 80 * GIB,
            used_peak_bytes: within(0, u64::MAX).map_or(0, bytes),
            ..GpuSummary::default()
        }],
        memory: MemorySamples {
            vram: shares.clone(),
            kv_cache: shares,
            ..MemorySamples::default()
        },
        window: Some(Box::new(move |from, to| Sampled {
            vram_used_bytes: within(from, to).map(bytes),
            kv_cache: within(from, to).map(share),
            ..Sampled::default()
        })),
        ..Observed::default()
    }
}

fn tests(late_ms: f64, failed: &[u32]) -> Evaluation {
    let test = |i: u32| EvaluatedTest {
        id: format!("test {}, prompt 1, <m>", i + 1),
        outcome: match failed.contains(&i) {
            true => TestOutcome::Failed,
            false => TestOutcome::Passed,
        },
        latency_ms: Some(100.0 + f64::from(i) + late_ms * f64::from(i + 1)),
        checks: vec![(if i < 12 { "contains" } else { "latency" }.to_owned(), true)],
        ..EvaluatedTest::default()
    };
    Evaluation {
        tests: (0..20).map(test).collect(),
        ..Evaluation::default()
    }
}

/// Two targets, the second of which has windows twice as long.
pub(crate) fn beside() -> Document {
    let held = objectives(&["quality.flips<=2"]);
    let (requests, samples) = filling();
    let stalled = |us: u64| STALLED.iter().any(|range| range.contains(&(us / SECOND)));
    let told: Vec<(u64, u32)> = samples
        .iter()
        .copied()
        .filter(|(us, _)| !stalled(*us))
        .collect();
    let run = |name, samples, model_gib| {
        let requests = requests.iter().cloned();
        observed(
            name,
            &held,
            evidence(),
            requests,
            memory(samples, model_gib),
        )
        .0
    };
    let (mut stalls, mut steady) = (run("stalls", &told, 16), run("steady", &samples, 24));
    let (idle, loaded) = (tests(0.0, &[19]), tests(9.0, &[0, 1, 2, 3]));
    stalls.summary.quality = Some(quality("promptfoo", Some(&idle), Some(&loaded), Some(1.0)));
    steady.summary.quality = Some(quality("promptfoo", Some(&idle), Some(&idle), Some(1.0)));
    let mut place = 0;
    steady.summary.timeline.retain(|_| {
        place += 1;
        place % 2 == 1
    });
    let summaries = [stalls.summary.clone(), steady.summary.clone()];
    let verdict = judge(&held, &summaries, &[]);
    document(vec![stalls, steady], Vec::new(), verdict, None)
}

//! Result documents, made of made-up requests by the rooms that measure and judge real ones.

use reenact::measure::{
    CompareOptions, Comparison, GeneratorEvidence, Limit, MeasureOptions, MeasuredRun, Observed,
    RunSample, Side, Step, StepVerdict, TargetIdentity, TargetMeasure, TargetSummary, compare,
    knee, pool,
};
use reenact::replay::{FailureKind, RequestOutcome, SendResult};
use reenact::report::{
    PlanAccount, ResultDocument, ScheduleAccount, ScheduledRun, TargetCharts, Tool, TraceAccount,
};
use reenact::verdict::{MissCount, Objective, Verdict, judge, per_request_bounds};

/// A document with what its page draws beside.
pub(crate) type Document = (ResultDocument, Vec<TargetCharts>);

/// A number below `below` that only `index` decides.
fn spread(index: u64, below: u64) -> u64 {
    (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % below
}

/// A stream of eleven tokens that took so long, its first token after a quarter of it; ten a second.
pub(crate) fn request(index: u64, took_ms: u64) -> RequestOutcome {
    let (at, us) = (index * 100_000, took_ms * 1000 + spread(index, 20_000));
    let first = at + us / 4;
    let gap = us * 3 / 4 / 10;
    RequestOutcome {
        index,
        planned_us: at,
        intended_us: at,
        sent_us: Some(at + 40 + spread(index, 100)),
        headers_us: Some(first),
        first_token_us: Some(first),
        first_answer_us: Some(first),
        last_token_us: Some(first + 10 * gap),
        end_us: at + us,
        stream: true,
        result: SendResult::Ok,
        status: Some(200),
        recorded_prompt_tokens: Some(100),
        prompt_tokens: Some(100),
        recorded_output_tokens: Some(11),
        output_tokens: Some(11),
        planned_shared_tokens: 50,
        token_events: 11,
        gaps_us: vec![u32::try_from(gap).unwrap(); 10],
        ..RequestOutcome::default()
    }
}

pub(crate) fn objectives(exprs: &[&str]) -> Vec<Objective> {
    exprs.iter().map(|expr| expr.parse().unwrap()).collect()
}

/// One run of a target, and what it is compared by.
fn measured(
    name: &str,
    objectives: &[Objective],
    evidence: GeneratorEvidence,
    requests: impl Iterator<Item = RequestOutcome>,
) -> (MeasuredRun, RunSample) {
    observed(name, objectives, evidence, requests, Observed::default())
}

/// The same, with what was sampled beside its requests.
pub(crate) fn observed(
    name: &str,
    objectives: &[Objective],
    evidence: GeneratorEvidence,
    requests: impl Iterator<Item = RequestOutcome>,
    observed: Observed<'_>,
) -> (MeasuredRun, RunSample) {
    let mut measure = TargetMeasure::new(MeasureOptions {
        bounds: per_request_bounds(objectives),
        prelude_us: 2_000_000,
        ..MeasureOptions::default()
    });
    let mut misses = MissCount::new(objectives);
    for outcome in requests {
        if measure.record(&outcome) {
            misses.record(&outcome);
        }
    }
    let sample = measure.take_sample();
    let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
    let identity = TargetIdentity {
        name: name.to_owned(),
        url: "http://127.0.0.1:8000/".to_owned(),
        model: Some("tiny".to_owned()),
        ..TargetIdentity::default()
    };
    let mut summary = measure.finish(identity, evidence, observed);
    summary.misses = misses.finish();
    let run = MeasuredRun {
        summary,
        latencies,
        lateness,
    };
    (run, sample)
}

pub(crate) fn evidence() -> GeneratorEvidence {
    GeneratorEvidence {
        prefix_share_recorded: Some(0.5),
        cpu_share: Some(0.12),
        alterations: vec!["media left out (3 requests)".to_owned()],
        remarks: vec!["the trace lacks 2 % of its exchanges (disk full)".to_owned()],
        ..GeneratorEvidence::default()
    }
}

pub(crate) fn document(
    targets: Vec<MeasuredRun>,
    comparison: Vec<Comparison>,
    verdict: Verdict,
    schedule: Option<ScheduleAccount>,
) -> Document {
    let charts = targets.iter().map(TargetCharts::of).collect();
    let document = ResultDocument {
        schema: ResultDocument::SCHEMA,
        tool: Tool { version: "0.0.0" },
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        elapsed_s: 181.0,
        simulated: true,
        mirror: None,
        command: Some("reenact replay trace.rt --repeat 3".to_owned()),
        trace: TraceAccount {
            files: vec!["trace.rt".to_owned()],
            exchanges: 400,
            span_s: 40.0,
        },
        plan: PlanAccount {
            speed: 1.0,
            rate_scale: 1.0,
            sessions: "independent".to_owned(),
            planned: 400,
            span_s: 40.0,
            ..PlanAccount::default()
        },
        schedule,
        targets: targets.into_iter().map(|run| run.summary).collect(),
        comparison,
        verdict,
    };
    (document, charts)
}

/// Two targets, run three times each: a steady one, and one that queues ever more, which has a name that must not become markup.
pub(crate) fn runs() -> Document {
    let held = objectives(&["ttft.p99<60ms", "e2e.p50<+10%", "errors.rate<=0%"]);
    let steady = |run: u64| (0..400).map(move |i| request(i, 100 + run * 3));
    let queueing = |run: u64| {
        (0..400).map(move |i| {
            let mut one = request(i, 120 + run + i * i / 20);
            if i % 100 == 99 {
                one.result = SendResult::Failed(FailureKind::Overloaded);
            }
            one
        })
    };
    let (a, b) = ("a", "b<i>");
    let (runs_a, samples_a): (Vec<_>, Vec<_>) = (0..3)
        .map(|run| measured(a, &held, evidence(), steady(run)))
        .unzip();
    let (runs_b, samples_b): (Vec<_>, Vec<_>) = (0..3)
        .map(|run| measured(b, &held, evidence(), queueing(run)))
        .unzip();
    let side = |name, runs| Side { name, runs };
    let options = CompareOptions::default();
    let comparison = vec![compare(side(a, &samples_a), side(b, &samples_b), &options)];
    let targets = vec![pool(runs_a).unwrap(), pool(runs_b).unwrap()];
    let summaries: Vec<TargetSummary> = targets.iter().map(|run| run.summary.clone()).collect();
    let verdict = judge(&held, &summaries, &comparison);
    let rounds = [(a, 1), (b, 1), (b, 2), (a, 2), (a, 3), (b, 3)].map(|(target, run)| {
        let target = target.to_owned();
        vec![ScheduledRun { target, run }]
    });
    let schedule = ScheduleAccount {
        order: "abba".to_owned(),
        rounds: rounds.to_vec(),
    };
    document(targets, comparison, verdict, Some(schedule))
}

/// A step that offered so many requests a second, which took so long and of which so many failed; and what it says.
fn step(
    held: &[Objective],
    offered_per_s: f64,
    (took_ms, failed): (u64, u64),
    (verdict, reason): (StepVerdict, &str),
) -> (Step, MeasuredRun) {
    let requests = (20..400).map(|i| {
        let mut one = request(i, took_ms);
        if i < 20 + failed {
            one.result = SendResult::Failed(FailureKind::Overloaded);
        }
        one
    });
    let (run, _) = measured("tiny server", held, evidence(), requests);
    let summary = run.summary.clone();
    let step = Step {
        speed: offered_per_s / 10.0,
        rate_scale: 1.0,
        offered_per_s,
        verdict,
        reason: reason.to_owned(),
        remarks: summary.fidelity.remarks,
        looped: false,
        confirmation: false,
        elapsed_s: 40.0,
        warm_up: 66,
        requests: summary.requests,
        latency: summary.latency,
        throughput: summary.throughput,
        goodput: summary.goodput,
        misses: summary.misses,
    };
    (step, run)
}

/// A sweep without objectives, whose answers take much longer from 40 requests a second on.
pub(crate) fn sweep() -> Document {
    let loads = [
        (10.0, 40),
        (20.0, 45),
        (40.0, 60),
        (60.0, 400),
        (80.0, 4000),
    ];
    let (steps, mut runs): (Vec<Step>, Vec<MeasuredRun>) = loads
        .into_iter()
        .map(|(offered, took_ms)| {
            let told = (StepVerdict::Measured, "no objectives were set");
            let (mut step, run) = step(&[], offered, (took_ms, 0), told);
            step.throughput.requests_per_s = offered;
            (step, run)
        })
        .unzip();
    let mut run = runs.swap_remove(0);
    run.summary.knee = knee(&steps);
    run.summary.steps = steps;
    let verdict = judge(&[], std::slice::from_ref(&run.summary), &[]);
    document(vec![run], Vec::new(), verdict, None)
}

/// A search that met every kind of step.
pub(crate) fn limit() -> Document {
    let held = objectives(&["ttft.p99<100ms", "goodput.rate>=95%"]);
    let step = |speed, took_ms, failed, verdict, reason| {
        step(&held, 10.0 * speed, (took_ms, failed), (verdict, reason))
    };
    let met = "every objective was met";
    let close = "6 of 380 requests missed ttft.p99<100ms: too near to the 1 % that may to tell";
    let (steps, mut runs): (Vec<Step>, Vec<MeasuredRun>) = [
        step(1.0, 40, 0, StepVerdict::Pass, met),
        step(2.0, 60, 0, StepVerdict::Pass, met),
        step(4.0, 90, 1, StepVerdict::Pass, met),
        step(
            8.0,
            4000,
            40,
            StepVerdict::Saturated,
            "saturated: 300 more requests were in flight at the end than at the start",
        ),
        step(
            5.66,
            300,
            4,
            StepVerdict::Fail,
            "380 of 380 requests missed ttft.p99<100ms, which lets 1 % miss",
        ),
        step(4.76, 350, 2, StepVerdict::Undecided, close),
        step(
            4.36,
            200,
            2,
            StepVerdict::Invalid,
            "sends were 9.0 ms late at P99; 2.0 ms is allowed (the generator was the bottleneck)",
        ),
        step(4.0, 92, 1, StepVerdict::Pass, met),
    ]
    .into_iter()
    .unzip();
    let mut run = runs.swap_remove(2);
    run.summary.steps = steps;
    run.summary.limit = Some(Limit {
        by: "speed",
        value: Some(4.0),
        requests_per_s: Some(40.0),
        above: Some(4.36),
        precision: 0.05,
        confirmed: true,
        reason:
            "4× speed (40.0 requests/s) met every objective, twice; 4.36× speed was not shown to"
                .to_owned(),
    });
    let verdict = judge(&held, std::slice::from_ref(&run.summary), &[]);
    document(vec![run], Vec::new(), verdict, None)
}

/// A run whose generator was late.
pub(crate) fn invalid() -> Document {
    let held = objectives(&["ttft.p99<60ms"]);
    let late = (0..400).map(|i| {
        let mut one = request(i, 100);
        one.sent_us = Some(one.intended_us + 9000);
        one
    });
    let (run, _) = measured("a", &held, evidence(), late);
    let verdict = judge(&held, std::slice::from_ref(&run.summary), &[]);
    document(vec![run], Vec::new(), verdict, None)
}

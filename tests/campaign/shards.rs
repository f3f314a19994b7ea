use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use reenact::measure::{
    FidelityBar, GeneratorEvidence, MeasureOptions, Observed, TargetIdentity, TargetMeasure,
};
use reenact::replay::{FailureKind, RequestOutcome, SendResult};
use reenact::report::{
    Charts, PlanAccount, ResultDirectory, ResultDocument, RunGaps, RunHistograms, RunSamples, Tool,
    TraceAccount,
};
use reenact::telemetry::{
    EngineKind, EngineSample, EngineTimeline, GpuProcessMemory, GpuSample, GpuSeries, Signal,
    Timelines, Xid,
};
use reenact::verdict::{Objective, judge, per_request_bounds};
use serde_json::{Value, json};

use crate::support::reenact;

const COUNT: u64 = 600;
/// What every shard remarks.
const REMARK: &str = "the trace lacks 2 % of its exchanges (disk full)";
const NO_GAPS: &str = "merged from shards: gaps between tokens (itl) are not compared, since a shard lacks gaps.json.zst and the requests tell of their longest alone";

const OBJECTIVES: [&str; 2] = ["ttft.p99<400ms", "errors.rate<5%"];

/// What became of a request: some are slow, some fail, some are cancelled, some are no streams.
fn outcome(index: u64) -> RequestOutcome {
    let intended_us = index * 20_000;
    let dice = (index * 2_654_435_761) % 1000;
    let first = 20_000 + dice * 211;
    let gaps_us: Vec<u32> = (0..dice % 40)
        .map(|i| (8000 + (i * 977 + dice * 31) % 9000) as u32)
        .collect();
    let last = first + gaps_us.iter().map(|gap| u64::from(*gap)).sum::<u64>();
    let stream = !dice.is_multiple_of(7);
    RequestOutcome {
        index,
        session: (!dice.is_multiple_of(5)).then_some(index / 6),
        planned_us: intended_us,
        intended_us,
        sent_us: Some(intended_us + dice % 300),
        headers_us: Some(intended_us + first / 2),
        first_token_us: Some(intended_us + first),
        first_answer_us: Some(intended_us + first),
        last_token_us: Some(intended_us + last),
        end_us: intended_us + last + 500,
        stream,
        result: match dice {
            0..20 => SendResult::Failed(FailureKind::Overloaded),
            20..40 => SendResult::Cancelled,
            _ => SendResult::Ok,
        },
        status: Some(200),
        recorded_prompt_tokens: Some(300),
        prompt_tokens: Some(300),
        recorded_output_tokens: Some(gaps_us.len() as u32 + 1),
        output_tokens: Some(gaps_us.len() as u32 + 1),
        planned_shared_tokens: (dice % 200) as u32,
        token_events: gaps_us.len() as u32 + 1,
        gaps_us: if stream { gaps_us } else { Vec::new() },
        ..RequestOutcome::default()
    }
}

/// Writes what a run of these requests leaves behind, with a twin target that is a little slower.
fn result(dir: &Path, outcomes: &[RequestOutcome], shard: Option<(u64, u64)>) {
    result_of_runs(dir, outcomes, shard, 1, &nothing);
}

/// What was sampled beside a run of a target.
type Seen = dyn Fn(&str, u64) -> Timelines;

fn nothing(_: &str, _: u64) -> Timelines {
    Timelines::default()
}

/// The same of so many runs; what they come to together is that of the last.
fn result_of_runs(
    dir: &Path,
    outcomes: &[RequestOutcome],
    shard: Option<(u64, u64)>,
    runs: u64,
    seen: &Seen,
) {
    let out = ResultDirectory::create(dir).unwrap();
    let objectives: Vec<Objective> = OBJECTIVES
        .iter()
        .map(|expr| expr.parse().unwrap())
        .collect();
    let mut log = out.request_log().unwrap();
    let (mut targets, mut histograms) = (Vec::new(), Vec::new());
    let (mut samples, mut gaps) = (Vec::new(), Vec::new());
    for (name, slower_us, run) in [("a", 0), ("b", 70_000)]
        .into_iter()
        .flat_map(|(name, slower_us)| (0..runs).map(move |run| (name, slower_us, run)))
    {
        let mut measure = TargetMeasure::new(MeasureOptions {
            bounds: per_request_bounds(&objectives),
            // Not the everyday ones: a merge must go by what the shards were measured by.
            bar: FidelityBar {
                lateness: Duration::from_millis(7),
                lateness_of_ttft: 0.0,
                ..FidelityBar::default()
            },
            prelude_us: 2_000_000,
        });
        for outcome in outcomes {
            let mut outcome = outcome.clone();
            outcome.first_token_us = outcome.first_token_us.map(|us| us + slower_us);
            outcome.last_token_us = outcome.last_token_us.map(|us| us + slower_us);
            outcome.end_us += slower_us;
            measure.record(&outcome);
            log.add(name, run, &outcome);
        }
        histograms.push(RunHistograms {
            target: name.to_owned(),
            run,
            latencies: measure.latencies().clone(),
        });
        gaps.extend(RunGaps::of(name, run, &measure.take_sample()));
        let identity = TargetIdentity {
            name: name.to_owned(),
            url: format!("http://{name}/"),
            model: None,
            protocol: None,
        };
        let evidence = GeneratorEvidence {
            alterations: vec![format!("media left out ({} requests)", outcomes.len())],
            remarks: vec![REMARK.to_owned()],
            ..GeneratorEvidence::default()
        };
        let sampled = seen(name, run);
        let summary = measure.finish(identity, evidence, Observed::of(&sampled));
        samples.push(RunSamples {
            target: name.to_owned(),
            run,
            sampled,
        });
        if run + 1 == runs {
            targets.push(summary);
        }
    }
    log.finish().unwrap();
    let verdict = judge(&objectives, &targets, &[]);
    let document = ResultDocument {
        schema: ResultDocument::SCHEMA,
        tool: Tool::THIS,
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        elapsed_s: 12.0,
        simulated: false,
        command: None,
        trace: TraceAccount {
            files: vec!["trace.rt".to_owned()],
            exchanges: COUNT,
            span_s: 12.0,
        },
        plan: PlanAccount {
            speed: 1.0,
            rate_scale: 1.0,
            planned: outcomes.len() as u64,
            span_s: 12.0,
            ..PlanAccount::default()
        },
        mirror: None,
        schedule: None,
        targets,
        comparison: Vec::new(),
        verdict,
    };
    out.write(&document, &Charts::default(), &histograms, Some(&gaps))
        .unwrap();
    if let Some((index, count)) = shard {
        out.write_samples(&samples).unwrap();
        change(dir, |document| {
            document["plan"]["shard"] = json!({"index": index, "count": count});
            document["plan"]["start_at"] = json!("2026-01-01T00:00:00Z");
        });
    }
}

fn change(dir: &Path, change: impl FnOnce(&mut Value)) {
    let mut document = read(dir);
    change(&mut document);
    std::fs::write(dir.join("result.json"), document.to_string()).unwrap();
}

fn read(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("result.json")).unwrap()).unwrap()
}

/// Sums of floats depend on their order, and shards come in another.
fn to_nine_digits(mut value: Value) -> Value {
    match &mut value {
        Value::Number(number) if number.is_f64() => {
            let rounded = format!("{:.8e}", number.as_f64().unwrap());
            return json!(rounded.parse::<f64>().unwrap());
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|it| *it = to_nine_digits(it.take())),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|it| *it = to_nine_digits(it.take())),
        _ => {}
    }
    value
}

fn unpacked(file: PathBuf) -> Vec<u8> {
    zstd::decode_all(&std::fs::read(file).unwrap()[..]).unwrap()
}

fn merge(results: &[PathBuf], out: &Path) -> Output {
    reenact(["merge"])
        .args(results)
        .arg("-o")
        .arg(out)
        .output()
        .unwrap()
}

/// Three shards of the requests, by conversation; the directory of each.
fn shards(dir: &Path) -> Vec<PathBuf> {
    let outcomes: Vec<RequestOutcome> = (0..COUNT).map(outcome).collect();
    shards_of(dir, &outcomes, 1, &|_| Box::new(nothing))
}

/// The same of these requests in so many runs, with what each shard sampled beside them.
fn shards_of(
    dir: &Path,
    outcomes: &[RequestOutcome],
    runs: u64,
    seen: &dyn Fn(u64) -> Box<Seen>,
) -> Vec<PathBuf> {
    (0..3)
        .map(|shard| {
            let part: Vec<RequestOutcome> = outcomes
                .iter()
                .filter(|outcome| outcome.session.unwrap_or(outcome.index) % 3 == shard)
                .cloned()
                .collect();
            let path = dir.join(format!("shard-{shard}"));
            result_of_runs(&path, &part, Some((shard, 3)), runs, &seen(shard));
            path
        })
        .collect()
}

#[test]
fn merged_shards_are_the_single_run() {
    let dir = tempfile::tempdir().unwrap();
    let single = dir.path().join("single");
    result(&single, &(0..COUNT).map(outcome).collect::<Vec<_>>(), None);
    let mut results = shards(dir.path());
    results.reverse();
    let merged = dir.path().join("merged");
    let output = merge(&results, &merged);
    assert!(
        output.status.code().is_some_and(|code| code != 1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Byte for byte, gaps between tokens included.
    for file in ["histograms.json.zst", "gaps.json.zst"] {
        assert_eq!(unpacked(merged.join(file)), unpacked(single.join(file)));
    }
    let (single, merged) = (read(&single), read(&merged));
    are_the_same(&merged, &single);
    assert_eq!(merged["plan"]["planned"], COUNT);
    assert!(merged["plan"].get("shard").is_none());
    assert_eq!(
        merged["verdict"]["objectives"],
        single["verdict"]["objectives"]
    );
    assert_eq!(merged["comparison"][0]["target"], "b");
    let compared = merged["comparison"][0]["metrics"].as_object().unwrap();
    for metric in ["stall.p99", "itl.p99"] {
        assert!(compared.contains_key(metric), "{compared:?}");
    }
}

#[test]
fn gaps_that_a_shard_does_not_tell_of_are_not_compared_and_a_remark_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let results = shards(dir.path());
    std::fs::remove_file(results[1].join("gaps.json.zst")).unwrap();
    let merged = dir.path().join("merged");
    let output = merge(&results, &merged);
    assert!(output.status.code().is_some_and(|code| code != 1));
    let document = read(&merged);
    let compared = document["comparison"][0]["metrics"].as_object().unwrap();
    assert!(compared.contains_key("stall.p99"), "{compared:?}");
    assert!(!compared.contains_key("itl.p99"), "{compared:?}");
    for target in 0..2 {
        let remarks = &document["targets"][target]["fidelity"]["remarks"];
        assert_eq!(*remarks, json!([REMARK, NO_GAPS]));
    }
    assert!(!merged.join("gaps.json.zst").exists());
}

#[test]
fn gaps_of_another_run_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let results = shards(dir.path());
    let gaps = |shard: usize| results[shard].join("gaps.json.zst");
    std::fs::copy(gaps(0), gaps(1)).unwrap();
    let output = merge(&results, &dir.path().join("merged"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("shard-1: gaps.json.zst is of another run") && said.contains("move it away"),
        "{said}"
    );
    std::fs::write(gaps(1), b"no zstd").unwrap();
    let output = merge(&results, &dir.path().join("merged"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("shard-1/gaps.json.zst") && said.contains("move it away"),
        "{said}"
    );
}

/// All figures of both targets.
fn are_the_same(merged: &Value, single: &Value) {
    for target in 0..2 {
        let figures = |result: &Value| {
            let mut figures = to_nine_digits(result["targets"][target].clone());
            // Objectives are counted by the campaign, which the single run here has none of.
            figures.as_object_mut().unwrap().remove("misses");
            figures
        };
        let (merged, single) = (figures(merged), figures(single));
        for (key, value) in single.as_object().unwrap() {
            assert_eq!(merged[key], *value, "{key} of {target}");
        }
        assert_eq!(merged, single, "{target}");
    }
}

/// What there was to sample of one target during a run: a page that tells of the cache five times a second, and a GPU ten times.
fn sampled(name: &str, _: u64) -> Timelines {
    let mut seen = Timelines::default();
    if name != "a" {
        return seen;
    }
    let mut gpu = GpuSeries::default();
    (gpu.source, gpu.total_bytes) = ("nvml".into(), 80 << 30);
    for i in 0..120_u64 {
        let used_bytes = (30 << 30) + ((i * 37) % 11) * (1 << 30);
        gpu.samples.push(GpuSample {
            at_us: i * 100_000,
            used_bytes,
        });
    }
    gpu.taken = 120;
    let process = GpuProcessMemory {
        most_bytes: 5 << 30,
        name: Some("server".to_owned()),
        of_target: Some(true),
    };
    gpu.processes.insert(4242, process);
    seen.gpus.gpus.push(gpu);
    seen.engine = page(60);
    seen
}

fn page(pages: u32) -> EngineTimeline {
    let sample = |i: u32| EngineSample {
        at_us: u64::from(i) * 12_000_000 / u64::from(pages),
        values: [
            (Signal::KvUsage, 0.3 + f64::from((i * 29) % 13) / 26.0),
            (Signal::Waiting, f64::from(i % 7)),
            (Signal::Preemptions, f64::from(i / 9)),
            (Signal::Ooms, f64::from(i / 25)),
        ]
        .into(),
    };
    let mut engine = EngineTimeline::default();
    (engine.kind, engine.taken) = (Some(EngineKind::Vllm), pages.into());
    engine.url = "http://a/metrics".to_owned();
    engine.samples = (0..pages).map(sample).collect();
    engine
}

#[test]
fn memory_lies_beside_the_tokens_of_all_shards() {
    let dir = tempfile::tempdir().unwrap();
    let mut outcomes: Vec<RequestOutcome> = (0..COUNT).map(outcome).collect();
    for outcome in outcomes.iter_mut().skip(150).step_by(150) {
        outcome.out_of_memory = true;
    }
    let single = dir.path().join("single");
    result_of_runs(&single, &outcomes, None, 1, &sampled);
    // One machine has the GPU, and the pages are read everywhere, but not everywhere as often.
    let results = shards_of(dir.path(), &outcomes, 1, &|shard| {
        Box::new(move |name, run| {
            let mut seen = sampled(name, run);
            if shard != 1 {
                seen.gpus.gpus.clear();
            }
            if shard != 2 && name == "a" {
                seen.engine = page(20);
            }
            seen
        })
    });
    let merged = dir.path().join("merged");
    let output = merge(&results, &merged);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 1), "{said}");
    let (single, merged) = (read(&single), read(&merged));
    are_the_same(&merged, &single);
    let target = &merged["targets"][0];
    let memory = &target["memory"];
    assert!(
        memory["kv_cache"].is_object() && memory["vram"].is_object(),
        "{memory:#}"
    );
    assert_eq!(target["oom"]["events"].as_array().unwrap().len(), 3);
    assert_eq!(target["engine"]["samples"], 60);
    assert!(target["timeline"][0]["vram_used_bytes"].is_u64());
}

#[test]
fn figures_of_memory_without_their_samples_are_not_merged() {
    let dir = tempfile::tempdir().unwrap();
    let outcomes: Vec<RequestOutcome> = (0..COUNT).map(outcome).collect();
    let results = shards_of(dir.path(), &outcomes, 1, &|_| Box::new(sampled));
    std::fs::remove_file(results[1].join("samples.json.zst")).unwrap();
    let output = merge(&results, &dir.path().join("merged"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("samples.json.zst") && said.contains("hint: "),
        "{said}"
    );
}

#[test]
fn what_one_shard_had_judged_is_the_merged_results() {
    let dir = tempfile::tempdir().unwrap();
    let results = shards(dir.path());
    let phase = |passed| {
        json!({
            "n": 4, "passed": passed, "failed": 4 - passed, "errors": 0, "pass_rate": 0.25 * f64::from(passed),
            "pass_rate_ci95": [0.1, 0.9], "took_s": 1.0,
        })
    };
    let quality = json!({
        "evaluator": "canary", "idle": phase(4), "loaded": phase(3), "change": -0.25, "flips": [1, 0],
    });
    change(&results[0], |document| {
        document["targets"][0]["quality"] = quality.clone();
        let objectives = document["verdict"]["objectives"].as_array_mut().unwrap();
        objectives.push(
            json!({"expr": "quality.pass_rate>=50%", "target": "a", "status": "pass", "reason": ""}),
        );
    });
    for result in &results[1..] {
        change(result, |document| {
            let objectives = document["verdict"]["objectives"].as_array_mut().unwrap();
            objectives.push(json!({"expr": "quality.pass_rate>=50%", "target": "a", "status": "not_measured", "reason": ""}));
        });
    }
    let merged = dir.path().join("merged");
    merge(&results, &merged);
    let document = read(&merged);
    let told = &document["targets"][0]["quality"];
    for (key, value) in quality.as_object().unwrap() {
        assert_eq!(told[key], *value, "{key}");
    }
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    let judged = objectives
        .iter()
        .find(|it| it["expr"] == "quality.pass_rate>=50%" && it["target"] == "a");
    assert_eq!(judged.unwrap()["status"], "pass");
}

#[test]
fn reasons_and_remarks_of_shards_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let results = shards(dir.path());
    change(&results[0], |document| {
        // As an earlier version wrote it: what is no reason was among the reasons.
        let fidelity = document["targets"][0]["fidelity"].as_object_mut().unwrap();
        let remarks = fidelity.remove("remarks").unwrap();
        fidelity.insert("reasons".to_owned(), remarks);
    });
    change(&results[1], |document| {
        let fidelity = &mut document["targets"][0]["fidelity"];
        fidelity["valid"] = json!(false);
        fidelity["reasons"] = json!(["the run was stopped"]);
        fidelity["remarks"] = json!([REMARK, "a port was wanting"]);
    });
    let merged = dir.path().join("merged");
    let output = merge(&results, &merged);
    assert_eq!(output.status.code(), Some(4));
    let document = read(&merged);
    let fidelity = &document["targets"][0]["fidelity"];
    assert_eq!(
        fidelity["reasons"],
        json!(["shard 1/3: the run was stopped"])
    );
    assert_eq!(
        fidelity["remarks"],
        json!([REMARK, "shard 1/3: a port was wanting"])
    );
    assert_eq!(
        document["verdict"]["reasons"],
        json!(["a: shard 1/3: the run was stopped"])
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("· a: shard 1/3: a port was wanting"),
        "{said}"
    );
}

#[test]
fn what_is_missing_twice_or_foreign_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let results = shards(dir.path());
    let out = dir.path().join("merged");
    let refused = |results: &[PathBuf]| {
        let output = merge(results, &out);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("hint: "), "{said}");
        said
    };
    let said = refused(&results[..1]);
    assert!(said.contains("of 3 shards, 1/3, 2/3 are missing"), "{said}");
    let twice = [&results[..], &results[1..2]].concat();
    assert!(refused(&twice).contains("are both shard 1/3"));
    assert!(refused(&[dir.path().join("nowhere")]).contains("nowhere"));
    let over = merge(&results, &results[0]);
    let said = String::from_utf8_lossy(&over.stderr);
    assert_eq!(over.status.code(), Some(2), "{said}");
    assert!(said.contains("would be written over"), "{said}");
    change(&results[2], |document| {
        document["plan"]["speed"] = json!(2.0);
    });
    let said = refused(&results);
    assert!(said.contains("plan.speed differs (1.0 and 2.0)"), "{said}");
    change(&results[2], |document| {
        document["plan"]["speed"] = json!(1.0);
        document["plan"]["readers"] = json!("fast");
    });
    change(&results[0], |document| {
        document["plan"]["readers"] = json!("recorded");
    });
    let said = refused(&results);
    assert!(said.contains("plan.readers differs"), "{said}");
    change(&results[0], |document| {
        document["plan"].as_object_mut().unwrap().remove("readers");
    });
    change(&results[2], |document| {
        document["targets"][0]["url"] = json!("http://c/");
    });
    assert!(refused(&results).contains("the URLs of the targets"));
    change(&results[2], |document| {
        document["targets"][0]["url"] = json!("http://a/");
        document["plan"].as_object_mut().unwrap().remove("shard");
    });
    assert!(refused(&results).contains("is no shard"));
}

#[test]
fn shards_that_were_not_started_together_are_no_load_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let results = shards(dir.path());
    for result in &results {
        change(result, |document| {
            document["plan"].as_object_mut().unwrap().remove("start_at");
        });
    }
    let output = merge(&results, &dir.path().join("merged"));
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("--start-at"), "{said}");
}

#[test]
fn what_an_engine_counted_is_counted_once_and_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let outcomes: Vec<RequestOutcome> = (0..COUNT).map(outcome).collect();
    // Every shard reads the same page.
    let results = shards_of(dir.path(), &outcomes, 2, &|_| {
        Box::new(|name, run| {
            let mut seen = Timelines::default();
            if name != "a" {
                return seen;
            }
            let mut gpu = GpuSeries::default();
            (gpu.source, gpu.total_bytes) = ("dcgm".into(), 100);
            gpu.samples = [1, 50, 2]
                .map(|used_bytes| GpuSample {
                    at_us: used_bytes * 100_000,
                    used_bytes,
                })
                .to_vec();
            gpu.taken = 10;
            gpu.xids = vec![Xid { at_us: 1, code: 31 }];
            gpu.xids.truncate(1 - run as usize);
            seen.gpus.gpus.push(gpu);
            seen.engine = page(10);
            seen.engine.missed = 1;
            seen.engine.restarts_us = vec![5; run as usize];
            let last = seen.engine.samples.last_mut().unwrap();
            last.values.insert(Signal::Preemptions, 3.0 + run as f64);
            last.values.insert(Signal::Ooms, 1.0 + run as f64);
            seen
        })
    });
    for path in &results {
        change(path, |document| {
            let objectives = document["verdict"]["objectives"].as_array_mut().unwrap();
            objectives.push(
                json!({"expr": "oom.count<=0", "target": "a", "status": "fail", "reason": ""}),
            );
        });
    }
    let merged = dir.path().join("merged");
    let output = merge(&results, &merged);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 1), "{said}");
    let document = read(&merged);
    let target = &document["targets"][0];
    assert_eq!(target["runs"].as_array().unwrap().len(), 2);
    let engine = &target["engine"];
    let counts = ["preemptions", "restarts", "samples", "missed"].map(|key| engine[key].as_f64());
    assert_eq!(counts, [Some(7.0), Some(1.0), Some(20.0), Some(2.0)]);
    let gpu = &target["gpu"][0];
    assert_eq!(
        (
            gpu["samples"].as_u64(),
            gpu["xids"].as_array().unwrap().len()
        ),
        (Some(20), 1)
    );
    assert_eq!(target["oom"]["count"], 3, "{target:#}");
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    let oom = objectives
        .iter()
        .find(|it| it["expr"] == "oom.count<=0" && it["target"] == "a");
    assert_eq!(oom.unwrap()["status"], "fail");
}

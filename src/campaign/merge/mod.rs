//! The shards of one replay as one result, losslessly: histograms are added up, and everything else is measured again from the requests
//! of all shards.

mod error;
mod evidence;
mod samples;
mod shard;
mod whole;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use error::MergeError;

use super::once::{Measured, OF_A_TRACE, production};
use super::stage::join;
use crate::measure::{
    CompareOptions, MeasureOptions, MeasuredRun, Observed, RECORDED, Scaling, TargetIdentity,
    TargetMeasure, twin,
};
use crate::replay::TurnAccount;
use crate::report::{
    PlanAccount, ResultDirectory, ResultDocument, Tool, TraceAccount, read_requests,
};
use crate::telemetry::Timelines;
use crate::verdict::{MissCount, Objective, judge_against, per_request_bounds};
use evidence::evidence;
use serde_json::Value;
use shard::{OF_THE_SHARD, Shard};
use whole::Whole;

/// Which results become one.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The directories that the shards' results lie in, in any order.
    pub results: Vec<PathBuf>,
    /// Where the merged result goes.
    pub out: PathBuf,
    /// The command line, for the report.
    pub command: Option<String>,
}

/// A target's runs.
type Runs = BTreeMap<u64, (TargetMeasure, MissCount)>;

impl Merge {
    /// Merges them, writes the result, and gives it back.
    ///
    /// # Errors
    /// When a shard cannot be read, one is missing or there twice, or they are not of one replay; when the result cannot be written.
    pub fn run(&self) -> Result<ResultDocument, MergeError> {
        let out = ResultDirectory::create(&self.out)?;
        self.run_into(&out).inspect_err(|_| out.forsake())
    }

    fn run_into(&self, out: &ResultDirectory) -> Result<ResultDocument, MergeError> {
        let shards = self.shards()?;
        let Some(first) = shards.first() else {
            return Err(MergeError::Missing {
                missing: "all".to_owned(),
                count: 0,
            });
        };
        let objectives: Vec<Objective> = first
            .objectives()
            .into_iter()
            .filter_map(|expr| expr.parse().ok())
            .collect();
        let options = || MeasureOptions {
            bounds: per_request_bounds(&objectives),
            ..first.measured()
        };
        let mut measures: Vec<Runs> = first.sent_to().map(|_| Runs::new()).collect();
        let mut recorded = first
            .has_recorded()
            .then(|| TargetMeasure::of_log(options()));
        let mut without_twin = 0;
        let position = |name: &str| first.sent_to().position(|target| target.name == name);
        let mut log = out.request_log()?;
        let mut prompt_tokens = Vec::new();
        for shard in &shards {
            let mut of_targets = vec![0; measures.len()];
            for request in read_requests(&shard.path.join("requests.jsonl.zst"))? {
                let request = request?;
                let position = position(&request.target);
                let Some(runs) = position.and_then(|i| measures.get_mut(i)) else {
                    return Err(MergeError::Mixed {
                        path: shard.path.clone(),
                    });
                };
                if let Some(sum) = position.and_then(|i| of_targets.get_mut(i)) {
                    *sum += u64::from(request.outcome.recorded_prompt_tokens.unwrap_or(0));
                }
                if let Some(recorded) = &mut recorded
                    && (position, request.run) == (Some(0), 0)
                {
                    match twin(&request.outcome) {
                        Some(felt) => {
                            recorded.record(&felt);
                        }
                        None => without_twin += 1,
                    }
                }
                let (measure, misses) = runs.entry(request.run).or_insert_with(|| {
                    (
                        TargetMeasure::of_log(options()),
                        MissCount::new(&objectives),
                    )
                });
                log.copy(&request);
                let mut outcome = request.outcome;
                outcome.gaps_us.extend(request.longest_gap_us);
                if measure.record(&outcome) {
                    misses.record(&outcome);
                }
            }
            prompt_tokens.push(of_targets);
        }
        log.finish()?;
        let whole = Whole::of(&shards)?;
        let mut targets = Vec::new();
        for (position, runs) in measures.into_iter().enumerate() {
            let mut measured = Vec::new();
            let tokens = prompt_tokens.iter().map(|of| of.get(position));
            let tokens: Vec<u64> = tokens.map(|tokens| tokens.copied().unwrap_or(0)).collect();
            for (run, (measure, misses)) in runs {
                let mut one = finish(&shards, position, run, measure, &whole, &tokens)?;
                one.run.summary.misses = misses.finish();
                measured.push(one);
            }
            targets.push(measured);
        }
        if let Some(first) = targets
            .first_mut()
            .and_then(|runs: &mut Vec<Measured>| runs.first_mut())
        {
            // Their gaps are in no row of the requests, either.
            if let Some(recorded) = &mut recorded {
                whole.complete(&(RECORDED.to_owned(), 0), recorded)?;
            }
            first.recorded =
                recorded.and_then(|recorded| production(recorded, without_twin, OF_A_TRACE));
        }
        let seed = first.plan.get("seed").and_then(Value::as_u64);
        let compared = CompareOptions {
            seed: seed.unwrap_or(0),
            margin: first.margin().unwrap_or(CompareOptions::default().margin),
            ..CompareOptions::default()
        };
        let plan = plan(&shards)?;
        let scaling = Scaling {
            speed: plan.speed,
            rate_scale: plan.rate_scale,
            loop_for_s: plan.loop_for_s,
            shape: plan.shape.as_deref().and_then(|it| it.parse().ok()),
        };
        let played = join(targets.into_iter(), &compared, None, scaling);
        let charts = played.charts();
        let targets: Vec<_> = played.targets.into_iter().map(|run| run.summary).collect();
        let verdict = judge_against(first.baseline(), &objectives, &targets, &played.comparison);
        let document = ResultDocument {
            schema: ResultDocument::SCHEMA,
            tool: Tool::THIS,
            started_at: shards
                .iter()
                .map(|shard| shard.started_at.clone())
                .min()
                .unwrap_or_default(),
            elapsed_s: shards
                .iter()
                .map(|shard| shard.elapsed_s)
                .fold(0.0, f64::max),
            simulated: targets.iter().any(|target| target.simulated),
            command: self.command.clone(),
            trace: trace(first)?,
            plan,
            schedule: first.schedule.clone(),
            mirror: None,
            targets,
            comparison: played.comparison,
            verdict,
        };
        let gaps = whole.gaps.is_some().then_some(&played.gaps[..]);
        out.write(&document, &charts, &played.histograms, gaps)?;
        Ok(document)
    }

    /// Every shard, in order; that they are all there and of one replay.
    fn shards(&self) -> Result<Vec<Shard>, MergeError> {
        let mut shards: BTreeMap<u32, Shard> = BTreeMap::new();
        let mut of = 0;
        for path in &self.results {
            let shard = Shard::read(path)?;
            let (index, count) = shard.place()?;
            if let Some(other) = shards.values().next() {
                other.is_like(&shard)?;
            }
            of = count;
            if let Some(other) = shards.get(&index) {
                return Err(MergeError::Twice {
                    one: other.path.clone(),
                    other: shard.path,
                    shard: format!("{index}/{count}"),
                });
            }
            shards.insert(index, shard);
        }
        let missing: Vec<String> = (0..of)
            .filter(|index| !shards.contains_key(index))
            .map(|index| format!("{index}/{of}"))
            .collect();
        if !missing.is_empty() {
            return Err(MergeError::Missing {
                missing: missing.join(", "),
                count: of,
            });
        }
        Ok(shards.into_values().collect())
    }
}

/// The figures of one run of one target over all shards. `prompt_tokens` are those of each shard's requests, as recorded.
fn finish(
    shards: &[Shard],
    position: usize,
    run: u64,
    mut measure: TargetMeasure,
    whole: &Whole,
    prompt_tokens: &[u64],
) -> Result<Measured, MergeError> {
    let parts: Vec<(&Shard, &shard::ShardTarget)> = shards
        .iter()
        .filter_map(|shard| Some((shard, shard.targets.get(position)?)))
        .collect();
    let (_, first) = parts.first().ok_or_else(|| whole.mixed())?;
    let key = (first.name.clone(), run);
    let latencies = whole.latencies.get(&key).ok_or_else(|| whole.mixed())?;
    // Gaps between tokens are not in the requests; all else is, and must say the same.
    let (told, counted) = (&latencies.e2e, &measure.latencies().e2e);
    if (told.count(), told.total()) != (counted.count(), counted.total()) {
        return Err(whole.mixed());
    }
    whole.complete(&key, &mut measure)?;
    let sample = measure.take_sample();
    let (latencies, lateness) = (measure.latencies().clone(), measure.lateness().clone());
    let identity = TargetIdentity {
        name: first.name.clone(),
        url: first.url.clone(),
        model: first.model.clone(),
        protocol: first.protocol.clone(),
    };
    let evidence = evidence(&parts, run, prompt_tokens, whole.gaps.is_some());
    let nothing = Timelines::default();
    let observed = Observed::of(whole.sampled.get(&key).unwrap_or(&nothing));
    let mut summary = measure.finish(identity, evidence, observed);
    // A shard tells of all of its runs together, so the first run has it all, and the sum over runs is what was told.
    if run == 0 {
        let each = || parts.iter().map(|(_, target)| target);
        summary.turns = TurnAccount::sum(each().filter_map(|target| target.turns));
        // Only the first shard has answers judged, under the load of all.
        summary.quality = each().find_map(|target| target.quality.clone());
    }
    summary.simulated |= parts.iter().any(|(_, target)| target.simulated);
    Ok(Measured {
        run: MeasuredRun {
            summary,
            latencies,
            lateness,
        },
        sample,
        recorded: None,
        elapsed: std::time::Duration::ZERO,
        sampled: None,
    })
}

fn trace(shard: &Shard) -> Result<TraceAccount, MergeError> {
    serde_json::from_value(shard.trace.clone()).map_err(|error| unread(shard, &error))
}

/// The plan of the whole: what was dealt out is added up again, and what only the whole could tell is left out.
fn plan(shards: &[Shard]) -> Result<PlanAccount, MergeError> {
    let number = |shard: &Shard, key: &str| shard.plan.get(key).and_then(Value::as_u64);
    let Some(first) = shards.first() else {
        return Ok(PlanAccount::default());
    };
    let mut whole = first.plan.clone();
    whole.retain(|key, _| !OF_THE_SHARD.contains(&key.as_str()));
    for key in ["planned", "conversations", "lone", "slow_readers"] {
        let parts = shards.iter().filter_map(|shard| number(shard, key));
        if let Some(sum) = parts.reduce(|sum, part| sum + part) {
            whole.insert(key.to_owned(), sum.into());
        }
    }
    if let Some(readers) = shards.iter().find_map(|shard| shard.plan.get("readers")) {
        whole.insert("readers".to_owned(), readers.clone());
    }
    let spans = shards
        .iter()
        .filter_map(|shard| shard.plan.get("span_s")?.as_f64());
    whole.insert("span_s".to_owned(), spans.fold(0.0, f64::max).into());
    if let Some(skipped) = first.plan.get("skipped") {
        whole.insert("skipped".to_owned(), skipped.clone());
    }
    serde_json::from_value(Value::Object(whole)).map_err(|error| unread(first, &error))
}

fn unread(shard: &Shard, error: &serde_json::Error) -> MergeError {
    MergeError::File(crate::report::ReportError::Foreign {
        path: shard.path.join("result.json"),
        why: error.to_string(),
    })
}

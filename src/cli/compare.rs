use std::io::Write;

use super::failure::{Exit, Failure};
use super::values;
use crate::measure::{
    CompareOptions, Comparison, RECORDED, RunSample, Scaling, Side, compare, compare_with_recorded,
};
use crate::report::{ComparisonDocument, Difference, EarlierResult};
use crate::verdict::{
    Bound, Objective, ObjectiveResult, ObjectiveStatus, Status, judge_compared, judge_margin,
    not_in_a_log,
};

/// Compare the results of two replays of the same trace, or one with what production felt: ratios with intervals, and a verdict
///
/// A result is a directory that `reenact replay --out` wrote (or its result.json), as NAME@DIR where it has several targets. The first one is
/// the baseline; `recorded` in its place is what production felt at the same requests, and goes with a mirror's result, too (record
/// --mirror-out). Requests are paired one by one. From one run of each, the intervals speak
/// of these two runs; repeat runs (replay --repeat 5, or several results here) to speak of the targets.
///
/// Without --slo, a P50 or P99 of TTFT, TPOT or E2E that is worse than the margin is a miss. So is a load that differed by over 2 %: a target
/// that slows its own conversations down is asked for less, and its latencies prove nothing.
///
/// Exit codes: 0 every objective met; 1 could not run; 2 wrong usage; 3 an objective was missed; 4 a result is invalid.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArgs {
    /// The baseline's result, or `recorded`, and the target's
    #[arg(
        value_names = ["BASELINE", "TARGET"],
        num_args = 2,
        required_unless_present = "baseline"
    )]
    results: Vec<String>,

    /// Results of the baseline, several of them as its repeated runs
    #[arg(long, value_name = "RESULT", num_args = 1.., requires = "target", conflicts_with = "results")]
    baseline: Vec<String>,

    /// Results of the target, in the order of the baseline's
    #[arg(long, value_name = "RESULT", num_args = 1.., requires = "baseline")]
    target: Vec<String>,

    /// How much more a latency may be and still count as no worse: declare it before you look
    #[arg(long, default_value = "5%", value_name = "SHARE", value_parser = values::rate)]
    margin: f64,

    /// A relative objective, such as ttft.p99<+10%; repeatable
    #[arg(long = "slo", value_name = "EXPR")]
    objectives: Vec<Objective>,

    /// What the resamples are drawn with
    #[arg(long, default_value = "0", value_name = "N", value_parser = values::whole::<u64>)]
    seed: u64,

    /// Print one JSON document (schema reenact.comparison/1) instead of text
    #[arg(long)]
    json: bool,
}

/// Runs `reenact compare`.
///
/// # Errors
/// When a result cannot be read, or the two were not sent the same.
pub(super) fn run(args: &CompareArgs) -> Result<Exit, Failure> {
    if let Some(objective) = args
        .objectives
        .iter()
        .find(|one| matches!(one.bound, Bound::Absolute(_)))
    {
        return Err(Failure::usage(anyhow::anyhow!(
            "--slo {} is absolute, and a comparison judges changes",
            objective.expr
        ))
        .hint("write it with a sign, such as --slo 'ttft.p99<+10%'"));
    }
    let (baseline, target) = match &args.results[..] {
        [baseline, target] => (std::slice::from_ref(baseline), std::slice::from_ref(target)),
        _ => (&args.baseline[..], &args.target[..]),
    };
    let document = compared(args, baseline, target)?;
    let text = if args.json {
        serde_json::to_string_pretty(&document)? + "\n"
    } else {
        document.to_string()
    };
    match write!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(match document.status {
        Status::Pass => Exit::Ok,
        Status::Fail => Exit::ObjectiveMissed,
        Status::Invalid => Exit::Invalid,
    })
}

fn compared(
    args: &CompareArgs,
    baseline: &[String],
    target: &[String],
) -> Result<ComparisonDocument, Failure> {
    let targets = read(target)?;
    let options = CompareOptions {
        margin: args.margin,
        seed: args.seed,
        live: targets.iter().any(|target| target.live),
        ..CompareOptions::default()
    };
    let mut reasons = invalid(&targets);
    let now = Joined::of(&targets);
    let remarks;
    let mut comparison = if baseline == [RECORDED] {
        let twins = joined(&targets, |result| &result.recorded);
        remarks = same_plan(targets.iter())?;
        let scaling = targets
            .first()
            .map_or_else(Scaling::default, |it| it.scaling);
        compare_with_recorded(&twins, now.side(), scaling, &options)
    } else {
        let baselines = read(baseline)?;
        remarks = same_plan(baselines.iter().chain(&targets))?;
        reasons.extend(invalid(&baselines));
        let before = Joined::of(&baselines);
        if before.runs.len() != now.runs.len() {
            return Err(Failure::usage(anyhow::anyhow!(
                "the baseline has {} runs and the target {}",
                before.runs.len(),
                now.runs.len()
            ))
            .hint("runs are compared in pairs: give as many of each"));
        }
        compare(before.side(), now.side(), &options)
    };
    comparison.remarks = remarks;
    if comparison.pairs == 0 {
        return Err(Failure::could_not_run(anyhow::anyhow!(
            "no request was answered on both sides"
        ))
        .hint("a trace that was imported from lengths alone holds no recorded latencies"));
    }
    let objectives: Vec<_> = args
        .objectives
        .iter()
        .map(|one| judged(one, &comparison))
        .collect();
    let status = status(&objectives, &comparison, &reasons);
    Ok(ComparisonDocument {
        schema: ComparisonDocument::SCHEMA,
        results: (baseline.to_vec(), target.to_vec()),
        comparison,
        objectives,
        status,
        reasons,
    })
}

fn status(objectives: &[ObjectiveResult], comparison: &Comparison, invalid: &[String]) -> Status {
    let missed = if objectives.is_empty() {
        judge_margin(comparison).status == ObjectiveStatus::Fail
    } else {
        let mut objectives = objectives.iter();
        objectives.any(|one| {
            matches!(
                one.status,
                ObjectiveStatus::Fail | ObjectiveStatus::NotMeasured
            )
        })
    };
    match (invalid.is_empty(), missed) {
        (false, _) => Status::Invalid,
        (true, true) => Status::Fail,
        (true, false) => Status::Pass,
    }
}

fn judged(objective: &Objective, comparison: &Comparison) -> ObjectiveResult {
    judge_compared(objective, comparison).unwrap_or_else(|| ObjectiveResult {
        expr: objective.expr.clone(),
        target: comparison.target.clone(),
        value: None,
        status: ObjectiveStatus::NotMeasured,
        reason: not_in_a_log(objective).to_owned(),
    })
}

fn read(places: &[String]) -> Result<Vec<EarlierResult>, Failure> {
    places
        .iter()
        .map(|place| {
            EarlierResult::read(place).map_err(|error| {
                let hint = error.hint();
                Failure::could_not_run(error).hint(hint)
            })
        })
        .collect()
}

/// Holds that the results were sent the same; what they differ in otherwise.
fn same_plan<'a>(
    mut results: impl Iterator<Item = &'a EarlierResult>,
) -> Result<Vec<String>, Failure> {
    let Some(first) = results.next() else {
        return Ok(Vec::new());
    };
    let mut remarks = Vec::new();
    for difference in results.filter_map(|other| first.differs_from(other)) {
        match difference {
            Difference::Plan(why) => {
                return Err(Failure::could_not_run(anyhow::anyhow!(
                    "the results were not sent the same: {why}"
                ))
                .hint("compare replays of one trace with the same options"));
            }
            Difference::Connections(remark) => remarks.push(remark),
        }
    }
    Ok(remarks)
}

fn invalid(results: &[EarlierResult]) -> Vec<String> {
    let told =
        |result: &EarlierResult| Some(format!("{}: {}", result.name(), result.invalid.as_ref()?));
    results.iter().filter_map(told).collect()
}

/// The runs of several results as those of one, under the first one's name.
struct Joined {
    name: String,
    runs: Vec<RunSample>,
}

impl Joined {
    fn of(results: &[EarlierResult]) -> Self {
        Self {
            name: results
                .first()
                .map_or_else(String::new, EarlierResult::name),
            runs: joined(results, |result| &result.runs),
        }
    }

    fn side(&self) -> Side<'_> {
        Side {
            name: &self.name,
            runs: &self.runs,
        }
    }
}

fn joined(results: &[EarlierResult], of: fn(&EarlierResult) -> &Vec<RunSample>) -> Vec<RunSample> {
    results
        .iter()
        .flat_map(|result| of(result).clone())
        .collect()
}

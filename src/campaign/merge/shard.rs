use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::MergeError;
use crate::measure::{FidelityBar, MeasureOptions, Ooms, QualitySummary, RECORDED};
use crate::replay::TurnAccount;
use crate::report::{ReportError, ResultDocument, ScheduleAccount};
use crate::verdict::Objective;

/// What merging needs of a shard's `result.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Shard {
    /// The directory that it lies in.
    #[serde(skip)]
    pub(super) path: PathBuf,
    schema: String,
    pub(super) started_at: String,
    pub(super) elapsed_s: f64,
    pub(super) trace: Value,
    pub(super) plan: Map<String, Value>,
    #[serde(default)]
    pub(super) schedule: Option<ScheduleAccount>,
    pub(super) targets: Vec<ShardTarget>,
    #[serde(default)]
    comparison: Vec<Value>,
    verdict: ShardVerdict,
}

/// One target of a shard.
#[derive(Debug, Deserialize)]
pub(super) struct ShardTarget {
    pub(super) name: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) model: Option<String>,
    pub(super) protocol: Option<String>,
    #[serde(default)]
    pub(super) simulated: bool,
    pub(super) fidelity: ShardFidelity,
    #[serde(default)]
    window: ShardSpan,
    #[serde(default)]
    gpu: Vec<Value>,
    #[serde(default)]
    engine: Option<Value>,
    #[serde(default)]
    oom: Ooms,
    #[serde(default)]
    pub(super) quality: Option<QualitySummary>,
    #[serde(default)]
    pub(super) turns: Option<TurnAccount>,
    #[serde(default)]
    pub(super) runs: Vec<Value>,
    #[serde(default)]
    steps: Vec<Value>,
}

/// Where its measured window lies.
#[derive(Debug, Default, Deserialize)]
struct ShardSpan {
    prelude_s: f64,
}

/// What cannot be seen in a shard's requests.
#[derive(Debug, Deserialize)]
pub(super) struct ShardFidelity {
    #[serde(flatten)]
    pub(super) told: Told,
    #[serde(default)]
    pub(super) prefix_share_recorded: Option<f64>,
    #[serde(default)]
    pub(super) heartbeat_p99_ms: Option<f64>,
    #[serde(default)]
    pub(super) cpu_share: Option<f64>,
    #[serde(default)]
    pub(super) alterations: Vec<String>,
    #[serde(default)]
    bar: FidelityBar,
}

/// Whether a replay, or one of its runs, was faithful, and what was said of it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Told {
    valid: bool,
    #[serde(default)]
    pub(super) reasons: Vec<String>,
    #[serde(default)]
    pub(super) remarks: Vec<String>,
}

impl Told {
    /// Results of earlier versions have their remarks among the reasons: there are no reasons against a valid run.
    pub(super) fn parted(mut self) -> Self {
        if self.valid {
            self.remarks.splice(0..0, self.reasons.drain(..));
        }
        self
    }
}

#[derive(Debug, Deserialize)]
struct ShardVerdict {
    #[serde(default)]
    objectives: Vec<ShardObjective>,
}

#[derive(Debug, Deserialize)]
struct ShardObjective {
    expr: String,
    #[serde(default)]
    target: String,
}

impl Shard {
    /// Reads a result: the directory, or the `result.json` in it.
    pub(super) fn read(path: &Path) -> Result<Self, MergeError> {
        let directory = match path.file_name() {
            Some(name) if name == "result.json" => path.parent().unwrap_or(Path::new(".")),
            _ => path,
        };
        let file = directory.join("result.json");
        let text = std::fs::read(&file).map_err(|source| ReportError::Io {
            path: file.clone(),
            source,
        })?;
        let foreign = |why: String| ReportError::Foreign { path: file, why };
        let mut shard: Self = match serde_json::from_slice(&text) {
            Ok(shard) => shard,
            Err(error) => return Err(foreign(error.to_string()).into()),
        };
        if shard.schema != ResultDocument::SCHEMA {
            let why = format!("its schema is not {}", ResultDocument::SCHEMA);
            return Err(foreign(why).into());
        }
        directory.clone_into(&mut shard.path);
        if shard.targets.iter().any(|target| !target.steps.is_empty()) {
            return Err(MergeError::Steps { path: shard.path });
        }
        Ok(shard)
    }

    /// The targets that requests were sent to: all but what production felt.
    pub(super) fn sent_to(&self) -> impl Iterator<Item = &ShardTarget> {
        self.targets.iter().filter(|target| target.name != RECORDED)
    }

    /// Whether it tells what production felt.
    pub(super) fn has_recorded(&self) -> bool {
        self.targets.iter().any(|target| target.name == RECORDED)
    }

    /// Whether it tells of anything that is in no row of its requests: failed allocations that answers told of are.
    pub(super) fn has_samples(&self) -> bool {
        let counted = |oom: &Ooms| oom.count > oom.events.len() as u64;
        self.targets
            .iter()
            .any(|target| !target.gpu.is_empty() || target.engine.is_some() || counted(&target.oom))
    }

    /// What relative objectives were judged against: they are never judged on it.
    pub(super) fn baseline(&self) -> &str {
        let first = self
            .sent_to()
            .next()
            .map_or("", |target| target.name.as_str());
        let is_relative = |expr: &str| {
            let objective = expr.parse::<Objective>();
            objective.is_ok_and(|objective| objective.is_relative())
        };
        let on_first =
            |objective: &ShardObjective| objective.target == first && is_relative(&objective.expr);
        match self.verdict.objectives.iter().any(on_first) {
            true => RECORDED,
            false => first,
        }
    }

    /// How its requests were measured, but for what its objectives say.
    pub(super) fn measured(&self) -> MeasureOptions {
        let Some(target) = self.sent_to().next() else {
            return MeasureOptions::default();
        };
        MeasureOptions {
            bar: target.fidelity.bar,
            prelude_us: micros(target.window.prelude_s),
            ..MeasureOptions::default()
        }
    }

    /// The margin of its comparisons.
    pub(super) fn margin(&self) -> Option<f64> {
        self.comparison.first()?.get("margin")?.as_f64()
    }

    /// Which of how many.
    pub(super) fn place(&self) -> Result<(u32, u32), MergeError> {
        let number = |key: &str| {
            let value = self.plan.get("shard")?.get(key)?.as_u64()?;
            u32::try_from(value).ok()
        };
        number("index")
            .zip(number("count"))
            .ok_or(MergeError::Whole {
                path: self.path.clone(),
            })
    }

    /// The objectives as they were typed, each once.
    pub(super) fn objectives(&self) -> Vec<&str> {
        let mut exprs: Vec<&str> = Vec::new();
        for objective in &self.verdict.objectives {
            if !exprs.contains(&objective.expr.as_str()) {
                exprs.push(&objective.expr);
            }
        }
        exprs
    }

    /// Holds that another shard is of the same replay.
    pub(super) fn is_like(&self, other: &Self) -> Result<(), MergeError> {
        let unlike = |what: &str, in_one: &Value, in_other: &Value| MergeError::Unlike {
            one: self.path.clone(),
            other: other.path.clone(),
            what: what.to_owned(),
            in_one: in_one.to_string(),
            in_other: in_other.to_string(),
        };
        // A part may have nothing to tell of readers; two that have are of one mind.
        let readers = (self.plan.get("readers"), other.plan.get("readers"));
        if let (Some(one), Some(two)) = readers
            && one != two
        {
            return Err(unlike("plan.readers", one, two));
        }
        for (name, (one, two)) in both(&self.alike(), &other.alike()) {
            if one != two {
                return Err(unlike(&name, &one, &two));
            }
        }
        Ok(())
    }

    /// What all shards of a replay have in common.
    fn alike(&self) -> BTreeMap<String, Value> {
        let mut alike: BTreeMap<String, Value> = self
            .plan
            .iter()
            .filter(|(key, _)| !OF_THE_SHARD.contains(&key.as_str()))
            .map(|(key, value)| (format!("plan.{key}"), value.clone()))
            .collect();
        for key in ["exchanges", "span_s"] {
            let value = self.trace.get(key).cloned().unwrap_or_default();
            alike.insert(format!("trace.{key}"), value);
        }
        let count = self.plan.get("shard").and_then(|shard| shard.get("count"));
        alike.insert(
            "the number of shards".to_owned(),
            count.cloned().unwrap_or_default(),
        );
        let list = |values: Vec<&str>| Value::from(values);
        alike.insert("the list of objectives".to_owned(), list(self.objectives()));
        let targets = |of: fn(&ShardTarget) -> &str| list(self.targets.iter().map(of).collect());
        alike.insert("the names of the targets".to_owned(), targets(|t| &t.name));
        alike.insert("the URLs of the targets".to_owned(), targets(|t| &t.url));
        let measured = self.measured();
        let bar = serde_json::to_value(measured.bar).unwrap_or_default();
        alike.insert("the bars of fidelity (--fidelity)".to_owned(), bar);
        alike.insert(
            "the prelude, in microseconds".to_owned(),
            measured.prelude_us.into(),
        );
        let runs = self.targets.iter().map(|target| target.runs.len());
        alike.insert("the number of runs".to_owned(), runs.collect());
        alike
    }
}

/// Every key of either, with what each has.
fn both(
    one: &BTreeMap<String, Value>,
    other: &BTreeMap<String, Value>,
) -> BTreeMap<String, (Value, Value)> {
    let of =
        |map: &BTreeMap<String, Value>, key: &String| map.get(key).cloned().unwrap_or_default();
    one.keys()
        .chain(other.keys())
        .map(|key| (key.clone(), (of(one, key), of(other, key))))
        .collect()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

/// Parts of a plan that are each shard's own.
pub(super) const OF_THE_SHARD: [&str; 10] = [
    "shard",
    "planned",
    "conversations",
    "lone",
    "peak_in_flight",
    // Whether a part tells of readers is that part's.
    "readers",
    "slow_readers",
    "arrivals",
    "span_s",
    "skipped",
];

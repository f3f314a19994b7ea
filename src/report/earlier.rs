//! Results of earlier replays, read back to be compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::directory::ReportError;
use super::document::{PlanAccount, ResultDocument, TraceAccount};
use super::gaps::{foreign, read_gaps};
use super::requests::read_requests;
use crate::measure::{OfAnotherRun, RECORDED, RunSample, Scaling, twin};

/// Why an earlier result cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EarlierError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The requests cannot be read.
    #[error(transparent)]
    Requests(#[from] ReportError),
    /// The gaps between tokens cannot be read.
    #[error(transparent)]
    Gaps(ReportError),
    /// A file is not what its name says.
    #[error("{path}: {why}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The directory has results of several targets.
    #[error("{path} has results of {}", names.join(", "))]
    Several {
        /// Which.
        path: PathBuf,
        /// Its targets.
        names: Vec<String>,
    },
    /// No target has that name.
    #[error("{path} has no target `{name}`")]
    NoSuchTarget {
        /// Which.
        path: PathBuf,
        /// The name.
        name: String,
    },
}

impl EarlierError {
    /// What mends it.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } | Self::Requests(_) | Self::Malformed { .. } => {
                "give the directory that `reenact replay --out` wrote: both result.json and requests.jsonl.zst are needed".to_owned()
            }
            Self::Gaps(_) => {
                "without gaps.json.zst all but itl is compared: move it away, or replay again".to_owned()
            }
            Self::Several { path, names } => format!(
                "say which, as {}@{}",
                names.first().map_or("NAME", String::as_str),
                path.display()
            ),
            Self::NoSuchTarget { .. } => "its targets are named in result.json".to_owned(),
        }
    }
}

/// One target of an earlier result.
#[derive(Debug, Clone)]
pub struct EarlierResult {
    /// Where it was read.
    pub path: PathBuf,
    /// The target's name.
    pub target: String,
    /// Why it is invalid, where it is.
    pub invalid: Option<String>,
    /// Its requests, run by run.
    pub runs: Vec<RunSample>,
    /// What production felt at them, run by run.
    pub recorded: Vec<RunSample>,
    /// What its plan made of production's load.
    pub scaling: Scaling,
    plan: BTreeMap<String, Value>,
    /// Requests shared its connections, as HTTP/2 has it.
    http2: bool,
    /// It was sent live traffic.
    pub live: bool,
}

/// In what two replays differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// They were not sent the same.
    Plan(String),
    /// They were sent the same over other connections, which HTTP/2 leaves no choice in.
    Connections(String),
}

#[derive(Deserialize)]
struct Document {
    schema: String,
    trace: BTreeMap<String, Value>,
    plan: BTreeMap<String, Value>,
    #[serde(default)]
    mirror: Option<serde::de::IgnoredAny>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    #[serde(default)]
    protocol: Option<String>,
    fidelity: Fidelity,
    #[serde(default)]
    window: Window,
    #[serde(default)]
    steps: Vec<Value>,
}

#[derive(Deserialize, Default)]
struct Window {
    prelude_s: f64,
}

#[derive(Deserialize)]
struct Fidelity {
    valid: bool,
    #[serde(default)]
    reasons: Vec<String>,
}

impl EarlierResult {
    /// Reads `place`: a results directory or its result.json, with `NAME@` before it where it has several targets.
    ///
    /// # Errors
    /// When its files cannot be read, are not results, or do not say which target is meant.
    pub fn read(place: &str) -> Result<Self, EarlierError> {
        let (name, path) = match place.split_once('@') {
            // A directory may have `@` in its name.
            Some((name, path)) if !Path::new(place).exists() => (Some(name), Path::new(path)),
            _ => (None, Path::new(place)),
        };
        let directory = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(path)
        };
        let document_path = if path.is_dir() {
            path.join("result.json")
        } else {
            path.to_owned()
        };
        let mut document = document(&document_path)?;
        // Production's own figures stand beside the targets.
        document.targets.retain(|target| target.name != RECORDED);
        let target = match (name, &document.targets[..]) {
            (Some(name), targets) => targets
                .iter()
                .find(|target| target.name == name)
                .ok_or_else(|| EarlierError::NoSuchTarget {
                    path: path.to_owned(),
                    name: name.to_owned(),
                })?,
            (None, [target]) => target,
            (None, targets) => {
                return Err(EarlierError::Several {
                    path: path.to_owned(),
                    names: targets.iter().map(|target| target.name.clone()).collect(),
                });
            }
        };
        if !target.steps.is_empty() {
            return Err(EarlierError::Malformed {
                path: document_path,
                why: format!(
                    "`{}` was run at several loads, and only whole runs are compared",
                    target.name
                ),
            });
        }
        let (runs, recorded) = runs(directory, target)?.into_iter().unzip();
        let reasons = &target.fidelity.reasons;
        let number = |key: &str| document.plan.get(key).and_then(Value::as_f64);
        let scaling = Scaling {
            speed: number("speed").unwrap_or(1.0),
            rate_scale: number("rate_scale").unwrap_or(1.0),
            loop_for_s: number("loop_for_s"),
            shape: document
                .plan
                .get("shape")
                .and_then(|shape| shape.as_str()?.parse().ok()),
        };
        Ok(Self {
            path: path.to_owned(),
            target: target.name.clone(),
            invalid: (!target.fidelity.valid).then(|| reasons.join("; ")),
            runs,
            recorded,
            scaling,
            http2: target
                .protocol
                .as_ref()
                .is_some_and(|it| it.starts_with("h2")),
            plan: sent(document.trace, document.plan),
            live: document.mirror.is_some(),
        })
    }

    /// The target and where its results lie.
    pub fn name(&self) -> String {
        format!("{}@{}", self.target, self.path.display())
    }

    /// In what two results were not sent the same, if in anything: what their words were drawn with and when they began aside.
    pub fn differs_from(&self, other: &Self) -> Option<Difference> {
        let whose = other.path.display().to_string();
        self.is_of_its_own()
            .or_else(|| other.is_of_its_own())
            .or_else(|| self.differs(&other.plan, other.http2, &whose))
    }

    /// In what a replay that is about to begin would not be sent what this one was; `http2`: what it will speak.
    pub fn differs_from_plan(
        &self,
        trace: &TraceAccount,
        plan: &PlanAccount,
        http2: bool,
    ) -> Option<Difference> {
        // Through text, as the earlier one came: reading may round a float otherwise.
        let fields = |text: serde_json::Result<String>| {
            text.and_then(|text| serde_json::from_str(&text))
                .unwrap_or_default()
        };
        let (trace, plan) = (serde_json::to_string(trace), serde_json::to_string(plan));
        self.is_of_its_own()
            .or_else(|| self.differs(&sent(fields(trace), fields(plan)), http2, "this replay"))
    }

    /// Live traffic comes once: nothing else was sent the same, however alike two plans look.
    fn is_of_its_own(&self) -> Option<Difference> {
        self.live.then(|| {
            Difference::Plan(format!(
                "{} is of live traffic, which comes once (`recorded` is what it is compared with)",
                self.path.display()
            ))
        })
    }

    fn differs(
        &self,
        theirs: &BTreeMap<String, Value>,
        http2: bool,
        whose: &str,
    ) -> Option<Difference> {
        let keys = self.plan.keys().chain(theirs.keys());
        let of = |plan: &BTreeMap<String, Value>, key: &str| {
            plan.get(key)
                .map_or_else(|| "absent".to_owned(), Value::to_string)
        };
        let differing = keys
            .map(|key| (key, of(&self.plan, key), of(theirs, key)))
            .filter(|(_, ours, theirs)| ours != theirs);
        let told = |(key, ours, theirs): (&String, String, String)| {
            format!(
                "{key} is {ours} in {} and {theirs} in {whose}",
                self.path.display()
            )
        };
        let (ours, others) = (mode(&self.plan), mode(theirs));
        let by_protocol = self.http2 != http2
            && [ours, others]
                .iter()
                .all(|mode| matches!(*mode, "recorded" | "shared"));
        // An option is shorter than what follows from it.
        let plan = differing
            .filter(|(key, ..)| !(by_protocol && *key == CONNECTIONS))
            .min_by_key(|(_, ours, theirs)| ours.len() + theirs.len());
        plan.map(told).map(Difference::Plan).or_else(|| {
            (ours != others).then(|| {
                Difference::Connections(format!(
                    "connections were {ours} in {} and {others} in {whose}, since one of them spoke HTTP/2: what connections cost is in the difference",
                    self.path.display()
                ))
            })
        })
    }
}

/// How a plan's requests came by their connections.
fn mode(plan: &BTreeMap<String, Value>) -> &str {
    let told = plan
        .get(CONNECTIONS)
        .and_then(|told| told.get("mode")?.as_str());
    told.unwrap_or("shared")
}

const CONNECTIONS: &str = "plan.connections";

/// What says that two replays were sent the same.
fn sent(trace: BTreeMap<String, Value>, plan: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let trace = trace.into_iter().filter(|(key, _)| key != "files");
    let trace = trace.map(|(key, value)| (format!("trace.{key}"), value));
    // The seed draws the words; beside them the conversations that are kept or copied, where some are.
    let draws_conversations = plan.get("rate_scale").and_then(Value::as_f64) != Some(1.0);
    let plan = plan.into_iter().filter(|(key, value)| match key.as_str() {
        "seed" => draws_conversations,
        // So were those that do not tell.
        "connections" => value.get("mode").and_then(Value::as_str) != Some("shared"),
        // So were those of clients that took what came.
        "readers" => value.as_str() != Some("fast"),
        // The slow ones of the trace are the same where that is, told or not.
        "words_seed" | "start_at" | "slow_readers" => false,
        _ => true,
    });
    let plan = plan.map(|(key, value)| (format!("plan.{key}"), value));
    trace.chain(plan).collect()
}

fn document(path: &Path) -> Result<Document, EarlierError> {
    let text = std::fs::read(path).map_err(|source| EarlierError::Io {
        path: path.to_owned(),
        source,
    })?;
    let malformed = |why: String| EarlierError::Malformed {
        path: path.to_owned(),
        why,
    };
    let document: Document = serde_json::from_slice(&text)
        .map_err(|error| malformed(format!("not a result: {error}")))?;
    if document.schema != ResultDocument::SCHEMA {
        return Err(malformed(format!(
            "its schema is {}, and this version reads {}",
            document.schema,
            ResultDocument::SCHEMA
        )));
    }
    Ok(document)
}

/// The measured requests of one target with what production felt at them, run by run.
#[allow(
    clippy::cast_precision_loss,
    reason = "microseconds of a run stay below 2^53"
)]
fn runs(directory: &Path, target: &Target) -> Result<Vec<(RunSample, RunSample)>, EarlierError> {
    let path = &directory.join("requests.jsonl.zst");
    let prelude_us = (target.window.prelude_s * 1e6).round();
    let mut runs: BTreeMap<u64, (RunSample, RunSample)> = BTreeMap::new();
    for request in read_requests(path)? {
        let request = request?;
        if request.target != target.name || (request.outcome.planned_us as f64) < prelude_us {
            continue;
        }
        let mut outcome = request.outcome;
        // Of the gaps, only the longest is kept in the log; those that are compared come from their own file.
        outcome.gaps_us.extend(request.longest_gap_us);
        let (measured, recorded) = runs
            .entry(request.run)
            .or_insert_with(|| (RunSample::of_log(), RunSample::of_log()));
        measured.record(&outcome);
        if let Some(felt) = twin(&outcome) {
            recorded.record(&felt);
        }
    }
    if runs.is_empty() {
        return Err(EarlierError::Malformed {
            path: path.to_owned(),
            why: format!("no measured request of `{}` is in it", target.name),
        });
    }
    put_gaps(directory, target, &mut runs).map_err(EarlierError::Gaps)?;
    Ok(runs.into_values().collect())
}

/// Puts the gaps between tokens in that the result keeps for comparisons, where it does.
fn put_gaps(
    directory: &Path,
    target: &Target,
    runs: &mut BTreeMap<u64, (RunSample, RunSample)>,
) -> Result<(), ReportError> {
    let Some(kept) = read_gaps(directory)? else {
        return Ok(());
    };
    for (&run, (measured, recorded)) in runs {
        let of = |name: &str, run| {
            let mut those = kept.iter();
            let found = those.find(|it| it.target == name && it.run == run);
            found.map(|it| it.gaps.clone())
        };
        let told = of(&target.name, run).ok_or(OfAnotherRun { part: 0 });
        // Production's clients felt the same, whichever run repeats it.
        let felt = recorded.put_gaps(of(RECORDED, 0));
        told.and_then(|gaps| measured.put_gaps([gaps]))
            .and(felt)
            .map_err(|why| foreign(directory, &why))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_result_that_does_not_tell_of_connections_shared_them() {
        let of = |connections: Option<Value>| {
            let told = connections.map(|mode| ("connections".to_owned(), mode));
            sent(BTreeMap::new(), told.into_iter().collect())
        };
        assert_eq!(of(None), of(Some(json!({"mode": "shared"}))));
        assert_ne!(of(None), of(Some(json!({"mode": "recorded"}))));
    }

    #[test]
    fn a_result_that_does_not_tell_of_readers_had_fast_ones() {
        let of = |plan: Value| {
            let plan = serde_json::from_value(plan).unwrap();
            sent(BTreeMap::new(), plan)
        };
        let fast = json!({"readers": "fast", "slow_readers": 3});
        assert_eq!(of(json!({})), of(fast));
        let recorded = json!({"readers": "recorded", "slow_readers": 3});
        assert_ne!(of(json!({})), of(recorded));
    }

    #[test]
    fn connections_that_the_protocol_chose_are_a_remark_and_others_another_plan() {
        let of = |http2, connections: Value| EarlierResult {
            path: PathBuf::from(if http2 { "two" } else { "one" }),
            target: "a".to_owned(),
            invalid: None,
            runs: Vec::new(),
            recorded: Vec::new(),
            scaling: Scaling::default(),
            plan: sent(
                BTreeMap::new(),
                [("connections".to_owned(), connections)].into(),
            ),
            http2,
            live: false,
        };
        let recorded = || json!({"mode": "recorded"});
        let shared = || json!({"mode": "shared"});
        let one = of(false, recorded());
        let told = one.differs_from(&of(true, shared()));
        let Some(Difference::Connections(remark)) = told else {
            panic!("{told:?}");
        };
        assert!(
            remark.starts_with("connections were recorded in one and shared in two"),
            "{remark}"
        );
        let chosen = one.differs_from(&of(false, shared()));
        assert!(
            matches!(&chosen, Some(Difference::Plan(why)) if why.contains("connections")),
            "{chosen:?}"
        );
        let bounded = one.differs_from(&of(true, json!({"mode": "at_most", "limit": 4})));
        assert!(matches!(bounded, Some(Difference::Plan(_))), "{bounded:?}");
        assert_eq!(one.differs_from(&of(false, recorded())), None);
        assert_eq!(of(false, shared()).differs_from(&of(true, shared())), None);
        let mut live = of(false, shared());
        live.live = true;
        for told in [
            live.differs_from(&of(false, shared())),
            of(false, shared()).differs_from(&live),
            live.differs_from_plan(&TraceAccount::default(), &PlanAccount::default(), false),
        ] {
            assert!(
                matches!(&told, Some(Difference::Plan(why)) if why.starts_with("one is of live")),
                "{told:?}"
            );
        }
    }
}

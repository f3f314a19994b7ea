//! A replay's verdict as an experiment in LangSmith: one call for each target. The rows are the objectives, so that what one release met and
//! the next one missed stand side by side.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};
use siphasher::sip128::{Hasher128, SipHasher13};

use std::hash::Hasher;

use super::post::Poster;
use super::{Finished, OutwardError};
use crate::measure::{RECORDED, TargetSummary};
use crate::replay::BaseUrl;
use crate::report::ResultDocument;
use crate::verdict::{ObjectiveResult, ObjectiveStatus, Status};

/// Where experiments go.
#[derive(Debug, Clone)]
pub struct LangSmith {
    /// `https://api.smith.langchain.com`, or one's own.
    pub endpoint: BaseUrl,
    /// The key; shown nowhere.
    pub key: HeaderValue,
    /// The data set that the experiments are of; made by the first one.
    pub dataset: String,
}

/// The body of `POST /api/v1/datasets/upload-experiment`.
#[derive(Debug, Serialize)]
struct Experiment {
    experiment_name: String,
    experiment_description: String,
    experiment_start_time: String,
    experiment_end_time: String,
    experiment_metadata: Value,
    dataset_name: String,
    dataset_description: &'static str,
    summary_experiment_scores: Vec<Score>,
    results: Vec<Row>,
}

/// What LangSmith calls feedback.
#[derive(Debug, Serialize)]
struct Score {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    /// The same for the same objective, whichever replay: rows of two experiments are compared by it.
    row_id: String,
    run_name: &'static str,
    inputs: Value,
    expected_outputs: Value,
    actual_outputs: Value,
    evaluation_scores: Vec<Score>,
    start_time: String,
    end_time: String,
    run_metadata: Value,
}

/// Where experiments go.
pub(super) const UPLOAD: &str = "/api/v1/datasets/upload-experiment";

impl LangSmith {
    /// Posts one experiment for each target, and gives how many there were.
    ///
    /// # Errors
    /// When LangSmith cannot be reached or refuses.
    pub fn send(&self, finished: &Finished<'_>) -> Result<u64, OutwardError> {
        let mut key = self.key.clone();
        key.set_sensitive(true);
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-api-key"), key)]);
        let mut post = Poster::new(&self.endpoint, headers, "application/json", None)?.once();
        let mut sent = 0;
        let document = finished.document;
        let replayed = document
            .targets
            .iter()
            .filter(|target| target.name != RECORDED);
        for target in replayed {
            let body = serde_json::to_vec(&self.experiment(document, target))?;
            post.post(UPLOAD, &Bytes::from(body))?;
            sent += 1;
        }
        Ok(sent)
    }

    fn experiment(&self, document: &ResultDocument, target: &TargetSummary) -> Experiment {
        let (start, end) = times(document);
        let judged = document.verdict.objectives.iter();
        let judged: Vec<_> = judged.filter(|one| one.target == target.name).collect();
        let (status, reasons) = verdict(target, &judged);
        let row = |of: &str, outputs: Value, score: Score| Row {
            row_id: self.row_id(of),
            run_name: "reenact replay",
            inputs: json!({ "objective": of }),
            expected_outputs: json!({ "status": "pass" }),
            actual_outputs: outputs,
            evaluation_scores: vec![score],
            start_time: start.clone(),
            end_time: end.clone(),
            run_metadata: json!({ "target": target.name, "model": target.model }),
        };
        let mut results = vec![row(
            "verdict",
            json!({ "status": status, "reasons": reasons }),
            Score {
                key: "met".to_owned(),
                score: match status {
                    Status::Pass => Some(1.0),
                    Status::Fail => Some(0.0),
                    Status::Invalid => None,
                },
                comment: (!reasons.is_empty()).then(|| reasons.join("; ")),
            },
        )];
        results.extend(judged.into_iter().map(|one| {
            let outputs = json!({ "status": one.status, "value": one.value });
            row(&one.expr, outputs, met(one))
        }));
        Experiment {
            experiment_name: format!("{} {}", target.name, document.started_at),
            experiment_description: format!(
                "{} requests of recorded traffic replayed against {}",
                target.requests.sent, target.name
            ),
            experiment_start_time: start.clone(),
            experiment_end_time: end.clone(),
            experiment_metadata: json!({
                "tool": concat!("reenact/", env!("CARGO_PKG_VERSION")),
                "target": target.name,
                "model": target.model,
                "simulated": document.simulated,
                "trace_exchanges": document.trace.exchanges,
                "speed": document.plan.speed,
                "rate_scale": document.plan.rate_scale,
                "seed": document.plan.seed,
                "verdict": status,
            }),
            dataset_name: self.dataset.clone(),
            dataset_description: "Objectives that replays of recorded traffic are held to (reenact)",
            summary_experiment_scores: summary(target),
            results,
        }
    }

    /// A UUID of version 8 (RFC 9562): what it says is ours to define.
    fn row_id(&self, of: &str) -> String {
        let mut hasher = SipHasher13::new();
        hasher.write(self.dataset.as_bytes());
        hasher.write_u8(0);
        hasher.write(of.as_bytes());
        let hash = hasher.finish128().as_u128();
        let versioned = (hash & !(0xf << 76) & !(0b11 << 62)) | (8 << 76) | (0b10 << 62);
        let hex = format!("{versioned:032x}");
        let mut id = String::with_capacity(36);
        for (place, digit) in hex.chars().enumerate() {
            if matches!(place, 8 | 12 | 16 | 20) {
                id.push('-');
            }
            id.push(digit);
        }
        id
    }
}

/// What the replay says of this target alone, and why: the document's verdict is on all of them.
fn verdict(target: &TargetSummary, judged: &[&ObjectiveResult]) -> (Status, Vec<String>) {
    if !target.fidelity.valid {
        return (Status::Invalid, target.fidelity.reasons.clone());
    }
    let missed: Vec<String> = judged
        .iter()
        .filter(|one| {
            matches!(
                one.status,
                ObjectiveStatus::Fail | ObjectiveStatus::NotMeasured
            )
        })
        .map(|one| format!("{}: {}", one.expr, one.reason))
        .collect();
    let status = match missed.is_empty() {
        true => Status::Pass,
        false => Status::Fail,
    };
    (status, missed)
}

fn met(one: &ObjectiveResult) -> Score {
    Score {
        key: "met".to_owned(),
        score: match one.status {
            ObjectiveStatus::Pass => Some(1.0),
            ObjectiveStatus::Fail | ObjectiveStatus::NotMeasured => Some(0.0),
            ObjectiveStatus::Inconclusive => None,
        },
        comment: Some(one.reason.clone()),
    }
}

/// The figures that the report begins with, under the names of the objectives.
fn summary(target: &TargetSummary) -> Vec<Score> {
    let latency = |name: &str| target.latency.get(name);
    let mut figures = Vec::new();
    for name in ["ttft_ms", "itl_ms", "tpot_ms", "e2e_ms"] {
        let Some(latency) = latency(name) else {
            continue;
        };
        figures.push((format!("{name}.p50"), latency.p50));
        figures.push((format!("{name}.p99"), latency.p99));
    }
    let requests = &target.requests;
    let judged = requests.ok + requests.failed;
    let errors = (judged > 0).then(|| requests.failed as f64 / judged as f64);
    let throughput = &target.throughput;
    figures.push(("errors.rate".to_owned(), errors));
    figures.push((
        "goodput.rate".to_owned(),
        target.goodput.as_ref().map(|it| it.rate),
    ));
    figures.push((
        "throughput.requests_per_s".to_owned(),
        Some(throughput.requests_per_s),
    ));
    figures.push((
        "throughput.output_tokens_per_s".to_owned(),
        throughput.output_tokens_per_s,
    ));
    if let Some(quality) = &target.quality {
        let phases = [("idle", &quality.idle), ("loaded", &quality.loaded)];
        let rates = phases.into_iter().filter_map(|(phase, judged)| {
            let rate = judged.as_ref()?.pass_rate;
            Some((format!("quality.pass_rate.{phase}"), Some(rate)))
        });
        figures.extend(rates);
    }
    figures
        .into_iter()
        .filter(|(_, value)| value.is_some())
        .map(|(key, score)| Score {
            key,
            score,
            comment: None,
        })
        .collect()
}

/// When the replay began and ended, RFC 3339.
fn times(document: &ResultDocument) -> (String, String) {
    let start = document.started_at.clone();
    let elapsed = Duration::try_from_secs_f64(document.elapsed_s).unwrap_or_default();
    let end = start
        .parse::<jiff::Timestamp>()
        .ok()
        .and_then(|began| began.checked_add(elapsed).ok());
    let end = end.map_or_else(|| start.clone(), |end| end.to_string());
    (start, end)
}

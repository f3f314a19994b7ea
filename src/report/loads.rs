//! The steps of a sweep or of a search for the limit, as rows: one for each, in the order in which they were taken.

use std::borrow::Cow;

use super::document::ResultDocument;
use super::figures::{ms, number, percent};
use crate::measure::{LatencySummary, Misses, Step, StepVerdict, TargetSummary};
use crate::verdict::{Bound, Objective, Statistic};

/// A latency that steps are looked at by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    /// As in `targets[].latency`.
    name: String,
    statistic: Statistic,
    /// `TTFT p99`
    pub(super) label: String,
    /// What an objective lets it be, in milliseconds.
    pub(super) bound_ms: Option<f64>,
}

impl Judged {
    fn new(metric: &str, statistic: Statistic, bound_ms: Option<f64>) -> Self {
        Self {
            name: format!("{metric}_ms"),
            statistic,
            label: format!("{} {}", metric.to_uppercase(), statistic.name()),
            bound_ms,
        }
    }

    /// In milliseconds; infinite where it lies among the failures, `None` where it was not measured.
    pub(super) fn of(&self, step: &Step) -> Option<f64> {
        let summary: &LatencySummary = step.latency.get(self.name.as_str())?;
        let failed = (summary.misses > 0).then_some(f64::INFINITY);
        self.statistic.of(summary).or(failed)
    }
}

/// The latencies that the objectives are about; without any, the P99 of TTFT and of E2E.
pub(super) fn judged(document: &ResultDocument) -> Vec<Judged> {
    let mut found: Vec<Judged> = Vec::new();
    for result in &document.verdict.objectives {
        let Ok(objective) = result.expr.parse::<Objective>() else {
            continue;
        };
        if !objective.metric.is_latency() {
            continue;
        }
        let bound = match objective.bound {
            Bound::Absolute(bound) => Some(bound),
            Bound::Relative(_) => None,
        };
        let judged = Judged::new(objective.metric.name(), objective.statistic, bound);
        if found.iter().all(|known| known.label != judged.label) {
            found.push(judged);
        }
    }
    if found.is_empty() {
        let tail = |metric| Judged::new(metric, Statistic::P99, None);
        found = vec![tail("ttft"), tail("e2e")];
        found.retain(|judged| steps(document).any(|(_, step)| judged.of(step).is_some()));
    }
    found
}

/// Every step of every target.
pub(super) fn steps(document: &ResultDocument) -> impl Iterator<Item = (&TargetSummary, &Step)> {
    let targets = document.targets.iter();
    targets.flat_map(|target| target.steps.iter().map(move |step| (target, step)))
}

/// A step in words.
pub(super) struct StepRow<'a> {
    pub(super) target: &'a str,
    /// `2× speed`
    pub(super) load: String,
    pub(super) offered: String,
    pub(super) verdict: &'static str,
    /// One for each of [`judged`].
    pub(super) latencies: Vec<String>,
    pub(super) goodput: String,
    pub(super) errors: String,
    /// How many requests missed each objective that any missed, where the reason does not say so.
    pub(super) missed: Vec<String>,
    /// Why; with what else is to be known where the step is not valid, since no other figure shows that step.
    pub(super) reason: Cow<'a, str>,
}

/// All of them.
pub(super) fn rows<'a>(document: &'a ResultDocument, judged: &[Judged]) -> Vec<StepRow<'a>> {
    let row = |(target, step): (&'a TargetSummary, &'a Step)| StepRow {
        target: &target.name,
        load: load(target, step),
        offered: number(step.offered_per_s),
        verdict: verdict_words(step),
        latencies: judged.iter().map(|judged| shown(judged.of(step))).collect(),
        goodput: step
            .goodput
            .as_ref()
            .map_or_else(|| "–".to_owned(), |goodput| percent(goodput.rate)),
        errors: percent(error_rate(step)),
        missed: step
            .misses
            .iter()
            .filter(|misses| misses.missed > 0 && !step.reason.contains(&misses.expr))
            .map(missed)
            .collect(),
        reason: why(step),
    };
    steps(document).map(row).collect()
}

fn why(step: &Step) -> Cow<'_, str> {
    match (step.verdict, &step.remarks[..]) {
        (_, []) => Cow::Borrowed(&step.reason),
        (StepVerdict::Invalid, remarks) => Cow::Owned(format!(
            "{}; worth knowing: {}",
            step.reason,
            remarks.join("; ")
        )),
        _ => Cow::Borrowed(&step.reason),
    }
}

/// A step's load, as a factor of what was raised.
pub(super) fn load(target: &TargetSummary, step: &Step) -> String {
    let (factor, by) = factor(target, step);
    format!("{factor}× {by}")
}

/// The factor, and what it is of: `speed` or `rate`.
fn factor(target: &TargetSummary, step: &Step) -> (f64, &'static str) {
    let by = target.limit.as_ref().map_or_else(
        || {
            let mut steps = target.steps.iter();
            match steps.any(|other| other.rate_scale != step.rate_scale) {
                true => "rate",
                false => "speed",
            }
        },
        |limit| limit.by,
    );
    match by {
        "rate" => (step.rate_scale, by),
        _ => (step.speed, by),
    }
}

/// Requests a second offered at a factor: every load of a target is in proportion.
pub(super) fn offered_at(target: &TargetSummary, load: f64) -> Option<f64> {
    let step = target.steps.first()?;
    let (factor, _) = factor(target, step);
    (factor > 0.0).then(|| step.offered_per_s * load / factor)
}

/// Failed requests, as a share of those that were not cancelled.
#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub(super) fn error_rate(step: &Step) -> f64 {
    let requests = &step.requests;
    let judged = requests.planned.saturating_sub(requests.cancelled);
    requests.failed as f64 / judged.max(1) as f64
}

/// What a step said, in a word or two.
pub(super) const fn verdict_words(step: &Step) -> &'static str {
    match step.verdict {
        StepVerdict::Pass => "met",
        StepVerdict::Fail => "missed",
        StepVerdict::Undecided => "undecided",
        StepVerdict::Saturated => "saturated",
        StepVerdict::Invalid => "invalid",
        StepVerdict::Measured => "measured",
    }
}

/// `3 of 662 requests missed ttft.p99<800ms, and 1 % may`
pub(super) fn missed(misses: &Misses) -> String {
    format!(
        "{} of {} requests missed {}, and {} may",
        misses.missed,
        misses.requests,
        misses.expr,
        may(misses)
    )
}

/// The same for a sentence that has named the objective.
pub(super) fn missed_it(misses: &Misses) -> String {
    format!(
        "{} of {} requests missed it, and {} may",
        misses.missed,
        misses.requests,
        may(misses)
    )
}

/// The share that may miss: `1 %`, or none.
pub(super) fn may(misses: &Misses) -> String {
    match misses.allowed {
        0.0 => "none".to_owned(),
        share => format!("{} %", (share * 1e6).round() / 1e4),
    }
}

/// A latency that may lie among failures, or not have been measured.
pub(super) fn shown(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => ms(value),
        Some(_) => "∞".to_owned(),
        None => "–".to_owned(),
    }
}

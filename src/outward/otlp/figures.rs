use std::collections::BTreeMap;

use super::messages::{
    Data, ExportMetrics, Gauge, Histogram, HistogramPoint, KeyValue, Metric, NumberPoint,
    ResourceMetrics, Scope, ScopeMetrics,
};
use super::semantics as names;
use super::spans::{Subject, error, first_token_s, seconds};
use crate::measure::tpot_us;
use crate::outward::Finished;
use crate::replay::RequestOutcome;
use crate::verdict::ObjectiveStatus;

/// Histograms of all requests, and what the objectives came to. Bounded by targets × operations × kinds of failure.
#[derive(Default)]
pub(super) struct Figures {
    histograms: BTreeMap<Key, Counts>,
    /// When the first run began and the last request ended, in nanoseconds since 1970.
    span: Option<(u64, u64)>,
}

/// A time series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    measure: Measure,
    target: String,
    operation: &'static str,
    provider: &'static str,
    error: Option<&'static str>,
    token_type: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    Duration,
    FirstToken,
    PerToken,
    Tokens,
}

struct Counts {
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Figures {
    /// Adds a request. Latencies count from the intended send, and a request that was cancelled has none.
    pub(super) fn add(&mut self, target: &str, outcome: &RequestOutcome, began: u64, ended: u64) {
        let (first, last) = self.span.get_or_insert((began, ended));
        *first = (*first).min(began);
        *last = (*last).max(ended);
        let endpoint = outcome.recorded.endpoint;
        let failed = error(outcome);
        let mut put = |measure, token_type, value: Option<f64>| {
            let Some(value) = value else { return };
            let key = Key {
                measure,
                target: target.to_owned(),
                operation: names::operation(endpoint),
                provider: names::provider(endpoint),
                // The conventions have it on durations alone.
                error: failed.filter(|_| measure == Measure::Duration),
                token_type,
            };
            self.histograms
                .entry(key)
                .or_insert_with(|| Counts::new(measure.bounds()))
                .record(measure.bounds(), value);
        };
        let whole = outcome.end_us.saturating_sub(outcome.intended_us);
        let cancelled = outcome.result == crate::replay::SendResult::Cancelled;
        put(
            Measure::Duration,
            None,
            (!cancelled).then(|| seconds(whole)),
        );
        put(Measure::FirstToken, None, first_token_s(outcome));
        put(Measure::PerToken, None, tpot_us(outcome).map(seconds));
        put(
            Measure::Tokens,
            Some("input"),
            outcome.prompt_tokens.map(f64::from),
        );
        put(
            Measure::Tokens,
            Some("output"),
            outcome.output_tokens.map(f64::from),
        );
    }

    /// All of it, as it is sent.
    pub(super) fn export(
        &self,
        finished: &Finished<'_>,
        subjects: &BTreeMap<String, Subject>,
        resource: super::messages::Resource,
    ) -> ExportMetrics {
        let (start, end) = self.span.unwrap_or_default();
        let mut metrics: BTreeMap<Measure, Vec<HistogramPoint>> = BTreeMap::new();
        for (key, counts) in &self.histograms {
            let mut attributes = key.attributes();
            attributes.extend(
                subjects
                    .get(&key.target)
                    .map(Subject::attributes)
                    .into_iter()
                    .flatten(),
            );
            metrics
                .entry(key.measure)
                .or_default()
                .push(HistogramPoint {
                    start_time_unix_nano: start,
                    time_unix_nano: end,
                    count: counts.count,
                    sum: Some(counts.sum),
                    bucket_counts: counts.buckets.clone(),
                    explicit_bounds: key.measure.bounds().to_vec(),
                    attributes,
                    min: Some(counts.min),
                    max: Some(counts.max),
                });
        }
        let mut metrics: Vec<Metric> = metrics
            .into_iter()
            .map(|(measure, data_points)| measure.metric(data_points))
            .collect();
        metrics.extend(objectives(finished, end));
        ExportMetrics {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(Scope::this()),
                    metrics,
                }],
            }],
        }
    }
}

/// What each objective came to on each target.
fn objectives(finished: &Finished<'_>, at: u64) -> Vec<Metric> {
    let judged = &finished.document.verdict.objectives;
    let attributes = |expr: &str, target: &str| {
        vec![
            KeyValue::new("reenact.objective", expr),
            KeyValue::new("reenact.target", target),
        ]
    };
    let point = |value: f64, attributes| NumberPoint {
        time_unix_nano: at,
        as_double: Some(value),
        attributes,
    };
    let met = judged.iter().filter_map(|one| {
        let met = match one.status {
            ObjectiveStatus::Pass => 1.0,
            ObjectiveStatus::Fail | ObjectiveStatus::NotMeasured => 0.0,
            ObjectiveStatus::Inconclusive => return None,
        };
        Some(point(met, attributes(&one.expr, &one.target)))
    });
    let values = judged
        .iter()
        .filter_map(|one| Some(point(one.value?, attributes(&one.expr, &one.target))));
    let gauge = |name: &str, description: &str, data_points: Vec<NumberPoint>| Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: "1".to_owned(),
        data: Some(Data::Gauge(Gauge { data_points })),
    };
    [
        gauge(
            "reenact.objective.met",
            "1 where an objective was met, 0 where it was not; none where it is inconclusive",
            met.collect(),
        ),
        gauge(
            "reenact.objective.value",
            "The figure that was judged, in the unit of its metric in result.json",
            values.collect(),
        ),
    ]
    .into_iter()
    .filter(
        |metric| matches!(&metric.data, Some(Data::Gauge(gauge)) if !gauge.data_points.is_empty()),
    )
    .collect()
}

impl Key {
    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new(names::OPERATION, self.operation),
            KeyValue::new(names::PROVIDER, self.provider),
        ];
        let optional = [
            (names::ERROR_TYPE, self.error),
            (names::TOKEN_TYPE, self.token_type),
        ];
        let present = optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        attributes.extend(present.map(|(name, value)| KeyValue::new(name, value)));
        attributes
    }
}

impl Measure {
    const fn bounds(self) -> &'static [f64] {
        match self {
            Self::Duration => names::DURATION_BOUNDS,
            Self::FirstToken => names::FIRST_TOKEN_BOUNDS,
            Self::PerToken => names::PER_TOKEN_BOUNDS,
            Self::Tokens => names::TOKEN_BOUNDS,
        }
    }

    fn metric(self, data_points: Vec<HistogramPoint>) -> Metric {
        let (name, unit, description) = match self {
            Self::Duration => (names::DURATION, "s", "From the intended send to the end"),
            Self::FirstToken => (
                names::TIME_TO_FIRST_TOKEN,
                "s",
                "From the intended send to the first token, as the client saw it",
            ),
            Self::PerToken => (
                names::TIME_PER_OUTPUT_TOKEN,
                "s",
                "Between tokens after the first, in the mean of a request, as the client saw it",
            ),
            Self::Tokens => (names::TOKEN_USAGE, "{token}", "As the target counted them"),
        };
        Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
            data: Some(Data::Histogram(Histogram {
                data_points,
                aggregation_temporality: CUMULATIVE,
            })),
        }
    }
}

impl Counts {
    fn new(bounds: &[f64]) -> Self {
        Self {
            buckets: vec![0; bounds.len() + 1],
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }

    /// A value on a bound belongs below it.
    fn record(&mut self, bounds: &[f64], value: f64) {
        let place = bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

const CUMULATIVE: i32 = 2;

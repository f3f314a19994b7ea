//! What a recorder and a running replay show to Prometheus in the same way: the names of inference's own metrics, their bounds, and the page.
//! It knows no HTTP.

use std::fmt;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::family::MetricConstructor;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From a request to the end of its answer.
pub(crate) const DURATION: &str = "inference_duration_seconds";
/// From a request to the first token of its streamed answer.
pub(crate) const FIRST_TOKEN: &str = "inference_time_to_first_token_seconds";
/// Gaps between successive token events.
pub(crate) const INTER_TOKEN: &str = "inference_inter_token_seconds";
/// Requests that are open.
pub(crate) const IN_FLIGHT: &str = "inference_in_flight";

/// Makes histograms with the bounds that suit inference: half of a token's gap up to a long answer's minutes.
#[derive(Clone)]
pub(crate) struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

const SECONDS: [f64; 23] = [
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0,
    20.0, 40.0, 60.0, 120.0, 240.0, 480.0, 960.0,
];

/// Microseconds in Prometheus's unit.
#[allow(
    clippy::cast_precision_loss,
    reason = "exact below 2^53 us = 285 years"
)]
pub(crate) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The page and its content type: in OpenMetrics where one of the values of `accept` asks for it, as Prometheus does; else in the text format
/// that everything reads.
///
/// # Errors
/// When a metric cannot be written.
pub(crate) fn page<'a>(
    registry: &Registry,
    mut accept: impl Iterator<Item = &'a str>,
) -> Result<(String, &'static str), fmt::Error> {
    let mut page = String::new();
    if accept.any(|value| value.contains("application/openmetrics-text")) {
        text::encode(&mut page, registry)?;
        return Ok((
            page,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ));
    }
    prometheus_text::encode(&mut page, registry)?;
    Ok((page, "text/plain; version=0.0.4; charset=utf-8"))
}

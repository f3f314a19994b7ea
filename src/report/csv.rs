//! Figures as comma-separated values (RFC 4180), for spreadsheets and data frames. A field that was not measured is empty.

use super::document::{Charts, ResultDocument};
use crate::measure::{CurvePoint, Window};

/// A row for each target and window of its run.
pub(super) fn timeline(document: &ResultDocument) -> String {
    let mut text = row(["target"]
        .into_iter()
        .chain(COLUMNS.iter().map(|(name, _)| *name))
        .map(str::to_owned));
    for target in &document.targets {
        for window in &target.timeline {
            let values = COLUMNS.iter().map(|(_, value)| {
                value(window).map_or_else(String::new, |value| value.to_string())
            });
            text += &row([target.name.clone()].into_iter().chain(values));
        }
    }
    text
}

/// A row for each target, latency and percentile, with the ends of its interval.
pub(super) fn percentiles(document: &ResultDocument, charts: &Charts) -> String {
    let names = [
        "target",
        "latency",
        "percentile",
        "ms",
        "ci95_lower_ms",
        "ci95_upper_ms",
    ];
    let mut text = row(names.map(str::to_owned));
    for (target, charts) in document.targets.iter().zip(&charts.targets) {
        for (latency, curve) in &charts.curves {
            for point in curve {
                text += &row(percentile(&target.name, latency, point));
            }
        }
    }
    text
}

fn percentile(target: &str, latency: &str, point: &CurvePoint) -> [String; 6] {
    let told = |ms: Option<f64>| ms.map_or_else(String::new, |ms| ms.to_string());
    // Shares are of powers; ten digits are more than a percentile has.
    let percentile = (point.share * 1e12).round() / 1e10;
    [
        target.to_owned(),
        latency.to_owned(),
        percentile.to_string(),
        point.ms.to_string(),
        told(point.ci95.map(|(lower, _)| lower)),
        told(point.ci95.and_then(|(_, upper)| upper)),
    ]
}

type Column = (&'static str, fn(&Window) -> Option<f64>);

const COLUMNS: &[Column] = &[
    ("t_s", |window| Some(window.t_s)),
    ("in_flight", |window| Some(window.in_flight)),
    ("in_flight_tokens", |window| window.in_flight_tokens),
    ("sent", |window| count(window.sent)),
    ("ok", |window| count(window.ok)),
    ("failed", |window| count(window.failed)),
    ("ttft_p50_ms", |window| window.ttft_p50_ms),
    ("ttft_p99_ms", |window| window.ttft_p99_ms),
    ("e2e_p50_ms", |window| window.e2e_p50_ms),
    ("e2e_p99_ms", |window| window.e2e_p99_ms),
    ("lateness_max_ms", |window| window.lateness_max_ms),
    ("output_tokens_per_s", |window| window.output_tokens_per_s),
    ("vram_used_bytes", |window| {
        window.vram_used_bytes.and_then(count)
    }),
    ("kv_cache", |window| window.kv_cache),
    ("waiting", |window| window.waiting),
    ("preemptions", |window| window.preemptions),
];

#[allow(clippy::unnecessary_wraps, reason = "as the columns want it")]
#[allow(
    clippy::cast_precision_loss,
    reason = "counts and bytes stay below 2^53"
)]
fn count(count: u64) -> Option<f64> {
    Some(count as f64)
}

fn row(fields: impl IntoIterator<Item = String>) -> String {
    let quoted = |field: String| match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    };
    let fields: Vec<String> = fields.into_iter().map(quoted).collect();
    fields.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(
            row(["a,\"b\"".to_owned(), String::new()]),
            "\"a,\"\"b\"\"\",\r\n"
        );
    }

    #[test]
    fn an_end_of_an_interval_that_the_sample_does_not_tell_is_empty() {
        let ends = |ci95| {
            let point = CurvePoint {
                share: 0.99,
                ms: 12.5,
                ci95,
            };
            percentile("a", "ttft", &point).join(",")
        };
        assert_eq!(ends(Some((11.0, Some(14.25)))), "a,ttft,99,12.5,11,14.25");
        assert_eq!(ends(Some((11.0, None))), "a,ttft,99,12.5,11,");
        assert_eq!(ends(None), "a,ttft,99,12.5,,", "of several runs");
    }

    #[test]
    fn what_was_not_measured_is_empty_and_a_zero_is_zero() {
        let window = Window {
            kv_cache: Some(0.25),
            vram_used_bytes: Some(85_899_345_920),
            ..Window::default()
        };
        let fields: Vec<Option<f64>> = COLUMNS.iter().map(|(_, value)| value(&window)).collect();
        assert_eq!(fields[1], Some(0.0));
        assert_eq!(fields[2], None);
        assert_eq!(fields[12].unwrap().to_string(), "85899345920");
    }
}

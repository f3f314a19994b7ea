//! A result as Prometheus text, for node_exporter's textfile collector (or a push gateway): what the last replay came to, to be charted and
//! alerted on over releases.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::directory::ReportError;
use super::document::ResultDocument;
use crate::measure::LatencySummary;
use crate::verdict::{ObjectiveStatus, Status};

type Labels = Vec<(&'static str, String)>;

/// Gauges of one name, by labels.
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

impl ResultDocument {
    /// Writes it to `path`, whole or not at all: a collector may read at any moment.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_textfile(&self, path: &Path) -> Result<(), ReportError> {
        let text = render(self).map_err(|error| ReportError::Render {
            what: "the textfile",
            why: error.to_string(),
        })?;
        // Beside it, and under a name that no collector reads.
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let put = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new()
                .permissions(readable())
                .tempfile_in(dir)?;
            file.write_all(text.as_bytes())?;
            file.persist(path)?;
            Ok(())
        };
        put().map_err(|source| ReportError::Io {
            path: path.to_owned(),
            source,
        })
    }
}

/// The collector is another user.
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// # Errors
/// When a label cannot be written.
fn render(document: &ResultDocument) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let mut gauges = |name: &str, help: &str| {
        let gauges = Gauges::default();
        registry.register(name, help, gauges.clone());
        gauges
    };
    let ended = gauges("reenact_result_timestamp_seconds", "When the replay ended");
    let verdict = gauges(
        "reenact_result_verdict",
        "1 for the verdict of the last replay: pass, fail or invalid",
    );
    let objective = gauges(
        "reenact_result_objective",
        "1 for what became of each objective: pass, fail, inconclusive or not_measured",
    );
    let requests = gauges(
        "reenact_result_requests",
        "Requests of the measured window by what became of them",
    );
    let latency = gauges(
        "reenact_result_latency_seconds",
        "Latencies of the measured window; failed requests count as infinite",
    );
    let rate = gauges(
        "reenact_result_requests_per_second",
        "Requests answered a second",
    );
    let tokens = gauges(
        "reenact_result_output_tokens_per_second",
        "Tokens generated a second",
    );
    let kv_cache = gauges(
        "reenact_result_kv_cache_peak_ratio",
        "The fullest that the KV cache was",
    );
    let vram = gauges(
        "reenact_result_vram_peak_bytes",
        "The most memory of a GPU seen in use",
    );

    #[allow(clippy::cast_precision_loss, reason = "exact below 2^53 ms")]
    let now = jiff::Timestamp::now().as_millisecond() as f64 / 1e3;
    set(&ended, &[], now);
    for status in [Status::Pass, Status::Fail, Status::Invalid] {
        let is = document.verdict.status == status;
        set(&verdict, &[("status", word(status))], is.into());
    }
    for result in &document.verdict.objectives {
        let labels = [
            ("target", result.target.clone()),
            ("objective", result.expr.clone()),
            ("status", outcome(result.status).to_owned()),
        ];
        set(&objective, &labels, 1.0);
    }
    for target in &document.targets {
        let of = |more: &[(&'static str, &str)]| -> Labels {
            let own = [("target", target.name.as_str())];
            let all = own.into_iter().chain(more.iter().copied());
            all.map(|(name, value)| (name, value.to_owned())).collect()
        };
        for (became, count) in [
            ("ok", target.requests.ok),
            ("failed", target.requests.failed),
            ("cancelled", target.requests.cancelled),
        ] {
            #[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
            set(&requests, &of(&[("outcome", became)]), count as f64);
        }
        for (name, summary) in &target.latency {
            let Some(name) = name.strip_suffix("_ms") else {
                continue;
            };
            for (stat, ms) in figures(summary) {
                set(
                    &latency,
                    &of(&[("latency", name), ("stat", stat)]),
                    ms / 1e3,
                );
            }
        }
        set(&rate, &of(&[]), target.throughput.requests_per_s);
        if let Some(per_s) = target.throughput.output_tokens_per_s {
            set(&tokens, &of(&[]), per_s);
        }
        if let Some(peak) = target.engine.as_ref().and_then(|it| it.kv_cache_peak) {
            set(&kv_cache, &of(&[]), peak);
        }
        for gpu in &target.gpu {
            let index = gpu.index.to_string();
            let instance = gpu.instance.map(|instance| instance.to_string());
            let labels = [("source", gpu.source.as_str()), ("gpu", &index)];
            let labels = labels
                .into_iter()
                .chain(instance.as_deref().map(|it| ("instance", it)));
            #[allow(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
            set(
                &vram,
                &of(&labels.collect::<Vec<_>>()),
                gpu.used_peak_bytes as f64,
            );
        }
    }
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

fn set(gauges: &Gauges, labels: &[(&'static str, String)], value: f64) {
    gauges.get_or_create(&labels.to_vec()).set(value);
}

/// Those that there are; a percentile that lies among the failures is infinite.
fn figures(summary: &LatencySummary) -> impl Iterator<Item = (&'static str, f64)> {
    let quantiles = [
        ("p50", summary.p50),
        ("p90", summary.p90),
        ("p95", summary.p95),
        ("p99", summary.p99),
        ("p99.9", summary.p99_9),
    ];
    let lost = if summary.count + summary.misses > 0 {
        Some(f64::INFINITY)
    } else {
        None
    };
    quantiles
        .into_iter()
        .filter_map(move |(stat, value)| Some((stat, value.or(lost)?)))
        .chain(summary.mean.map(|mean| ("mean", mean)))
}

fn word(status: Status) -> String {
    match status {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::Invalid => "invalid",
    }
    .to_owned()
}

fn outcome(status: ObjectiveStatus) -> &'static str {
    match status {
        ObjectiveStatus::Pass => "pass",
        ObjectiveStatus::Fail => "fail",
        ObjectiveStatus::Inconclusive => "inconclusive",
        ObjectiveStatus::NotMeasured => "not_measured",
    }
}

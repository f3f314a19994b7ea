use std::fmt;
use std::sync::PoisonError;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Account, ByTarget, Targets};
use crate::exposition::IN_FLIGHT;
use crate::measure::Distribution;

/// What is counted, and quantiles so far, read at each scrape.
pub(super) struct Counted(pub(super) Targets);

/// What changes from moment to moment.
pub(super) struct InFlight(pub(super) Targets);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    target: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatistic {
    target: String,
    /// As objectives have it. (`quantile` is what summaries alone may have.)
    stat: &'static str,
}

/// Its name, what it is, and where it stands.
type Of<T> = (&'static str, &'static str, fn(&Account) -> T);

const COUNTERS: [Of<u64>; 5] = [
    (
        "reenact_replay_runs",
        "Runs and steps that have begun",
        |account| account.runs,
    ),
    ("reenact_replay_sent", "Requests sent", |account| {
        account.sent_before + account.progress.sent()
    }),
    ("reenact_replay_ok", "Requests answered whole", |account| {
        account.ok
    }),
    (
        "reenact_replay_cancelled",
        "Requests cancelled where the recorded client had cancelled",
        |account| account.cancelled,
    ),
    (
        "reenact_replay_dropped",
        "Requests given up for too many in flight: the run is invalid",
        |account| account.dropped,
    ),
];

const GAUGES: [Of<u64>; 2] = [
    (IN_FLIGHT, "Requests sent and not over", |account| {
        account.progress.in_flight()
    }),
    (
        "reenact_replay_planned",
        "Requests of the run that is under way",
        |account| account.planned,
    ),
];

type DistributionOf = (
    &'static str,
    &'static str,
    for<'a> fn(&'a Account) -> &'a Distribution,
);

const LATENCIES: [DistributionOf; 3] = [
    (
        "reenact_replay_lateness_seconds",
        "How late requests were sent, quantiles of this run so far",
        |account| &account.lateness,
    ),
    (
        "reenact_replay_ttft_seconds",
        "Time to first token, quantiles of this run so far; +Inf lies among failed requests",
        |account| &account.latencies.ttft,
    ),
    (
        "reenact_replay_e2e_seconds",
        "From the intended send to the last byte, quantiles of this run so far; +Inf lies among failed requests",
        |account| &account.latencies.e2e,
    ),
];

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, help, of) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (target, account) in &*targets {
                let labels = by(target);
                ConstCounter::new(of(account)).encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "reenact_replay_failed",
            "Requests that failed, by kind",
            None,
            MetricType::Counter,
        )?;
        for (target, account) in &*targets {
            for (&kind, &count) in &account.failed {
                let target = target.clone();
                let labels = ByKind { target, kind };
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, of) in LATENCIES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (target, account) in &*targets {
                for (stat, value) in quantiles(of(account)) {
                    let target = target.clone();
                    let labels = ByStatistic { target, stat };
                    ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Collector for InFlight {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, help, of) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (target, account) in &*targets {
                let value = i64::try_from(of(account)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&by(target))?)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlight")
    }
}

fn by(target: &str) -> ByTarget {
    ByTarget {
        target: target.to_owned(),
    }
}

/// Quantiles in seconds; none of nothing, and infinite ones among failures.
fn quantiles(of: &Distribution) -> impl Iterator<Item = (&'static str, f64)> {
    let known = of.total() > 0;
    QUANTILES.iter().filter(move |_| known).map(|&(label, q)| {
        let value = of.quantile_ms(q).map_or(f64::INFINITY, |ms| ms / 1000.0);
        (label, value)
    })
}

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use crate::anonymise::{Anonymiser, Policy, Private, Sighting};
use crate::exposition::{Buckets, DURATION, FIRST_TOKEN, IN_FLIGHT, INTER_TOKEN, seconds};
use crate::record::front::connections::{Connections, CountedConnections};
use crate::record::tape::accounts::Accounts;
use crate::record::tape::capture::Capture;
use crate::record::tape::observe::Finished;
use crate::shape::{Endpoint, Exchange, Method, ShapeStatus, TraceTime};

/// The recorder's histograms. Only the observer's thread writes to them.
pub(in crate::record) struct Metrics {
    durations: Family<ByCode, Histogram, Buckets>,
    first_tokens: Family<ByModel, Histogram, Buckets>,
    gaps: Family<ByModel, Histogram, Buckets>,
    overhead: Histogram,
    models: ModelLabels,
    /// The label sets of `durations`: clients choose the models, upstreams the codes.
    sets: HashSet<ByCode>,
    /// The same of allow-listed models, which the names of others must not crowd out.
    kept_sets: HashSet<ByCode>,
}

/// Models with a label of their own beside those that are allow-listed; all others are `other`.
const MOST_MODELS: u32 = 100;
/// Label sets of durations, at about 600 bytes each, of allow-listed models and of the others; beyond them models are `other`, and
/// codes their class (400, 500).
const MOST_SETS: usize = 4096;
const OTHER: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    route: &'static str,
    model: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByModel {
    route: &'static str,
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

const OVERHEAD_SECONDS: [f64; 13] = [
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0,
];

impl Metrics {
    /// The histograms, in `registry`, and beside them whatever `accounts` and `capture` count.
    pub(in crate::record) fn new(
        policy: Policy,
        accounts: Arc<Accounts>,
        connections: Arc<Connections>,
        capture: Option<Arc<Capture>>,
        registry: &mut Registry,
    ) -> Result<Self, getrandom::Error> {
        let metrics = Self {
            durations: Family::new_with_constructor(Buckets),
            first_tokens: Family::new_with_constructor(Buckets),
            gaps: Family::new_with_constructor(Buckets),
            overhead: Histogram::new(OVERHEAD_SECONDS),
            models: ModelLabels::new(policy)?,
            sets: HashSet::new(),
            kept_sets: HashSet::new(),
        };
        registry.register(
            DURATION,
            "From a request's head to the end of its answer, as seen at the proxy; code 499 is a client that left",
            metrics.durations.clone(),
        );
        registry.register(
            FIRST_TOKEN,
            "From a request's head to the first token of its streamed answer",
            metrics.first_tokens.clone(),
        );
        registry.register(
            INTER_TOKEN,
            "Gaps between successive token events of streamed answers",
            metrics.gaps.clone(),
        );
        registry.register(
            "reenact_proxy_overhead_seconds",
            "From a request's head to its hand-over to an upstream connection, connecting included",
            metrics.overhead.clone(),
        );
        registry.register_collector(Box::new(Counted { accounts, capture }));
        registry.register_collector(Box::new(CountedConnections(connections)));
        Ok(metrics)
    }

    /// Takes in a finished exchange. Scrapes and health checks would only blur the latencies of inference.
    pub(in crate::record) fn observe(&mut self, finished: &Finished) {
        let exchange = &finished.sighting.exchange;
        if matches!(
            exchange.endpoint,
            Endpoint::Health | Endpoint::Metrics | Endpoint::Version
        ) {
            return;
        }
        let route = exchange.endpoint.path();
        let model = self.models.label(finished.model.as_ref());
        if let Some(overhead_us) = finished.overhead_us {
            self.overhead.observe(seconds(overhead_us));
        }
        let by_model = ByModel {
            route,
            model: model.clone(),
        };
        let response = &exchange.response;
        if let Some(first_token_us) = response.first_token_us {
            self.first_tokens
                .get_or_create(&by_model)
                .observe(seconds(first_token_us));
        }
        if let Some(seen) = response.token_gaps() {
            let gaps = self.gaps.get_or_create(&by_model);
            for (gap_us, count) in seen.values() {
                for _ in 0..count {
                    gaps.observe(seconds(gap_us));
                }
            }
        }
        let by_code = self.bounded(ByCode {
            route,
            model,
            code: finished.code,
        });
        self.durations
            .get_or_create(&by_code)
            .observe(seconds(finished.duration_us));
    }
}

impl Metrics {
    fn bounded(&mut self, set: ByCode) -> ByCode {
        let sets = match self.models.is_kept(&set.model) {
            true => &mut self.kept_sets,
            false => &mut self.sets,
        };
        if sets.contains(&set) {
            return set;
        }
        if sets.len() < MOST_SETS {
            sets.insert(set.clone());
            return set;
        }
        ByCode {
            model: OTHER.to_owned(),
            code: (set.code / 100).min(10) * 100,
            ..set
        }
    }
}

/// Pseudonyms of models for labels. They have a gate of their own, since those of trace files begin anew with each file.
struct ModelLabels {
    gate: Anonymiser,
    kept: Vec<(u32, String)>,
}

impl ModelLabels {
    fn new(policy: Policy) -> Result<Self, getrandom::Error> {
        Ok(Self {
            gate: Anonymiser::new(policy, 0)?,
            kept: Vec::new(),
        })
    }

    /// Whether a label is an allow-listed name.
    fn is_kept(&self, label: &str) -> bool {
        self.kept.iter().any(|(_, name)| name == label)
    }

    fn label(&mut self, model: Option<&Private>) -> String {
        let Some(model) = model else {
            return "none".to_owned();
        };
        let nothing = Exchange {
            shape: ShapeStatus::Generic,
            ..Exchange::bare(TraceTime::default(), Endpoint::Other, Method::Other)
        };
        let admitted = self.gate.admit(Sighting {
            model: Some(model.clone()),
            ..Sighting::of(nothing)
        });
        if let Some((id, name)) = admitted.name() {
            self.kept.push((id.0, name.to_owned()));
        }
        let Some(id) = admitted.exchange().model else {
            return "none".to_owned();
        };
        match self.kept.iter().find(|(kept, _)| *kept == id.0) {
            Some((_, name)) => name.clone(),
            None if id.0 >= MOST_MODELS => OTHER.to_owned(),
            None => id.to_string(),
        }
    }
}

/// What is counted elsewhere, read at each scrape.
struct Counted {
    accounts: Arc<Accounts>,
    capture: Option<Arc<Capture>>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let summary = self.accounts.summary();
        for (name, help, count) in [
            (
                "reenact_seen",
                "Exchanges that went through the proxy and are over",
                summary.seen,
            ),
            (
                "reenact_recorded",
                "Exchanges in the trace",
                summary.recorded,
            ),
            (
                "reenact_unsynced",
                "Exchanges in the trace of which the disk did not say that it keeps them",
                summary.unsynced,
            ),
            (
                "reenact_sampled_out",
                "Exchanges that sampling left out",
                summary.sampled_out,
            ),
            (
                "reenact_trace_bytes",
                "Bytes written to trace files",
                self.accounts.trace_bytes(),
            ),
            (
                "reenact_malformed_requests",
                "Requests refused because they can be read in more than one way",
                self.accounts.malformed(),
            ),
            (
                "reenact_upstream_retries",
                "Requests sent again, since the idle connection they were sent on was closed",
                self.accounts.retries(),
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let mut dropped = encoder.encode_descriptor(
            "reenact_dropped",
            "Exchanges not in the trace, by reason",
            None,
            ConstCounter::<u64>::TYPE,
        )?;
        for (reason, count) in summary.dropped {
            let labels = ByReason {
                reason: reason.name(),
            };
            ConstCounter::new(count).encode(dropped.encode_family(&labels)?)?;
        }
        for (name, help, value) in [
            (
                IN_FLIGHT,
                "Exchanges open at the proxy",
                self.accounts.in_flight(),
            ),
            (
                "reenact_queue_bytes",
                "Bytes held by everything that waits to be recorded",
                self.capture.as_ref().map_or(0, |capture| {
                    i64::try_from(capture.ledger.held()).unwrap_or(i64::MAX)
                }),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_whatever_clients_and_upstreams_send() {
        let mut metrics = Metrics::new(
            Policy::default(),
            Arc::default(),
            Connections::new(1),
            None,
            &mut Registry::default(),
        )
        .unwrap();
        let mut models = HashSet::new();
        let mut sets = HashSet::new();
        for number in 0..20_000_u16 {
            let name = Private::new((number / 7).to_string());
            let model = metrics.models.label(Some(&name));
            models.insert(model.clone());
            sets.insert(metrics.bounded(ByCode {
                route: "other",
                model,
                code: number,
            }));
        }
        assert_eq!(models.len(), MOST_MODELS as usize + 1);
        assert!(sets.len() <= MOST_SETS + 11, "{}", sets.len());
    }

    #[test]
    fn an_allow_listed_model_has_its_label_whatever_was_sent_before() {
        let policy = Policy {
            keep_models: ["llama".to_owned()].into(),
            ..Policy::default()
        };
        let (accounts, connections) = (Arc::default(), Connections::new(1));
        let registry = &mut Registry::default();
        let mut metrics = Metrics::new(policy, accounts, connections, None, registry).unwrap();
        for number in 0..20_000_u16 {
            let name = Private::new((number / 7).to_string());
            let model = metrics.models.label(Some(&name));
            metrics.bounded(ByCode {
                route: "other",
                model,
                code: number,
            });
        }
        let model = metrics.models.label(Some(&Private::new("llama")));
        assert_eq!(model, "llama");
        let set = ByCode {
            route: "other",
            model,
            code: 200,
        };
        assert_eq!(metrics.bounded(set.clone()), set);
        for code in 0..10_000 {
            let model = "llama".to_owned();
            metrics.bounded(ByCode {
                route: "other",
                model,
                code,
            });
        }
        assert!(metrics.kept_sets.len() <= MOST_SETS);
    }
}

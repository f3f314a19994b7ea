//! Spans and metrics over OTLP/HTTP in protobuf, which every collector takes, and LangSmith and Langfuse for spans.

mod figures;
mod messages;
mod semantics;
mod server;
mod spans;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use http::HeaderMap;
use prost::Message;

use self::figures::Figures;
use self::messages::{
    ExportTrace, Exported, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span,
};
use self::server::server;
use self::spans::{Clock, RunCount, Spans, Subject, error};
use super::post::Poster;
use super::{Finished, OutwardError};
use crate::replay::{BaseUrl, RequestOutcome, is_exported};
use crate::report::read_requests;

/// Where spans and metrics go.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// The address before `/v1/traces` and `/v1/metrics`.
    pub endpoint: BaseUrl,
    /// What each request carries; shown nowhere.
    pub headers: HeaderMap,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// What says where all this comes from, beside `service.name` and `service.version`, which it may replace.
    pub resource: Vec<(String, String)>,
    /// The share of conversations whose requests become spans, from 0 to 1; what failed does in any case, and metrics are of all.
    pub sample: f64,
}

/// What was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests that were looked at, those without a span included.
    pub requests: u64,
    /// Spans that were taken: one for each request, and one for each run.
    pub spans: u64,
    /// Spans that the service rejected, as it told.
    pub rejected: u64,
    /// Whether it took the metrics; one for spans alone answers 404 (LangSmith, Langfuse).
    pub metrics: bool,
}

impl Otlp {
    /// Sends the requests of a finished replay, then its metrics. `note` hears how far it came, so that what was taken before an error is
    /// known, too.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses, or the log of requests cannot be read.
    pub fn send(
        &self,
        finished: &Finished<'_>,
        note: &mut dyn FnMut(&Sent),
    ) -> Result<Sent, OutwardError> {
        let machine = |error: getrandom::Error| OutwardError::Machine {
            url: self.endpoint.to_string(),
            source: std::io::Error::other(error),
        };
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(machine)?;
        let spans = Spans::new(key, finished.document.simulated);
        let subjects = subjects(finished);
        let mut post = Poster::new(
            &self.endpoint,
            self.headers.clone(),
            "application/x-protobuf",
            self.ca.as_deref(),
        )?
        .gzip();
        let mut sent = Sent::default();
        let mut batch = Vec::with_capacity(BATCH);
        let mut figures = Figures::default();
        let mut runs: BTreeMap<(String, u64), RunCount> = BTreeMap::new();
        for request in read_requests(finished.requests)? {
            let request = request?;
            let Some((clock, of)) =
                clock(finished, &request.target, request.run).zip(subjects.get(&request.target))
            else {
                continue;
            };
            let outcome = &request.outcome;
            let (began, ended) = (
                clock.nanos(outcome.intended_us),
                clock.nanos(outcome.end_us),
            );
            figures.add(&request.target, outcome, began, ended);
            let count = runs
                .entry((request.target.clone(), request.run))
                .or_default();
            count.requests += 1;
            count.failed += u64::from(error(outcome).is_some());
            count.end_us = count.end_us.max(outcome.end_us);
            sent.requests += 1;
            if error(outcome).is_some() || self.is_sampled(finished, outcome) {
                batch.push(spans.request(&request, of, clock));
            }
            if batch.len() == BATCH {
                self.flush(&mut post, &mut batch, &mut sent)?;
            }
            if sent.requests.is_multiple_of(BATCH as u64) {
                note(&sent);
            }
        }
        for ((target, run), count) in &runs {
            if let Some((clock, of)) = clock(finished, target, *run).zip(subjects.get(target)) {
                batch.push(spans.run(finished, *run, of, clock, *count, self.sample));
            }
        }
        self.flush(&mut post, &mut batch, &mut sent)?;
        note(&sent);
        let export = figures.export(finished, &subjects, self.resource());
        sent.metrics = match post.post("/v1/metrics", &Bytes::from(export.encode_to_vec())) {
            Ok(_) => true,
            Err(OutwardError::Refused { status, .. }) if takes_no_metrics(status.as_u16()) => false,
            Err(error) => return Err(error),
        };
        note(&sent);
        Ok(sent)
    }

    /// Whether a request is of a conversation that was drawn: the same for every target and run, so that spans can be held side by side,
    /// and those of a smaller share among those of a larger one.
    fn is_sampled(&self, finished: &Finished<'_>, outcome: &RequestOutcome) -> bool {
        let seed = finished.document.plan.seed;
        self.sample >= 1.0 || is_exported(seed, outcome.session, outcome.index, self.sample)
    }

    fn flush(
        &self,
        post: &mut Poster,
        batch: &mut Vec<Span>,
        sent: &mut Sent,
    ) -> Result<(), OutwardError> {
        let spans = std::mem::take(batch);
        let count = spans.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let export = ExportTrace {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope::this()),
                    spans,
                }],
            }],
        };
        let answer = post.post("/v1/traces", &Bytes::from(export.encode_to_vec()))?;
        // Services that answer with something else (JSON, a page) took it nevertheless: their status said so.
        let told = Exported::decode(answer).unwrap_or_default();
        let rejected = told.partial_success.map_or(0, |part| part.rejected);
        let rejected = u64::try_from(rejected).unwrap_or(0).min(count);
        sent.rejected += rejected;
        sent.spans += count - rejected;
        Ok(())
    }

    fn resource(&self) -> Resource {
        let mut attributes = BTreeMap::from([
            ("service.name", env!("CARGO_PKG_NAME")),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ]);
        let own = self.resource.iter();
        attributes.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        Resource {
            attributes: attributes
                .into_iter()
                .map(|(name, value)| KeyValue::new(name, value))
                .collect(),
        }
    }
}

/// What a service answers that has no such path.
const fn takes_no_metrics(status: u16) -> bool {
    matches!(status, 404 | 405 | 501)
}

fn clock(finished: &Finished<'_>, target: &str, run: u64) -> Option<Clock> {
    let mut starts = finished.starts.iter();
    let start = starts.find(|start| start.target == target && start.run == run)?;
    Some(Clock(start.at))
}

fn subjects(finished: &Finished<'_>) -> BTreeMap<String, Subject> {
    let targets = finished.document.targets.iter();
    targets
        .map(|target| {
            let subject = Subject {
                name: target.name.clone(),
                model: target.model.clone(),
                server: server(&target.url),
            };
            (target.name.clone(), subject)
        })
        .collect()
}

/// As OpenTelemetry's own exporters have it by default.
const BATCH: usize = 512;

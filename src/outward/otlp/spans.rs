use std::hash::Hasher;
use std::time::{Duration, SystemTime};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::messages::{Event, KeyValue, Link, Span, Status, list_of};
use super::semantics as names;
use super::server::Server;
use crate::outward::Finished;
use crate::replay::{RequestOutcome, SendResult};
use crate::report::LoggedRequest;
use crate::verdict::Status as VerdictStatus;

/// Makes spans. Each request is a trace of its own, as it was of its client's; what holds those of a run together is the run's span, which
/// each links to: a trace of a million spans is one that no service opens.
pub(super) struct Spans {
    /// Drawn for each export: ids follow from it, so a body that is sent twice has the same ones.
    key: [u8; 16],
    /// Tells the spans of this export from those of others.
    export: String,
    simulated: bool,
}

/// Moments of a run, on the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(pub(super) SystemTime);

/// What is known of a target for each of its spans.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) model: Option<String>,
    pub(super) server: Server,
}

/// A run, as its requests have been read so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RunCount {
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// The end of the last, since the run's start.
    pub(super) end_us: u64,
}

impl Clock {
    /// Nanoseconds since 1970.
    pub(super) fn nanos(self, us: u64) -> u64 {
        let moment = self.0 + Duration::from_micros(us);
        let since = moment.duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
    }

    /// RFC 3339.
    fn written(self, us: u64) -> Option<String> {
        let moment = jiff::Timestamp::try_from(self.0 + Duration::from_micros(us)).ok()?;
        Some(moment.to_string())
    }
}

impl Spans {
    pub(super) fn new(key: [u8; 16], simulated: bool) -> Self {
        let mut spans = Self {
            key,
            export: String::new(),
            simulated,
        };
        let (trace, _) = spans.ids("", 0, u64::MAX);
        spans.export = trace
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        spans
    }

    /// A request's span.
    pub(super) fn request(&self, request: &LoggedRequest, of: &Subject, clock: Clock) -> Span {
        let outcome = &request.outcome;
        let endpoint = outcome.recorded.endpoint;
        let operation = names::operation(endpoint);
        let provider = names::provider(endpoint);
        let (trace_id, span_id) = self.ids(&request.target, request.run, outcome.index);
        let began = outcome.sent_us.unwrap_or(outcome.intended_us);
        let mut attributes = vec![
            KeyValue::new(names::OPERATION, operation),
            KeyValue::new(names::PROVIDER, provider),
            KeyValue::new(names::SYSTEM, provider),
            KeyValue::new(names::STREAM, outcome.stream),
            KeyValue::new(LANGSMITH_KIND, "llm"),
            KeyValue::new(LANGFUSE_KIND, "generation"),
            KeyValue::new(OPENINFERENCE_KIND, openinference(operation)),
        ];
        attributes.extend(of.attributes());
        self.of_run(&mut attributes, request.run);
        attributes.extend(figures(outcome));
        if let Some(session) = outcome.session {
            // A number of the plan says nothing beyond it: it is told apart from those of other exports.
            let id = format!("{}-{}-{session}", self.export, request.run);
            attributes.push(KeyValue::new(names::CONVERSATION, id.as_str()));
            attributes.push(KeyValue::new(OPENINFERENCE_SESSION, id.as_str()));
        }
        if let Some(first) = outcome.first_token_us.filter(|_| outcome.stream)
            && let Some(at) = clock.written(first)
        {
            attributes.push(KeyValue::new(LANGFUSE_FIRST, at.as_str()));
        }
        let first_token = outcome.first_token_us.filter(|_| outcome.stream);
        let (run_trace, run_span) = self.ids(&request.target, request.run, u64::MAX);
        Span {
            trace_id,
            span_id,
            name: match &of.model {
                Some(model) => format!("{operation} {model}"),
                None => operation.to_owned(),
            },
            kind: CLIENT,
            start_time_unix_nano: clock.nanos(began),
            end_time_unix_nano: clock.nanos(outcome.end_us.max(began)),
            attributes,
            // LangSmith takes its time to first token from an event of this name.
            events: first_token
                .map(|us| Event {
                    time_unix_nano: clock.nanos(us),
                    name: "new_token".to_owned(),
                })
                .into_iter()
                .collect(),
            links: vec![Link {
                trace_id: run_trace,
                span_id: run_span,
            }],
            status: error(outcome).map(|kind| Status {
                message: kind.to_owned(),
                code: ERROR,
            }),
        }
    }

    /// A run's span, when its requests have been read.
    pub(super) fn run(
        &self,
        finished: &Finished<'_>,
        run: u64,
        of: &Subject,
        clock: Clock,
        count: RunCount,
        sample: f64,
    ) -> Span {
        let (trace_id, span_id) = self.ids(&of.name, run, u64::MAX);
        let verdict = &finished.document.verdict;
        let mut attributes = vec![
            KeyValue::new("reenact.requests", count.requests),
            KeyValue::new("reenact.requests.failed", count.failed),
            KeyValue::new("reenact.verdict", verdict_name(verdict.status)),
            KeyValue::new("reenact.speed", finished.document.plan.speed),
            KeyValue::new("reenact.rate_scale", finished.document.plan.rate_scale),
            KeyValue::new("reenact.seed", finished.document.plan.seed),
            KeyValue::new("reenact.sample", sample),
            // It names a model, by which it would be taken for a call of one.
            KeyValue::new(OPENINFERENCE_KIND, "CHAIN"),
            KeyValue::new(LANGSMITH_KIND, "chain"),
        ];
        attributes.extend(of.attributes());
        self.of_run(&mut attributes, run);
        Span {
            trace_id,
            span_id,
            name: format!("replay {}", of.name),
            kind: INTERNAL,
            start_time_unix_nano: clock.nanos(0),
            end_time_unix_nano: clock.nanos(count.end_us),
            attributes,
            ..Span::default()
        }
    }

    fn of_run(&self, attributes: &mut Vec<KeyValue>, run: u64) {
        attributes.push(KeyValue::new("reenact.export", self.export.as_str()));
        attributes.push(KeyValue::new("reenact.run", run + 1));
        if self.simulated {
            attributes.push(KeyValue::new("reenact.simulated", true));
        }
    }

    fn ids(&self, target: &str, run: u64, index: u64) -> (Vec<u8>, Vec<u8>) {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(target.as_bytes());
        hasher.write_u64(run);
        hasher.write_u64(index);
        let trace = hasher.finish128();
        hasher.write_u8(1);
        let span = hasher.finish128().h1;
        (trace.as_bytes().to_vec(), span.to_be_bytes().to_vec())
    }
}

impl Subject {
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = vec![KeyValue::new("reenact.target", self.name.as_str())];
        if let Some(model) = &self.model {
            attributes.push(KeyValue::new(names::REQUEST_MODEL, model.as_str()));
        }
        if let Some((address, port)) = &self.server {
            attributes.push(KeyValue::new(names::SERVER_ADDRESS, address.as_str()));
            attributes.push(KeyValue::new(names::SERVER_PORT, *port));
        }
        attributes
    }
}

/// What is measured of one request.
fn figures(outcome: &RequestOutcome) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("reenact.index", outcome.index)];
    let mut put = |name: &str, value: Option<u32>| {
        attributes.extend(value.map(|value| KeyValue::new(name, value)));
    };
    put(names::INPUT_TOKENS, outcome.prompt_tokens);
    put(names::OUTPUT_TOKENS, outcome.output_tokens);
    put(names::CACHED_TOKENS, outcome.cached_tokens);
    if let Some(status) = outcome.status {
        attributes.push(KeyValue::new(names::STATUS_CODE, status));
    }
    if let Some(reason) = outcome.finish {
        let reason = names::finish(reason);
        attributes.push(KeyValue::new(names::FINISH_REASONS, list_of(&reason)));
    }
    if let Some(sent) = outcome.sent_us {
        let lateness = seconds(sent.saturating_sub(outcome.intended_us));
        attributes.push(KeyValue::new("reenact.lateness", lateness));
    }
    if let Some(ttft) = first_token_s(outcome) {
        attributes.push(KeyValue::new(names::TIME_TO_FIRST_TOKEN, ttft));
    }
    if let Some(kind) = error(outcome) {
        attributes.push(KeyValue::new(names::ERROR_TYPE, kind));
    }
    if outcome.result == SendResult::Cancelled {
        attributes.push(KeyValue::new("reenact.cancelled", true));
    }
    attributes
}

/// Its kind of failure, where it failed. That it was cancelled where its client had is none.
pub(super) fn error(outcome: &RequestOutcome) -> Option<&'static str> {
    match outcome.result {
        SendResult::Failed(kind) => Some(kind.name()),
        SendResult::Ok | SendResult::Cancelled => None,
    }
}

/// TTFT as everywhere here: from the intended send (docs/metrics.md).
pub(super) fn first_token_s(outcome: &RequestOutcome) -> Option<f64> {
    let first = outcome.first_token_us.filter(|_| outcome.stream)?;
    Some(seconds(first.saturating_sub(outcome.intended_us)))
}

pub(super) fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

/// What Phoenix (OpenInference) calls it.
fn openinference(operation: &str) -> &'static str {
    match operation {
        "embeddings" => "EMBEDDING",
        _ => "LLM",
    }
}

const fn verdict_name(status: VerdictStatus) -> &'static str {
    match status {
        VerdictStatus::Pass => "pass",
        VerdictStatus::Fail => "fail",
        VerdictStatus::Invalid => "invalid",
    }
}

const LANGSMITH_KIND: &str = "langsmith.span.kind";
const LANGFUSE_KIND: &str = "langfuse.observation.type";
const LANGFUSE_FIRST: &str = "langfuse.observation.completion_start_time";
const OPENINFERENCE_KIND: &str = "openinference.span.kind";
const OPENINFERENCE_SESSION: &str = "session.id";
const INTERNAL: i32 = 1;
const CLIENT: i32 = 3;
const ERROR: i32 = 2;

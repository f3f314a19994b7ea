use std::collections::BTreeMap;

use super::change_points::change_points;
use super::comparison::{GapSample, OfAnotherRun, RunSample};
use super::distribution::{Distribution, LatencySummary};
use super::fidelity::{FidelityMeter, GeneratorEvidence};
use super::fidelity_bar::FidelityBar;
use super::gpu::put_growth;
use super::latency::{Latencies, tpot_us};
use super::memory::{OomLog, TokensInFlight, TpotLog, cliffs, memory};
use super::observed::{Observed, Sampled};
use super::saturation::saturated;
use super::span::Span;
use super::summary::{Goodput, Requests, TargetSummary, Throughput};
use super::windows::Windows;
use crate::replay::{RequestOutcome, SendResult};

/// Which target is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetIdentity {
    /// Its name.
    pub name: String,
    /// Its base URL, without credentials.
    pub url: String,
    /// The model asked for.
    pub model: Option<String>,
    /// What its connections spoke.
    pub protocol: Option<String>,
}

/// What one request must meet to count for goodput, in milliseconds; from the objectives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PerRequestBounds {
    /// Bound on its TTFT.
    pub ttft_ms: Option<f64>,
    /// Bound on its TPOT.
    pub tpot_ms: Option<f64>,
    /// Bound on its E2E.
    pub e2e_ms: Option<f64>,
}

impl PerRequestBounds {
    fn any(&self) -> bool {
        self.ttft_ms.is_some() || self.tpot_ms.is_some() || self.e2e_ms.is_some()
    }

    pub(crate) fn met_by(&self, outcome: &RequestOutcome) -> bool {
        let within = |bound: Option<f64>, us: Option<u64>| match (bound, us) {
            (None, _) => true,
            (Some(bound), Some(us)) => milliseconds(us) <= bound,
            (Some(_), None) => false,
        };
        let since = |moment: u64| moment.saturating_sub(outcome.intended_us);
        let stream_only = |bound: Option<f64>| bound.filter(|_| outcome.stream);
        let tpot = tpot_us(outcome);
        within(stream_only(self.ttft_ms), outcome.first_token_us.map(since))
            && within(stream_only(self.tpot_ms).filter(|_| tpot.is_some()), tpot)
            && within(self.e2e_ms, Some(since(outcome.end_us)))
    }
}

/// What to measure by.
#[derive(Debug, Clone, Default)]
pub struct MeasureOptions {
    /// What a request must meet to count for goodput.
    pub bounds: PerRequestBounds,
    /// What a run must meet to be valid.
    pub bar: FidelityBar,
    /// Requests that the plan has in this long from the run's start are sent and not measured.
    pub prelude_us: u64,
}

/// Adds up one target's outcomes.
#[derive(Debug)]
pub struct TargetMeasure {
    options: MeasureOptions,
    latencies: Latencies,
    fidelity: FidelityMeter,
    windows: Windows,
    tokens: TokensInFlight,
    ooms: OomLog,
    tpot: TpotLog,
    span: Span,
    events: u64,
    event_tokens: u64,
    requests: Requests,
    good: u64,
    /// Cancelled before anything had come: see [`RequestOutcome::is_abandoned`].
    abandoned: u64,
    input_tokens: u64,
    output_tokens: u64,
    any_input: bool,
    any_output: bool,
    first_us: Option<u64>,
    last_us: u64,
    simulated: bool,
    sample: RunSample,
}

impl TargetMeasure {
    /// Nothing measured yet.
    pub fn new(options: MeasureOptions) -> Self {
        Self {
            latencies: Latencies::default(),
            fidelity: FidelityMeter::default(),
            windows: Windows::new(),
            tokens: TokensInFlight::default(),
            ooms: OomLog::default(),
            tpot: TpotLog::default(),
            span: Span::after(options.prelude_us),
            events: 0,
            event_tokens: 0,
            requests: Requests::default(),
            good: 0,
            abandoned: 0,
            input_tokens: 0,
            output_tokens: 0,
            any_input: false,
            any_output: false,
            first_us: None,
            last_us: 0,
            simulated: false,
            sample: RunSample::default(),
            options,
        }
    }

    /// The same for requests read from a log, which has of the gaps between tokens only the longest.
    pub fn of_log(options: MeasureOptions) -> Self {
        Self {
            sample: RunSample::of_log(),
            ..Self::new(options)
        }
    }

    /// Adds one request; says whether it is measured, and not of the prelude.
    pub fn record(&mut self, outcome: &RequestOutcome) -> bool {
        self.fidelity.record(outcome);
        self.windows.record(outcome);
        self.tokens.record(outcome);
        if let (Some(tpot), Some(first), Some(last)) = (
            tpot_us(outcome),
            outcome.first_token_us,
            outcome.last_token_us,
        ) {
            self.tpot.record(first.midpoint(last), milliseconds(tpot));
        }
        if outcome.out_of_memory {
            self.ooms.record(outcome.end_us);
        }
        self.simulated |= outcome.simulated;
        if !self.span.record(outcome) {
            return false;
        }
        self.latencies.record(outcome);
        self.sample.record(outcome);
        if outcome.stream && outcome.result == SendResult::Ok {
            self.events += u64::from(outcome.token_events);
            self.event_tokens += u64::from(outcome.output_tokens.unwrap_or(outcome.token_events));
        }
        self.requests.planned += 1;
        self.requests.sent += u64::from(outcome.sent_us.is_some());
        self.requests.retry_after.record(outcome);
        match outcome.result {
            SendResult::Ok => {
                self.requests.ok += 1;
                self.good += u64::from(self.options.bounds.met_by(outcome));
                self.any_input |= outcome.prompt_tokens.is_some();
                self.input_tokens += u64::from(outcome.prompt_tokens.unwrap_or(0));
            }
            SendResult::Failed(kind) => {
                self.requests.failed += 1;
                *self
                    .requests
                    .errors
                    .entry(kind.name().to_owned())
                    .or_default() += 1;
            }
            SendResult::Cancelled => {
                self.requests.cancelled += 1;
                self.abandoned += u64::from(outcome.is_abandoned());
            }
        }
        self.any_output |= outcome.output_tokens.is_some();
        self.output_tokens += u64::from(outcome.output_tokens.unwrap_or(0));
        self.first_us = Some(
            self.first_us
                .map_or(outcome.intended_us, |first| first.min(outcome.intended_us)),
        );
        self.last_us = self.last_us.max(outcome.end_us);
        true
    }

    /// The latencies so far.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// How late sends were so far.
    pub fn lateness(&self) -> &Distribution {
        &self.fidelity.lateness
    }

    /// Puts other latencies in the place of those counted so far: of the same requests, from where their token gaps are known.
    pub fn put_latencies(&mut self, latencies: Latencies) {
        self.latencies = latencies;
    }

    /// Puts the gaps between tokens in, of the requests kept for comparing this target with another, from where they are known.
    ///
    /// # Errors
    /// When they are not of this run.
    pub fn put_gaps(&mut self, parts: Vec<GapSample>) -> Result<(), OfAnotherRun> {
        self.sample.put_gaps(parts)
    }

    /// Takes out the values kept for comparing this target with another, request by request.
    pub fn take_sample(&mut self) -> RunSample {
        std::mem::take(&mut self.sample)
    }

    /// The figures, with what was sampled beside the requests.
    pub fn finish(
        self,
        identity: TargetIdentity,
        mut evidence: GeneratorEvidence,
        observed: Observed<'_>,
    ) -> TargetSummary {
        if self.requests.planned == 0 {
            let why = match self.options.prelude_us {
                0 => "no request was measured",
                _ => "no request was measured: --prelude is as long as the run",
            };
            evidence.faults.push(why.to_owned());
        }
        let span_s = milliseconds(self.last_us.saturating_sub(self.first_us.unwrap_or(0))) / 1000.0;
        let per_s = |count: u64| {
            if span_s > 0.0 {
                float(count) / span_s
            } else {
                0.0
            }
        };
        let judged = self.requests.planned - (self.requests.cancelled - self.abandoned);
        let goodput = self.options.bounds.any().then(|| Goodput {
            rate: if judged > 0 {
                float(self.good) / float(judged)
            } else {
                0.0
            },
            requests_per_s: per_s(self.good),
        });
        let throughput = Throughput {
            requests_per_s: per_s(self.requests.ok),
            input_tokens_per_s: self.any_input.then(|| per_s(self.input_tokens)),
            output_tokens_per_s: self.any_output.then(|| per_s(self.output_tokens)),
        };
        let ttft_p50 = self.latencies.ttft.quantile_ms(0.5);
        let tokens = &self.tokens;
        let timeline = self.windows.finish(|start_us, end_us| Sampled {
            in_flight_tokens: tokens.peak_between(start_us, end_us),
            ..observed.sampled(start_us, end_us)
        });
        let mut observed = observed;
        grown(tokens, &mut observed);
        TargetSummary {
            name: identity.name,
            url: identity.url,
            model: identity.model,
            protocol: identity.protocol,
            simulated: self.simulated,
            requests: self.requests,
            latency: latency_summaries(&self.latencies),
            throughput,
            window: self.span.finish(),
            saturated: saturated(&timeline),
            tokens_per_event: (self.events > 0)
                .then(|| float(self.event_tokens) / float(self.events)),
            goodput,
            misses: Vec::new(),
            fidelity: self.fidelity.finish(evidence, &self.options.bar, ttft_p50),
            turns: None,
            gpu: observed.gpu,
            memory: memory(tokens, &observed.memory),
            oom: self.ooms.finish(tokens, &observed.memory),
            engine: observed.engine,
            quality: None,
            changes: change_points(&timeline),
            cliffs: cliffs(tokens, &self.tpot, &observed.memory),
            timeline,
            runs: Vec::new(),
            spread: BTreeMap::new(),
            steps: Vec::new(),
            limit: None,
            knee: None,
        }
    }
}

/// Says of each memory how it grew apart from the load.
fn grown(tokens: &TokensInFlight, observed: &mut Observed<'_>) {
    let samples = &observed.memory;
    for (gpu, bytes) in observed.gpu.iter_mut().zip(&samples.gpu_bytes) {
        put_growth(gpu, samples.growth(tokens, bytes));
    }
    if let Some(host) = observed
        .engine
        .as_mut()
        .and_then(|engine| engine.host_memory.as_mut())
    {
        host.growth = samples.growth(tokens, &samples.host_bytes);
    }
}

pub(super) fn latency_summaries(latencies: &Latencies) -> BTreeMap<&'static str, LatencySummary> {
    latencies
        .named()
        .into_iter()
        .filter_map(|(name, latency)| Some((name, latency.summary()?)))
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::replay::FailureKind;

    /// A streamed request of ten tokens that took `took_us`, its first token after a fifth of that.
    pub(crate) fn outcome(index: u64, intended_us: u64, took_us: u64) -> RequestOutcome {
        let gap = took_us * 4 / 5 / 9;
        RequestOutcome {
            index,
            planned_us: intended_us,
            intended_us,
            sent_us: Some(intended_us + 50),
            headers_us: Some(intended_us + took_us / 10),
            first_token_us: Some(intended_us + took_us / 5),
            first_answer_us: Some(intended_us + took_us / 5),
            last_token_us: Some(intended_us + took_us / 5 + 9 * gap),
            end_us: intended_us + took_us,
            stream: true,
            result: SendResult::Ok,
            status: Some(200),
            recorded_prompt_tokens: Some(100),
            prompt_tokens: Some(100),
            recorded_output_tokens: Some(10),
            output_tokens: Some(10),
            planned_shared_tokens: 50,
            cached_tokens: None,
            token_events: 10,
            gaps_us: vec![u32::try_from(gap).unwrap(); 9],
            ..RequestOutcome::default()
        }
    }

    #[test]
    fn latencies_count_from_the_intended_send() {
        let mut measure = TargetMeasure::new(MeasureOptions::default());
        for i in 0..100 {
            let mut late = outcome(i, i * 10_000, 100_000);
            late.sent_us = Some(late.intended_us + 15_000);
            measure.record(&late);
        }
        let summary = measure.finish(
            TargetIdentity::default(),
            GeneratorEvidence::default(),
            Observed::default(),
        );
        let p50 = |name| summary.latency[name].p50.unwrap();
        assert!((p50("ttft_ms") - 20.0).abs() < 0.1);
        assert!((p50("ttft_from_send_ms") - 5.0).abs() < 0.1);
        assert!((p50("e2e_ms") - 100.0).abs() < 0.2);
        assert!((p50("tpot_ms") - 8.888).abs() < 0.02);
        assert_eq!(summary.latency["itl_ms"].count, 900);
        assert!((summary.throughput.requests_per_s - 100.0 / 1.09).abs() < 0.1);
        assert_eq!(
            summary.throughput.output_tokens_per_s.map(f64::round),
            Some((1000.0_f64 / 1.09).round())
        );
    }

    #[test]
    fn goodput_counts_failures_as_misses_and_leaves_cancels_out() {
        let bounds = PerRequestBounds {
            ttft_ms: Some(25.0),
            ..PerRequestBounds::default()
        };
        let mut measure = TargetMeasure::new(MeasureOptions {
            bounds,
            ..MeasureOptions::default()
        });
        measure.record(&outcome(0, 0, 100_000));
        measure.record(&outcome(1, 0, 200_000));
        let mut failed = outcome(2, 0, 100_000);
        failed.result = SendResult::Failed(FailureKind::RateLimited);
        failed.retry_after_s = Some(7);
        measure.record(&failed);
        let mut cancelled = outcome(3, 0, 100_000);
        cancelled.result = SendResult::Cancelled;
        measure.record(&cancelled);
        let mut abandoned = cancelled.clone();
        (abandoned.index, abandoned.first_token_us) = (4, None);
        measure.record(&abandoned);
        let summary = measure.finish(
            TargetIdentity::default(),
            GeneratorEvidence::default(),
            Observed::default(),
        );
        assert!((summary.goodput.unwrap().rate - 1.0 / 4.0).abs() < 1e-9);
        assert_eq!(summary.requests.errors["rate_limited"], 1);
        assert_eq!(summary.requests.retry_after.sum_s, 7);
        assert_eq!(
            (summary.requests.planned, summary.requests.cancelled),
            (5, 2)
        );
    }
}

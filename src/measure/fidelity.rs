use std::time::Duration;

use serde::Serialize;

use super::arrival_process::{ArrivalMeter, ArrivalProcess};
use super::distribution::Distribution;
use super::fidelity_bar::FidelityBar;
use super::token_errors::{ErrorQuantiles, ErrorSum};
use crate::replay::{FailureKind, RequestOutcome, SendResult};
use crate::wording::{apart, counted_were};

/// How true a replay was to its trace, and whether its figures can be believed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Fidelity {
    /// Every bar was met: the figures are the target's, not the generator's.
    pub valid: bool,
    /// Actual − intended send.
    pub lateness_ms: Lateness,
    /// Mean of |prompt tokens − recorded| / recorded over requests where both are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_error: Option<f64>,
    /// How that error is distributed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_errors: Option<ErrorQuantiles>,
    /// The same for output tokens of requests that were answered whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_error: Option<f64>,
    /// How that error is distributed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_errors: Option<ErrorQuantiles>,
    /// How true the sends were to the arrivals that were meant, and what was offered against what was achieved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<ArrivalProcess>,
    /// Share of the trace's prompt tokens that repeat an earlier prompt's beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_share_recorded: Option<f64>,
    /// The same share as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_share_sent: Option<f64>,
    /// Share of prompt tokens that the engine says came from its prefix cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_share_cached: Option<f64>,
    /// 99th percentile of a 1 ms heartbeat's lateness beside the sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_p99_ms: Option<f64>,
    /// Share of the machine's cores that this process used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// The bars that it was held to.
    pub bar: FidelityBar,
    /// Why it is not valid; empty where it is.
    pub reasons: Vec<String>,
    /// What else a reader should know, of a valid run as of one that is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// What was sent otherwise than recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alterations: Vec<String>,
}

/// How late sends were.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lateness {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Latest.
    pub max: f64,
}

/// What the generator knows of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GeneratorEvidence {
    /// 99th percentile of the lateness of a 1 ms heartbeat on the threads that send.
    pub heartbeat_p99: Option<Duration>,
    /// Processor time used, as a share of all cores' time over the run.
    pub cpu_share: Option<f64>,
    /// Share of the trace's prompt tokens that repeat an earlier prompt's beginning.
    pub prefix_share_recorded: Option<f64>,
    /// The most prompt tokens that a target's own template puts before a prompt's words, which any request may find in a cache. `None` where a
    /// warm cache is no surprise.
    pub template_tokens: Option<u64>,
    /// What was sent otherwise than recorded, one sentence each.
    pub alterations: Vec<String>,
    /// What makes the run invalid beyond the bars, one sentence each.
    pub faults: Vec<String>,
    /// What else a reader should know (trace damage, dropped recordings), one sentence each.
    pub remarks: Vec<String>,
}

/// Gathers the evidence while outcomes come in.
#[derive(Debug, Default)]
pub(super) struct FidelityMeter {
    pub(super) lateness: Distribution,
    arrivals: ArrivalMeter,
    prompt: ErrorSum,
    output: ErrorSum,
    prompt_tokens: u64,
    shared_tokens: u64,
    cached_tokens: u64,
    /// Cached tokens beyond those that repeat an earlier prompt of the run, and the requests that had such.
    warm_tokens: u64,
    warm_requests: u64,
    told_cached: bool,
    dropped: u64,
}

impl FidelityMeter {
    pub(super) fn record(&mut self, outcome: &RequestOutcome) {
        self.arrivals.record(outcome);
        if let Some(sent) = outcome.sent_us {
            self.lateness
                .record(sent.saturating_sub(outcome.intended_us));
        }
        if outcome.result == SendResult::Failed(FailureKind::Dropped) {
            self.dropped += 1;
        }
        // Against what was asked for, where a recorded count was scaled.
        let asked = |recorded: Option<u32>, wanted: Option<u32>| recorded.and(wanted).or(recorded);
        self.prompt.add(
            outcome.prompt_tokens,
            asked(outcome.recorded_prompt_tokens, outcome.wanted_prompt_tokens),
        );
        if outcome.result == SendResult::Ok {
            self.output.add(
                outcome.output_tokens,
                asked(outcome.recorded_output_tokens, outcome.wanted_output_tokens),
            );
        }
        let prompt = outcome.prompt_tokens.or(outcome.recorded_prompt_tokens);
        self.prompt_tokens += u64::from(prompt.unwrap_or(0));
        self.shared_tokens += u64::from(outcome.planned_shared_tokens);
        if let Some(cached) = outcome.cached_tokens {
            let warm = cached.saturating_sub(outcome.planned_shared_tokens);
            self.cached_tokens += u64::from(cached);
            self.warm_tokens += u64::from(warm);
            self.warm_requests += u64::from(warm > 0);
            self.told_cached = true;
        }
    }

    pub(super) fn finish(
        self,
        evidence: GeneratorEvidence,
        bar: &FidelityBar,
        ttft_p50_ms: Option<f64>,
    ) -> Fidelity {
        let quantile = |q| self.lateness.quantile_ms(q).unwrap_or(0.0);
        let lateness_ms = Lateness {
            p50: quantile(0.5),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: quantile(1.0),
        };
        let share = |tokens: u64| {
            (self.prompt_tokens > 0).then(|| float(tokens) / float(self.prompt_tokens))
        };
        let prefix_share_sent = share(self.shared_tokens);
        let prompt_tokens_error = self.prompt.mean();
        let off = self.prompt.of_load();
        let arrivals = self.arrivals.finish();

        let mut faults = evidence.faults;
        let allowed_ms = (bar.lateness.as_secs_f64() * 1000.0)
            .max(bar.lateness_of_ttft * ttft_p50_ms.unwrap_or(0.0));
        if lateness_ms.p99 > allowed_ms {
            let (late, allowed) = apart((lateness_ms.p99, allowed_ms), milliseconds);
            faults.push(format!(
                "sends were {late} late at P99; {allowed} is allowed (the generator was the bottleneck)"
            ));
        }
        if let Some(arrivals) = &arrivals {
            let allowed = arrivals.ks_allowed(bar.ks_distance);
            if arrivals.ks_distance > allowed {
                let (distance, allowed) = apart((arrivals.ks_distance, allowed), |value, more| {
                    format!("{value:.*}", 2 + more)
                });
                faults.push(format!(
                    "the gaps between sends are not those that were meant: their Kolmogorov–Smirnov distance is {distance}; {allowed} is allowed"
                ));
            }
        }
        if self.dropped > 0 {
            faults.push(format!(
                "{} not sent: too many were in flight",
                counted_were(self.dropped, "request")
            ));
        }
        if let Some(share) = evidence.cpu_share.filter(|share| *share > bar.cpu_share) {
            let (used, allowed) = apart((share, bar.cpu_share), |share, more| {
                format!("{:.*} %", more, share * 100.0)
            });
            faults.push(format!(
                "the generator used {used} of its cores; {allowed} is allowed"
            ));
        }
        if off > bar.prompt_tokens_error {
            let (off, allowed) = apart((off, bar.prompt_tokens_error), percent);
            faults.push(format!(
                "prompts were {off} off in tokens; {allowed} is allowed"
            ));
        }
        if let (Some(recorded), Some(sent)) = (evidence.prefix_share_recorded, prefix_share_sent)
            && (recorded - sent).abs() > bar.prefix_share_error
        {
            let (recorded, sent) = apart((recorded, sent), percent);
            faults.push(format!(
                "{recorded} of prompt tokens repeated an earlier prompt in the trace, {sent} as sent"
            ));
        }
        let prefix_share_cached = self
            .told_cached
            .then(|| share(self.cached_tokens))
            .flatten();
        let mut remarks = evidence.remarks;
        let warm = evidence.template_tokens.and_then(|template| {
            share(
                self.warm_tokens
                    .saturating_sub(template * self.warm_requests),
            )
        });
        if let (Some(cached), Some(sent)) = (prefix_share_cached, prefix_share_sent)
            && warm > Some(bar.prefix_share_error)
        {
            let (cached, sent) = apart((cached, sent), percent);
            remarks.push(format!(
                "{cached} of prompt tokens came from the target's cache, and only {sent} repeat an earlier prompt of this run: it has answered these words before, so its TTFT is flattered (restart it, or give another --seed; --cache keep, where that is what you ask)"
            ));
        }
        Fidelity {
            valid: faults.is_empty(),
            lateness_ms,
            prompt_tokens_error,
            prompt_tokens_errors: self.prompt.quantiles(),
            output_tokens_error: self.output.mean(),
            output_tokens_errors: self.output.quantiles(),
            arrivals,
            prefix_share_recorded: evidence.prefix_share_recorded,
            prefix_share_sent,
            prefix_share_cached,
            heartbeat_p99_ms: evidence
                .heartbeat_p99
                .map(|late| late.as_secs_f64() * 1000.0),
            cpu_share: evidence.cpu_share,
            bar: *bar,
            reasons: faults,
            remarks,
            alterations: evidence.alterations,
        }
    }
}

fn milliseconds(ms: f64, more: usize) -> String {
    format!("{ms:.*} ms", 1 + more)
}

fn percent(share: f64, more: usize) -> String {
    format!("{:.*} %", 1 + more, share * 100.0)
}

#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::target::tests::outcome;

    fn judged(change: impl Fn(&mut RequestOutcome), evidence: GeneratorEvidence) -> Fidelity {
        let mut meter = FidelityMeter::default();
        for i in 0..100 {
            let mut outcome = outcome(i, i * 1000, 5000);
            change(&mut outcome);
            meter.record(&outcome);
        }
        meter.finish(evidence, &FidelityBar::default(), Some(100.0))
    }

    #[test]
    fn a_punctual_exact_run_is_valid() {
        let fidelity = judged(
            |_| (),
            GeneratorEvidence {
                prefix_share_recorded: Some(0.5),
                ..Default::default()
            },
        );
        assert!(
            fidelity.valid && fidelity.reasons.is_empty(),
            "{fidelity:?}"
        );
        assert_eq!(fidelity.prompt_tokens_error, Some(0.0));
        assert_eq!(fidelity.prefix_share_sent, Some(0.5));
    }

    #[test]
    fn a_prompt_shorter_than_the_template_does_not_make_a_replay_invalid() {
        let mut first = true;
        let cell = std::cell::RefCell::new(&mut first);
        let told = judged(
            |outcome| {
                if std::mem::take(&mut **cell.borrow_mut()) {
                    outcome.recorded_prompt_tokens = Some(2);
                    outcome.wanted_prompt_tokens = Some(2);
                    outcome.prompt_tokens = Some(8);
                }
            },
            GeneratorEvidence::default(),
        );
        assert!(told.valid, "{told:?}");
        assert_eq!(told.prompt_tokens_error, Some(0.03));
    }

    /// A target whose template has twelve tokens.
    fn held() -> GeneratorEvidence {
        GeneratorEvidence {
            template_tokens: Some(12),
            ..GeneratorEvidence::default()
        }
    }

    #[test]
    fn a_cache_that_was_warm_before_the_run_is_told() {
        let told = judged(|outcome| outcome.cached_tokens = Some(90), held());
        assert!(
            told.remarks[0].contains("answered these words before"),
            "{told:?}"
        );
        assert!(told.valid && told.reasons.is_empty(), "{told:?}");
        let honest = judged(|outcome| outcome.cached_tokens = Some(50), held());
        assert_eq!(honest.remarks, Vec::<String>::new());
        let template = judged(|outcome| outcome.cached_tokens = Some(60), held());
        assert_eq!(
            template.remarks,
            Vec::<String>::new(),
            "any prompt begins with it"
        );
        let asked = judged(
            |outcome| outcome.cached_tokens = Some(90),
            GeneratorEvidence::default(),
        );
        assert_eq!(asked.remarks, Vec::<String>::new(), "--cache keep");
    }

    #[test]
    fn a_remark_is_no_reason_against_a_run() {
        let remarked = |faults: &[&str]| {
            let evidence = GeneratorEvidence {
                faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
                remarks: vec!["the trace lacks a file".to_owned()],
                ..GeneratorEvidence::default()
            };
            judged(|_| (), evidence)
        };
        let fine = remarked(&[]);
        assert!(fine.valid && fine.reasons.is_empty(), "{fine:?}");
        assert_eq!(fine.remarks, ["the trace lacks a file"]);
        let stopped = remarked(&["the run was stopped"]);
        assert!(!stopped.valid);
        assert_eq!(stopped.reasons, ["the run was stopped"]);
        assert_eq!(stopped.remarks, ["the trace lacks a file"]);
    }

    #[test]
    fn a_fault_by_little_is_seen_to_be_one() {
        let none = GeneratorEvidence::default;
        let late = judged(
            |outcome| outcome.sent_us = Some(outcome.intended_us + 5040),
            none(),
        );
        assert!(
            late.reasons[0].contains("were 5.04 ms late at P99; 5.00 ms is"),
            "{late:?}"
        );
        let busy = GeneratorEvidence {
            cpu_share: Some(0.6001),
            ..none()
        };
        let busy = judged(|_| (), busy);
        assert!(
            busy.reasons[0].contains("60.01 % of its cores; 60.00 % is"),
            "{busy:?}"
        );
    }

    #[test]
    fn each_fault_makes_it_invalid_and_is_said() {
        let none = GeneratorEvidence::default;
        let late = judged(
            |outcome| outcome.sent_us = Some(outcome.intended_us + 9000),
            none(),
        );
        assert!(
            !late.valid && late.reasons[0].contains("9.0 ms late"),
            "{late:?}"
        );
        let off = judged(|outcome| outcome.prompt_tokens = Some(110), none());
        assert!(
            !off.valid && off.reasons[0].contains("10.0 % off"),
            "{off:?}"
        );
        let busy = judged(
            |_| (),
            GeneratorEvidence {
                cpu_share: Some(0.9),
                ..none()
            },
        );
        assert!(!busy.valid && busy.reasons[0].contains("90 %"), "{busy:?}");
        let unshared = judged(
            |_| (),
            GeneratorEvidence {
                prefix_share_recorded: Some(0.9),
                ..none()
            },
        );
        assert!(
            !unshared.valid && unshared.reasons[0].contains("90.0 %"),
            "{unshared:?}"
        );
        let dropped = judged(
            |outcome| {
                outcome.sent_us = None;
                outcome.result = SendResult::Failed(FailureKind::Dropped);
            },
            none(),
        );
        assert!(
            !dropped.valid && dropped.reasons[0].contains("100 requests were not sent"),
            "{dropped:?}"
        );
    }
}

//! A campaign's figures while it runs, for Prometheus: what has been sent to each target and what became of it.

mod counted;
mod serve;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::audience::Ticket;
use crate::exposition::{Buckets, DURATION, FIRST_TOKEN, INTER_TOKEN, seconds};
use crate::measure::{Distribution, Latencies};
use crate::replay::{FailureKind, Progress, RequestOutcome, SendResult};
use counted::{Counted, InFlight};
pub use serve::Served;

/// What a campaign's runs come to while they run. Cheap to clone; one run's thread writes at a time, or several of one round.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    registry: Registry,
    durations: Family<ByCode, Histogram, Buckets>,
    first_tokens: Family<ByTarget, Histogram, Buckets>,
    gaps: Family<ByTarget, Histogram, Buckets>,
    targets: Targets,
}

/// By name.
type Targets = Arc<Mutex<BTreeMap<String, Account>>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    target: String,
    /// The status; 0 where there was none.
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTarget {
    target: String,
}

/// What is known of one target.
#[derive(Default)]
struct Account {
    /// Runs, the one that is under way with them.
    runs: u64,
    /// Of the run that is under way, or was the last.
    planned: u64,
    progress: Progress,
    latencies: Latencies,
    lateness: Distribution,
    /// Of all runs.
    sent_before: u64,
    ok: u64,
    cancelled: u64,
    failed: BTreeMap<&'static str, u64>,
    dropped: u64,
}

impl Default for Live {
    fn default() -> Self {
        let targets = Targets::default();
        let mut registry = Registry::default();
        let (durations, first_tokens, gaps) = (
            Family::new_with_constructor(Buckets),
            Family::new_with_constructor(Buckets),
            Family::new_with_constructor(Buckets),
        );
        registry.register(
            DURATION,
            "From the instant at which a request should have been sent to the end of its answer; code 0 is no answer",
            Family::clone(&durations),
        );
        registry.register(
            FIRST_TOKEN,
            "From the instant at which a request should have been sent to the first token of its streamed answer",
            Family::clone(&first_tokens),
        );
        registry.register(
            INTER_TOKEN,
            "Gaps between successive token events of streamed answers",
            Family::clone(&gaps),
        );
        registry.register_collector(Box::new(Counted(Arc::clone(&targets))));
        registry.register_collector(Box::new(InFlight(Arc::clone(&targets))));
        Self(Arc::new(Inner {
            registry,
            durations,
            first_tokens,
            gaps,
            targets,
        }))
    }
}

impl Live {
    /// A run begins.
    pub fn begin(&self, ticket: &Ticket, progress: &Progress) {
        let mut targets = self.targets();
        let account = targets.entry(ticket.target.clone()).or_default();
        account.runs += 1;
        account.sent_before += account.progress.sent();
        account.planned = ticket.planned;
        account.progress = progress.clone();
        account.latencies = Latencies::default();
        account.lateness = Distribution::default();
    }

    /// A request of it is over.
    pub fn record(&self, target: &str, outcome: &RequestOutcome) {
        let by_target = ByTarget {
            target: target.to_owned(),
        };
        let by_code = ByCode {
            target: target.to_owned(),
            code: outcome.status.unwrap_or(0),
        };
        let since = |us: u64| seconds(us.saturating_sub(outcome.intended_us));
        (self.0.durations.get_or_create(&by_code)).observe(since(outcome.end_us));
        if let Some(first_us) = outcome.first_token_us.filter(|_| outcome.stream) {
            (self.0.first_tokens.get_or_create(&by_target)).observe(since(first_us));
        }
        if !outcome.gaps_us.is_empty() {
            let gaps = self.0.gaps.get_or_create(&by_target);
            for &gap_us in &outcome.gaps_us {
                gaps.observe(seconds(gap_us.into()));
            }
        }
        let mut targets = self.targets();
        let account = targets.entry(by_target.target).or_default();
        match outcome.result {
            SendResult::Ok => account.ok += 1,
            SendResult::Cancelled => account.cancelled += 1,
            SendResult::Failed(FailureKind::Dropped) => account.dropped += 1,
            SendResult::Failed(kind) => *account.failed.entry(kind.name()).or_default() += 1,
        }
        account.latencies.record(outcome);
        if let Some(sent_us) = outcome.sent_us {
            account
                .lateness
                .record(sent_us.saturating_sub(outcome.intended_us));
        }
    }

    fn targets(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Account>> {
        self.0
            .targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::campaign::Place;
    use crate::exposition::page;

    fn outcome(index: u64, result: SendResult) -> RequestOutcome {
        RequestOutcome {
            index,
            intended_us: 1_000_000,
            sent_us: Some(1_000_200),
            first_token_us: Some(1_050_000),
            end_us: 1_090_000,
            stream: true,
            status: Some(200),
            gaps_us: vec![10_000, 30_000],
            result,
            ..RequestOutcome::default()
        }
    }

    fn ticket() -> Ticket {
        Ticket {
            name: "a, 2× speed".to_owned(),
            target: "a".to_owned(),
            planned: 7,
            span: Duration::ZERO,
            place: Place::Run { number: 1, of: 2 },
        }
    }

    fn shown(live: &Live) -> String {
        page(&live.0.registry, std::iter::empty()).unwrap().0
    }

    #[test]
    fn what_became_of_requests_is_shown_by_target() {
        let live = Live::default();
        live.begin(&ticket(), &Progress::default());
        for index in 0..3 {
            live.record("a", &outcome(index, SendResult::Ok));
        }
        live.record("a", &outcome(3, SendResult::Failed(FailureKind::Timeout)));
        live.record("a", &outcome(4, SendResult::Failed(FailureKind::Dropped)));
        live.record("a", &outcome(5, SendResult::Cancelled));
        let page = shown(&live);
        for line in [
            r#"reenact_replay_planned{target="a"} 7"#,
            r#"reenact_replay_ok_total{target="a"} 3"#,
            r#"reenact_replay_failed_total{target="a",kind="timeout"} 1"#,
            r#"reenact_replay_dropped_total{target="a"} 1"#,
            r#"reenact_replay_cancelled_total{target="a"} 1"#,
            r#"reenact_replay_ttft_seconds{target="a",stat="p50"} 0.05"#,
            // Two of five requests failed.
            r#"reenact_replay_e2e_seconds{target="a",stat="p90"} +Inf"#,
            r#"inference_inter_token_seconds_count{target="a"} 12"#,
            r#"inference_duration_seconds_count{target="a",code="200"} 6"#,
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
        let late = r#"reenact_replay_lateness_seconds{target="a",stat="p99"} 0.0002"#;
        assert!(page.contains(late), "{page}");
    }

    #[test]
    fn counters_go_on_and_quantiles_begin_anew_with_each_run() {
        let live = Live::default();
        live.begin(&ticket(), &Progress::default());
        live.record("a", &outcome(0, SendResult::Ok));
        live.begin(&ticket(), &Progress::default());
        let page = shown(&live);
        assert!(page.contains(r#"reenact_replay_ok_total{target="a"} 1"#));
        assert!(page.contains(r#"reenact_replay_runs_total{target="a"} 2"#));
        assert!(!page.contains("reenact_replay_ttft_seconds{"), "{page}");
    }
}

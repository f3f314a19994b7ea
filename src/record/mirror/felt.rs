//! What the candidate's answers felt like, and production's to the same requests.

use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram as Whole;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::exposition::{Buckets, seconds};
use crate::shape::GapSketch;

/// Why a request was not sent, or has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The queue was full.
    QueueFull,
    /// The bound on bytes was reached.
    Memory,
    /// The candidate has as many requests open as it may.
    Busy,
    /// No connection.
    Connect,
    /// It broke off, or spoke no HTTP.
    Reset,
    /// It was silent for too long.
    Timeout,
    /// Its answer ended before its end.
    Truncated,
    /// The recorder ended before its answer did.
    Open,
}

impl Lost {
    /// Those that the metrics page counts: what is open when the recorder ends, nobody scrapes.
    const COUNTED: [Self; 7] = [
        Self::QueueFull,
        Self::Memory,
        Self::Busy,
        Self::Connect,
        Self::Reset,
        Self::Timeout,
        Self::Truncated,
    ];

    /// Its name in metrics and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Memory => "memory",
            Self::Busy => "busy",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Truncated => "truncated",
            Self::Open => "open",
        }
    }

    /// Whether it was sent nothing at all, for want of room.
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::QueueFull | Self::Memory | Self::Busy)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    target: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    target: String,
    reason: &'static str,
}

/// The figures, as the metrics page has them, and their quantiles for the end.
pub(super) struct Felt {
    name: String,
    durations: Family<ByCode, Histogram, Buckets>,
    first_tokens: Family<By, Histogram, Buckets>,
    gaps: Family<By, Histogram, Buckets>,
    dropped: Family<ByReason, Counter>,
    failed: Family<ByReason, Counter>,
    whole: Mutex<[Side; 2]>,
}

/// One side's figures.
#[derive(Default)]
struct Side {
    answered: u64,
    lost: u64,
    dropped: u64,
    first_token: Option<Whole<u64>>,
    duration: Option<Whole<u64>>,
}

/// Production's label.
const PRODUCTION: &str = "production";

impl Felt {
    pub(super) fn new(name: &str, registry: &mut Registry) -> Self {
        let felt = Self {
            name: name.to_owned(),
            durations: Family::new_with_constructor(Buckets),
            first_tokens: Family::new_with_constructor(Buckets),
            gaps: Family::new_with_constructor(Buckets),
            dropped: Family::default(),
            failed: Family::default(),
            whole: Mutex::default(),
        };
        registry.register(
            "reenact_mirror_duration_seconds",
            "From a mirrored request to the end of its answer, by the mirror and (target production) by production",
            felt.durations.clone(),
        );
        registry.register(
            "reenact_mirror_time_to_first_token_seconds",
            "From a mirrored request to the first token of its streamed answer",
            felt.first_tokens.clone(),
        );
        registry.register(
            "reenact_mirror_inter_token_seconds",
            "Gaps between successive token events of streamed answers to mirrored requests",
            felt.gaps.clone(),
        );
        registry.register(
            "reenact_mirror_dropped",
            "Requests that were to be mirrored and were not sent, by reason",
            felt.dropped.clone(),
        );
        registry.register(
            "reenact_mirror_failed",
            "Mirrored requests that the mirror did not answer to the end, by reason",
            felt.failed.clone(),
        );
        // From 0: a counter that appears with its first event has no rate that shows it.
        for lost in Lost::COUNTED {
            felt.counter(lost, name);
        }
        felt.counter(Lost::Truncated, PRODUCTION);
        felt
    }

    /// An answer of the candidate's.
    pub(super) fn candidate(
        &self,
        code: u16,
        first_us: Option<u64>,
        gaps: &GapSketch,
        end_us: u64,
    ) {
        self.note(0, code, first_us, gaps, end_us);
    }

    /// Production's answer to a request that was mirrored.
    pub(super) fn production(
        &self,
        code: u16,
        first_us: Option<u64>,
        gaps: &GapSketch,
        end_us: u64,
    ) {
        self.note(1, code, first_us, gaps, end_us);
    }

    /// Production's answer to a request that was mirrored ended before its end.
    pub(super) fn production_lost(&self) {
        self.counter(Lost::Truncated, PRODUCTION).inc();
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let [_, side] = &mut *whole;
        side.lost += 1;
    }

    /// A request that has no answer.
    pub(super) fn lose(&self, lost: Lost) {
        self.counter(lost, &self.name).inc();
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let [side, _] = &mut *whole;
        if lost.is_drop() {
            side.dropped += 1;
        } else {
            side.lost += 1;
        }
    }

    /// What counts the requests of a side that ended so.
    fn counter(&self, lost: Lost, target: &str) -> Counter {
        let labels = ByReason {
            target: target.to_owned(),
            reason: lost.name(),
        };
        let family = match lost.is_drop() {
            true => &self.dropped,
            false => &self.failed,
        };
        family.get_or_create(&labels).clone()
    }

    fn note(&self, which: usize, code: u16, first_us: Option<u64>, gaps: &GapSketch, end_us: u64) {
        let target = if which == 0 {
            self.name.as_str()
        } else {
            PRODUCTION
        };
        let by = By {
            target: target.to_owned(),
        };
        if let Some(first_us) = first_us {
            self.first_tokens
                .get_or_create(&by)
                .observe(seconds(first_us));
        }
        let of_gaps = self.gaps.get_or_create(&by);
        for (gap_us, count) in gaps.values() {
            (0..count).for_each(|_| of_gaps.observe(seconds(gap_us)));
        }
        drop(of_gaps);
        let by_code = ByCode {
            target: by.target,
            // What a foreign server makes up must not make labels without end.
            code: if (100..600).contains(&code) { code } else { 0 },
        };
        self.durations
            .get_or_create(&by_code)
            .observe(seconds(end_us));
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(side) = whole.get_mut(which) else {
            return;
        };
        if !(200..300).contains(&code) {
            side.lost += 1;
            return;
        }
        side.answered += 1;
        record(&mut side.duration, end_us);
        if let Some(first_us) = first_us {
            record(&mut side.first_token, first_us);
        }
    }

    /// Both sides in one line of the log.
    pub(super) fn say(&self) {
        let whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let [candidate, production] = &*whole;
        tracing::info!(
            mirror = self.name,
            answered = candidate.answered,
            failed = candidate.lost,
            dropped = candidate.dropped,
            ttft_p50_ms = quantile(candidate.first_token.as_ref(), 0.5),
            ttft_p99_ms = quantile(candidate.first_token.as_ref(), 0.99),
            e2e_p50_ms = quantile(candidate.duration.as_ref(), 0.5),
            e2e_p99_ms = quantile(candidate.duration.as_ref(), 0.99),
            production_answered = production.answered,
            production_failed = production.lost,
            production_ttft_p50_ms = quantile(production.first_token.as_ref(), 0.5),
            production_ttft_p99_ms = quantile(production.first_token.as_ref(), 0.99),
            production_e2e_p50_ms = quantile(production.duration.as_ref(), 0.5),
            production_e2e_p99_ms = quantile(production.duration.as_ref(), 0.99),
            "mirrored"
        );
    }
}

/// Within 1 %, up to an hour; what took longer counts as an hour.
fn record(whole: &mut Option<Whole<u64>>, us: u64) {
    if whole.is_none() {
        *whole = Whole::new_with_bounds(1, HOUR_US, 2).ok();
    }
    if let Some(whole) = whole {
        whole.saturating_record(us.clamp(1, HOUR_US));
    }
}

const HOUR_US: u64 = 3_600_000_000;

/// In milliseconds, to the microsecond: divided once, since what is put together of seconds ends in digits that nobody measured.
fn quantile(whole: Option<&Whole<u64>>, at: f64) -> Option<f64> {
    let whole = whole.filter(|whole| !whole.is_empty())?;
    #[allow(clippy::cast_precision_loss, reason = "an hour at most")]
    Some(whole.value_at_quantile(at) as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn both_sides_stand_on_the_page_and_labels_are_bounded() {
        let mut registry = Registry::default();
        let felt = Felt::new("next", &mut registry);
        felt.candidate(200, Some(2000), &GapSketch::default(), 9000);
        felt.production(200, Some(1000), &GapSketch::default(), 5000);
        felt.candidate(999, None, &GapSketch::default(), 1);
        felt.lose(Lost::Busy);
        felt.lose(Lost::Timeout);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        for line in [
            "reenact_mirror_duration_seconds_count{target=\"next\",code=\"200\"} 1",
            "reenact_mirror_duration_seconds_count{target=\"production\",code=\"200\"} 1",
            "reenact_mirror_duration_seconds_count{target=\"next\",code=\"0\"} 1",
            "reenact_mirror_dropped_total{target=\"next\",reason=\"busy\"} 1",
            "reenact_mirror_failed_total{target=\"next\",reason=\"timeout\"} 1",
            "reenact_mirror_dropped_total{target=\"next\",reason=\"queue_full\"} 0",
            "reenact_mirror_dropped_total{target=\"next\",reason=\"memory\"} 0",
            "reenact_mirror_failed_total{target=\"next\",reason=\"connect\"} 0",
            "reenact_mirror_failed_total{target=\"production\",reason=\"truncated\"} 0",
        ] {
            assert!(page.contains(line), "{line} not in {page}");
        }
        let whole = felt.whole.lock().unwrap();
        assert_eq!(
            (whole[0].answered, whole[0].lost, whole[0].dropped),
            (1, 2, 1)
        );
        let p99 = quantile(whole[1].duration.as_ref(), 0.99).unwrap();
        assert!((p99 - 5.0).abs() < 0.05, "{p99}");
    }

    #[test]
    fn what_is_logged_has_no_digits_beyond_the_microsecond() {
        for us in [999, 5_000, 27_134, 1_234_567] {
            let mut whole = None;
            record(&mut whole, us);
            let told = quantile(whole.as_ref(), 0.5).unwrap().to_string();
            let digits = told.split_once('.').map_or(0, |(_, digits)| digits.len());
            assert!(digits <= 3, "{told}");
        }
    }
}

//! How true the sends were to the arrivals that were meant.

use serde::Serialize;

use super::extent::Extent;
use crate::replay::RequestOutcome;

/// The sends beside the intended arrivals.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ArrivalProcess {
    /// Kolmogorov–Smirnov distance between the gaps of intended and of actual sends, where gaps closer than 1 ms count as
    /// equal (else any jitter would tell a steady rate from itself): 0 is the same process, 1 another altogether.
    pub ks_distance: f64,
    /// Requests that it was taken over: the first 262,144 of a longer run.
    pub ks_requests: u64,
    /// Mean over seconds of |sent − intended| requests, as a share of those intended.
    pub rate_error_mean: f64,
    /// The largest over seconds in which at least ten were intended.
    pub rate_error_max: f64,
    /// Requests a second that the trace alone asked for, first to last.
    pub offered_per_s: f64,
    /// Requests a second that were sent, first to last. Less than offered where conversations waited for slow answers, and where some
    /// could not be sent.
    pub achieved_per_s: f64,
    /// Tokens a second (prompts and answers, as recorded) that the trace alone asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_tokens_per_s: Option<f64>,
    /// The same tokens over the time in which they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub achieved_tokens_per_s: Option<f64>,
    /// By how much later than the trace alone would have them later turns of conversations were due, in the mean over all requests.
    /// Seconds; negative where the target answers faster than production did.
    pub slip_mean_s: f64,
}

/// Adds up sends in bounded memory: 4 MiB for gaps, and eight bytes for each second up to 36 hours.
#[derive(Debug, Default)]
pub(super) struct ArrivalMeter {
    moments: Vec<(u64, u64)>,
    seconds: Vec<(u32, u32)>,
    planned: Extent,
    sent: Extent,
    tokens: u64,
    sent_requests: u64,
    sent_tokens: u64,
    slip_us: i128,
    requests: u64,
}

impl ArrivalProcess {
    /// The distance that is allowed where `bar` is over many requests: of a few, one late send changes a share of the gaps that is
    /// more, and how late it may be is another bar's matter.
    pub(super) fn ks_allowed(&self, bar: f64) -> f64 {
        let gaps = self.ks_requests.saturating_sub(1).max(1);
        bar.max(1.5 / float(gaps))
    }

    /// Several runs of one plan: rates and the mean errors are means over runs, distances and largest errors those of the worst.
    pub(super) fn pooled(runs: &[&Self]) -> Option<Self> {
        let count = float(runs.len() as u64);
        let mean = |value: fn(&Self) -> f64| runs.iter().map(|run| value(run)).sum::<f64>() / count;
        let mean_of_told = |value: fn(&Self) -> Option<f64>| {
            let told: Option<Vec<f64>> = runs.iter().map(|run| value(run)).collect();
            told.map(|told| told.iter().sum::<f64>() / count)
        };
        let worst = runs
            .iter()
            .max_by(|a, b| a.ks_distance.total_cmp(&b.ks_distance))?;
        Some(Self {
            ks_distance: worst.ks_distance,
            ks_requests: worst.ks_requests,
            rate_error_mean: mean(|run| run.rate_error_mean),
            rate_error_max: runs
                .iter()
                .map(|run| run.rate_error_max)
                .fold(0.0, f64::max),
            offered_per_s: mean(|run| run.offered_per_s),
            achieved_per_s: mean(|run| run.achieved_per_s),
            offered_tokens_per_s: mean_of_told(|run| run.offered_tokens_per_s),
            achieved_tokens_per_s: mean_of_told(|run| run.achieved_tokens_per_s),
            slip_mean_s: mean(|run| run.slip_mean_s),
        })
    }
}

impl ArrivalMeter {
    pub(super) fn record(&mut self, outcome: &RequestOutcome) {
        let intended = outcome.intended_us;
        self.count(intended, |second| second.0 += 1);
        self.planned.add(outcome.planned_us);
        self.requests += 1;
        self.slip_us += i128::from(intended) - i128::from(outcome.planned_us);
        let tokens = u64::from(outcome.recorded_prompt_tokens.unwrap_or(0))
            + u64::from(outcome.recorded_output_tokens.unwrap_or(0));
        self.tokens += tokens;
        let Some(sent) = outcome.sent_us else {
            return;
        };
        self.sent_requests += 1;
        self.sent_tokens += tokens;
        self.count(sent, |second| second.1 += 1);
        self.sent.add(sent);
        if outcome.index < MOST_GAPS {
            self.moments.push((intended, sent));
        }
    }

    fn count(&mut self, us: u64, add: impl FnOnce(&mut (u32, u32))) {
        let second = usize::try_from(us / 1_000_000).unwrap_or(usize::MAX);
        if second >= MOST_SECONDS {
            return;
        }
        if second >= self.seconds.len() {
            self.seconds.resize(second + 1, (0, 0));
        }
        if let Some(counts) = self.seconds.get_mut(second) {
            add(counts);
        }
    }

    /// `None` where nothing was sent.
    pub(super) fn finish(mut self) -> Option<ArrivalProcess> {
        if self.sent.is_empty() {
            return None;
        }
        let gaps = |mut moments: Vec<u64>| -> Vec<u64> {
            moments.sort_unstable();
            let mut gaps: Vec<u64> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
            gaps.sort_unstable();
            gaps
        };
        let moments = std::mem::take(&mut self.moments);
        let ks_requests = moments.len() as u64;
        let (intended, sent): (Vec<u64>, Vec<u64>) = moments.into_iter().unzip();
        let (rate_error_mean, rate_error_max) = rate_errors(&self.seconds);
        let per_s = |count: u64, span: &Extent| {
            let seconds = span.seconds();
            if seconds > 0.0 {
                float(count) / seconds
            } else {
                0.0
            }
        };
        let tokens = |count, span| (self.tokens > 0).then(|| per_s(count, span));
        #[allow(clippy::cast_precision_loss, reason = "a mean, in seconds")]
        let slip_mean_s = self.slip_us as f64 / float(self.requests.max(1)) / 1e6;
        Some(ArrivalProcess {
            ks_distance: ks_distance(&gaps(intended), &gaps(sent), RESOLUTION_US),
            ks_requests,
            rate_error_mean,
            rate_error_max,
            offered_per_s: per_s(self.requests, &self.planned),
            achieved_per_s: per_s(self.sent_requests, &self.sent),
            offered_tokens_per_s: tokens(self.tokens, &self.planned),
            achieved_tokens_per_s: tokens(self.sent_tokens, &self.sent),
            slip_mean_s,
        })
    }
}

/// The Kolmogorov–Smirnov distance of two sorted samples, each value good to within `resolution`: the largest share of one sample that lies
/// below where the other, moved by that much, has it.
fn ks_distance(a: &[u64], b: &[u64], resolution: u64) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    // F_a(x) − F_b(x + resolution), which is largest right at a value of `a`.
    let above = |a: &[u64], b: &[u64]| {
        let mut passed = 0;
        let mut most = 0.0_f64;
        for (below, &value) in (1..).zip(a) {
            while b
                .get(passed)
                .is_some_and(|&other| other <= value.saturating_add(resolution))
            {
                passed += 1;
            }
            most = most.max(share(below, a.len()) - share(passed, b.len()));
        }
        most
    };
    above(a, b).max(above(b, a))
}

/// Mean over all seconds, and the largest of those with ten intended sends or more.
fn rate_errors(seconds: &[(u32, u32)]) -> (f64, f64) {
    let (mut off, mut intended, mut most) = (0_u64, 0_u64, 0.0_f64);
    for &(meant, sent) in seconds {
        let difference = meant.abs_diff(sent);
        off += u64::from(difference);
        intended += u64::from(meant);
        if meant >= 10 {
            most = most.max(f64::from(difference) / f64::from(meant));
        }
    }
    (float(off) / float(intended.max(1)), most)
}

#[allow(clippy::cast_precision_loss, reason = "lengths stay below 2^53")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

const MOST_GAPS: u64 = 1 << 18;
const MOST_SECONDS: usize = 1 << 17;
const RESOLUTION_US: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn process(sends: impl Iterator<Item = (u64, u64)>) -> ArrivalProcess {
        let mut meter = ArrivalMeter::default();
        for (index, (intended, sent)) in (0..).zip(sends) {
            meter.record(&RequestOutcome {
                index,
                planned_us: intended,
                intended_us: intended,
                sent_us: Some(sent),
                ..RequestOutcome::default()
            });
        }
        meter.finish().unwrap()
    }

    #[test]
    fn punctual_sends_are_the_same_process_jitter_included() {
        let jittered = process((0..5000_u64).map(|i| (i * 10_000, i * 10_000 + i * 37 % 200)));
        assert_eq!((jittered.ks_distance, jittered.rate_error_mean), (0.0, 0.0));
        assert!((jittered.offered_per_s - 100.0).abs() < 0.1);
    }

    #[test]
    fn bunched_sends_are_another_process() {
        // A client that wakes every 100 ms only.
        let bunched = process((0..5000_u64).map(|i| {
            let intended = i * 10_000;
            (intended, intended.div_ceil(100_000) * 100_000)
        }));
        assert!(bunched.ks_distance > 0.8, "{bunched:?}");
        // And one that stands still for two seconds.
        let stalled = process((0..5000_u64).map(|i| {
            let intended = i * 10_000;
            let stalled = (20_000_000..22_000_000).contains(&intended);
            (intended, if stalled { 22_000_000 } else { intended })
        }));
        assert!(stalled.rate_error_max >= 1.0, "{stalled:?}");
        assert!(
            (stalled.rate_error_mean - 0.08).abs() < 0.001,
            "{stalled:?}"
        );
    }

    #[test]
    fn one_late_send_of_a_few_is_no_other_process() {
        let late = |sends: &'static [u64]| {
            process((0..8_u64).map(|i| {
                let late_us = if sends.contains(&i) { 1_500 } else { 0 };
                (i * i * 50_000, i * i * 50_000 + late_us)
            }))
        };
        let one = late(&[3]);
        assert!(one.ks_distance > 0.1, "{one:?}");
        assert!(one.ks_distance <= one.ks_allowed(0.1), "{one:?}");
        let bunched = process((0..8_u64).map(|i| (i * 50_000, i / 4 * 200_000)));
        assert!(bunched.ks_distance > bunched.ks_allowed(0.1), "{bunched:?}");
        let many = process((0..5000_u64).map(|i| (i, i)));
        assert_eq!(many.ks_allowed(0.1), 0.1);
    }

    #[test]
    fn conversations_that_wait_for_slow_answers_slip() {
        let mut meter = ArrivalMeter::default();
        for index in 0..100 {
            meter.record(&RequestOutcome {
                index,
                planned_us: index * 100_000,
                intended_us: index * 120_000,
                sent_us: Some(index * 120_000),
                recorded_prompt_tokens: Some(1000),
                ..RequestOutcome::default()
            });
        }
        let told = meter.finish().unwrap();
        assert!((told.slip_mean_s - 0.99).abs() < 0.001, "{told:?}");
        assert!((told.achieved_per_s / told.offered_per_s - 1.0 / 1.2).abs() < 1e-9);
    }

    #[test]
    fn what_could_not_be_sent_was_offered_and_not_achieved() {
        let mut meter = ArrivalMeter::default();
        for index in 0..100 {
            meter.record(&RequestOutcome {
                index,
                planned_us: index * 100_000,
                intended_us: index * 100_000,
                sent_us: (index % 2 == 0 || index == 99).then_some(index * 100_000),
                recorded_prompt_tokens: Some(1000),
                ..RequestOutcome::default()
            });
        }
        let told = meter.finish().unwrap();
        let share = |achieved: f64, offered: f64| (achieved / offered * 100.0).round();
        assert_eq!(share(told.achieved_per_s, told.offered_per_s), 51.0);
        let tokens = told.achieved_tokens_per_s.zip(told.offered_tokens_per_s);
        assert_eq!(
            tokens.map(|(achieved, offered)| share(achieved, offered)),
            Some(51.0)
        );
    }

    #[test]
    fn the_distance_is_that_of_kolmogorov_and_smirnov() {
        assert_eq!(ks_distance(&[1, 2, 3, 4], &[3, 4, 5, 6], 0), 0.5);
        assert_eq!(ks_distance(&[1, 2, 3, 4], &[3, 4, 5, 6], 2), 0.0);
        assert_eq!(ks_distance(&[1, 2], &[100, 200], 10), 1.0);
    }
}

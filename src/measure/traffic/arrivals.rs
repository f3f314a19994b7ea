use serde::{Deserialize, Serialize};

use super::ratio;

/// How exchanges arrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Exchanges per second of the span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_per_s: Option<f64>,
    /// Rate of the busiest second (windows begin every tenth of one); absent where the span is no second long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_1s_per_s: Option<f64>,
    /// Rate of the busiest ten seconds (windows begin every second), likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_10s_per_s: Option<f64>,
    /// Coefficient of variation of the times between arrivals: 1 for Poisson traffic, more for bursts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interarrival_cv: Option<f64>,
    /// Index of dispersion (variance over mean) of the counts in whole seconds: 1 for Poisson traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispersion_1s: Option<f64>,
    /// The same in windows of 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispersion_10s: Option<f64>,
    /// The same in windows of 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispersion_60s: Option<f64>,
}

pub(super) struct ArrivalMeter {
    count: u64,
    first_us: u64,
    last_us: u64,
    gaps: Variance,
    peak_1s: SlidingPeak,
    peak_10s: SlidingPeak,
    windows: [WindowCounts; 3],
}

const SECOND_US: u64 = 1_000_000;

impl Default for ArrivalMeter {
    fn default() -> Self {
        Self {
            count: 0,
            first_us: 0,
            last_us: 0,
            gaps: Variance::default(),
            peak_1s: SlidingPeak::new(SECOND_US),
            peak_10s: SlidingPeak::new(10 * SECOND_US),
            windows: [1, 10, 60].map(|seconds| WindowCounts::new(seconds * SECOND_US)),
        }
    }
}

impl ArrivalMeter {
    /// Adds an arrival; they must come in order.
    pub(super) fn add(&mut self, at_us: u64) {
        if self.count == 0 {
            self.first_us = at_us;
        } else {
            self.gaps.add(at_us.saturating_sub(self.last_us));
        }
        self.count += 1;
        self.last_us = at_us;
        let since_us = at_us.saturating_sub(self.first_us);
        self.peak_1s.add(since_us);
        self.peak_10s.add(since_us);
        for window in &mut self.windows {
            window.add(since_us);
        }
    }

    /// The span in seconds, and the statistics.
    #[allow(clippy::cast_precision_loss, reason = "for display")]
    pub(super) fn finish(self) -> (f64, Arrivals) {
        let span_us = self.last_us - self.first_us;
        let dispersion = |window: &WindowCounts| window.dispersion(span_us);
        let [second, ten, minute] = &self.windows;
        let arrivals = Arrivals {
            mean_per_s: ratio(self.count, span_us).map(|per_us| per_us * 1e6),
            peak_1s_per_s: self.peak_1s.rate(span_us),
            peak_10s_per_s: self.peak_10s.rate(span_us),
            interarrival_cv: self.gaps.cv(),
            dispersion_1s: dispersion(second),
            dispersion_10s: dispersion(ten),
            dispersion_60s: dispersion(minute),
        };
        (span_us as f64 / 1e6, arrivals)
    }
}

/// Mean and variance in one pass (Welford).
#[derive(Default)]
struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Variance {
    #[allow(clippy::cast_precision_loss, reason = "a gap in microseconds")]
    fn add(&mut self, value: u64) {
        let value = value as f64;
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn cv(&self) -> Option<f64> {
        let deviation = (self.squares / (self.count - 1.0)).sqrt();
        (self.count >= 2.0 && self.mean > 0.0).then(|| deviation / self.mean)
    }
}

/// The most arrivals in a window of ten steps, over all windows that begin at a step.
struct SlidingPeak {
    step_us: u64,
    step: u64,
    ring: [u64; 10],
    peak: u64,
}

impl SlidingPeak {
    fn new(window_us: u64) -> Self {
        Self {
            step_us: window_us / 10,
            step: 0,
            ring: [0; 10],
            peak: 0,
        }
    }

    fn add(&mut self, since_us: u64) {
        let step = since_us / self.step_us;
        if step - self.step >= 10 {
            self.ring = [0; 10];
        } else {
            for passed in self.step + 1..=step {
                if let Some(count) = self.ring.get_mut((passed % 10) as usize) {
                    *count = 0;
                }
            }
        }
        self.step = step;
        if let Some(count) = self.ring.get_mut((step % 10) as usize) {
            *count += 1;
        }
        self.peak = self.peak.max(self.ring.iter().sum());
    }

    #[allow(clippy::cast_precision_loss, reason = "for display")]
    fn rate(&self, span_us: u64) -> Option<f64> {
        let window_us = 10 * self.step_us;
        // What lies beyond the span would count as silence, and the busiest stretch as less busy than the mean.
        let whole = self.peak > 0 && span_us >= window_us;
        whole.then(|| self.peak as f64 / (window_us as f64 / 1e6))
    }
}

/// Sums of the counts in successive windows and of their squares; empty windows add nothing to either.
pub(super) struct WindowCounts {
    window_us: u64,
    window: u64,
    count: u64,
    sum: f64,
    squares: f64,
}

impl WindowCounts {
    pub(super) fn new(window_us: u64) -> Self {
        Self {
            window_us,
            window: 0,
            count: 0,
            sum: 0.0,
            squares: 0.0,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a count")]
    pub(super) fn add(&mut self, since_us: u64) {
        let window = since_us / self.window_us;
        if window != self.window {
            let count = self.count as f64;
            self.sum += count;
            self.squares += count * count;
            self.count = 0;
            self.window = window;
        }
        self.count += 1;
    }

    /// Of whole windows only: the one that the last arrival stands in was cut short.
    #[allow(clippy::cast_precision_loss, reason = "for display")]
    pub(super) fn dispersion(&self, span_us: u64) -> Option<f64> {
        let windows = (span_us / self.window_us) as f64;
        if windows < 2.0 || self.sum == 0.0 {
            return None;
        }
        let mean = self.sum / windows;
        let variance = (self.squares - windows * mean * mean) / (windows - 1.0);
        Some(variance.max(0.0) / mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(arrivals: impl IntoIterator<Item = u64>) -> (f64, Arrivals) {
        let mut meter = ArrivalMeter::default();
        for at_us in arrivals {
            meter.add(at_us);
        }
        meter.finish()
    }

    #[test]
    fn a_steady_stream_has_no_variation() {
        let (span_s, arrivals) = meter((0..=1200).map(|i| 5 * SECOND_US + i * 100_000));
        assert_eq!(span_s, 120.0);
        assert!((arrivals.mean_per_s.unwrap() - 10.0).abs() < 0.02);
        assert_eq!(arrivals.peak_1s_per_s, Some(10.0));
        assert_eq!(arrivals.peak_10s_per_s, Some(10.0));
        assert_eq!(arrivals.interarrival_cv, Some(0.0));
        for dispersion in [
            arrivals.dispersion_1s,
            arrivals.dispersion_10s,
            arrivals.dispersion_60s,
        ] {
            assert_eq!(dispersion, Some(0.0));
        }
    }

    #[test]
    fn bursts_show_in_peak_and_dispersion() {
        // Twenty at once every ten seconds.
        let (_, arrivals) = meter((0..=60).flat_map(|i| [i * 10 * SECOND_US; 20]));
        assert_eq!(arrivals.peak_1s_per_s, Some(20.0));
        assert_eq!(arrivals.peak_10s_per_s, Some(2.0));
        // Counts of 20, 0, 0, …: variance over mean is 18 (600/599 times for the sample).
        assert!((arrivals.dispersion_1s.unwrap() - 18.0).abs() < 0.1);
        assert_eq!(arrivals.dispersion_10s, Some(0.0));
        assert!(arrivals.interarrival_cv.unwrap() > 4.0);
    }

    #[test]
    fn poisson_traffic_has_cv_and_dispersion_of_one() {
        let mut state = 1_u64;
        let mut at_us = 0.0;
        let arrivals: Vec<u64> = (0..50_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let uniform = ((state >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
                at_us += -uniform.ln() * 50_000.0;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let at = at_us as u64;
                at
            })
            .collect();
        let (_, arrivals) = meter(arrivals);
        assert!((arrivals.interarrival_cv.unwrap() - 1.0).abs() < 0.03);
        assert!((arrivals.dispersion_1s.unwrap() - 1.0).abs() < 0.1);
    }

    #[test]
    fn one_arrival_or_none_measures_nothing() {
        assert_eq!(meter([]), (0.0, Arrivals::default()));
        let (span_s, arrivals) = meter([7]);
        assert_eq!(
            (span_s, arrivals.mean_per_s, arrivals.interarrival_cv),
            (0.0, None, None)
        );
        assert_eq!(arrivals.peak_1s_per_s, None);
    }

    #[test]
    fn no_stretch_is_busiest_that_is_longer_than_the_whole() {
        let (_, arrivals) = meter((0..=50).map(|i| i * 100_000));
        assert_eq!(arrivals.peak_1s_per_s, Some(10.0));
        assert_eq!(arrivals.peak_10s_per_s, None);
    }
}

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::super::arrivals::WindowCounts;

/// How bursty arrivals are, seen in windows of one length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Dispersion {
    /// Length of a window in seconds.
    pub window_s: f64,
    /// Whole windows between the first arrival and the last.
    pub windows: u64,
    /// Index of dispersion for counts: variance over mean of the arrivals in a window. 1 for Poisson arrivals at every length,
    /// less for regular ones; that it grows with the length tells that busy times come in runs.
    pub index: f64,
    /// Where the index of Poisson arrivals of a steady rate would lie in 95 of 100 traces with this many windows: the 2.5 % and
    /// 97.5 % quantiles of χ²(n − 1) / (n − 1) (Cox and Lewis, *The Statistical Analysis of Series of Events*, 1966, §6.3).
    pub poisson_95: (f64, f64),
}

/// Counts arrivals in windows of every length at once.
pub(super) struct BurstinessMeter {
    first_us: Option<u64>,
    last_us: u64,
    scales: Vec<(u64, WindowCounts)>,
}

/// From 10 ms to about 12 days: 1, 2 and 5 of every decade.
const SCALES: u32 = 25;
const SHORTEST_US: u64 = 10_000;
/// With fewer windows an index says more about chance than about the traffic.
const LEAST_WINDOWS: u64 = 10;

impl BurstinessMeter {
    pub(super) fn new() -> Self {
        let scales = (0..SCALES).map(|step| {
            let digit = [1, 2, 5][step as usize % 3];
            let window_us = SHORTEST_US * digit * 10_u64.pow(step / 3);
            (window_us, WindowCounts::new(window_us))
        });
        Self {
            first_us: None,
            last_us: 0,
            scales: scales.collect(),
        }
    }

    /// Adds an arrival; they must come in order.
    pub(super) fn add(&mut self, at_us: u64) {
        let first_us = *self.first_us.get_or_insert(at_us);
        self.last_us = at_us;
        let since_us = at_us.saturating_sub(first_us);
        for (_, counts) in &mut self.scales {
            counts.add(since_us);
        }
    }

    /// By rising length of window; lengths that do not fit [`LEAST_WINDOWS`] times are left out.
    #[allow(clippy::cast_precision_loss, reason = "for display")]
    pub(super) fn finish(&self) -> Vec<Dispersion> {
        let Some(first_us) = self.first_us else {
            return Vec::new();
        };
        let span_us = self.last_us.saturating_sub(first_us);
        self.scales
            .iter()
            .filter(|(window_us, _)| span_us / window_us >= LEAST_WINDOWS)
            .filter_map(|(window_us, counts)| {
                let windows = span_us / window_us;
                Some(Dispersion {
                    window_s: *window_us as f64 / 1e6,
                    windows,
                    index: counts.dispersion(span_us)?,
                    poisson_95: poisson_95(windows)?,
                })
            })
            .collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
fn poisson_95(windows: u64) -> Option<(f64, f64)> {
    let freedom = windows.saturating_sub(1) as f64;
    let quantile: Box<dyn Fn(f64) -> f64> = if freedom < 1000.0 {
        let chi_squared = ChiSquared::new(freedom).ok()?;
        Box::new(move |share| chi_squared.inverse_cdf(share) / freedom)
    } else {
        // Wilson and Hilferty (1931): from here on true to four digits, and at no cost.
        Box::new(move |share: f64| {
            let normal = if share < 0.5 { -1.959_964 } else { 1.959_964 };
            let spread = 2.0 / (9.0 * freedom);
            (1.0 - spread + normal * spread.sqrt()).powi(3)
        })
    };
    Some((quantile(0.025), quantile(0.975)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispersion(arrivals: impl IntoIterator<Item = u64>) -> Vec<Dispersion> {
        let mut meter = BurstinessMeter::new();
        for at_us in arrivals {
            meter.add(at_us);
        }
        meter.finish()
    }

    #[test]
    fn bursts_show_at_their_own_scale() {
        // Ten at once every two seconds, for an hour.
        let found = dispersion((0..1800).flat_map(|i| [i * 2_000_000; 10]));
        let at = |window_s: f64| {
            let scale = found
                .iter()
                .find(|scale| (scale.window_s - window_s).abs() < 1e-9);
            scale.unwrap().index
        };
        assert!((at(0.01) - 10.0).abs() < 0.1, "{}", at(0.01));
        assert!((at(1.0) - 5.0).abs() < 0.05, "{}", at(1.0));
        assert!(at(2.0) < 1e-9 && at(20.0) < 1e-9 && at(200.0) < 1e-9);
    }

    #[test]
    fn a_window_that_fits_too_few_times_is_not_told() {
        let found = dispersion((0..=1000).map(|i| i * 100_000));
        let longest = found.last().unwrap();
        assert_eq!((longest.window_s, longest.windows), (10.0, 10));
        assert!(dispersion([5]).is_empty());
    }

    #[test]
    fn the_band_of_poisson_arrivals_is_that_of_chi_squared() {
        // Tables give χ²(9) = 2.700 and 19.023.
        let (low, high) = poisson_95(10).unwrap();
        assert!((low - 2.700 / 9.0).abs() < 1e-3 && (high - 19.023 / 9.0).abs() < 1e-3);
        let (below, above) = (poisson_95(1000).unwrap(), poisson_95(1001).unwrap());
        assert!((below.0 - above.0).abs() < 1e-4 && (below.1 - above.1).abs() < 1e-4);
    }
}

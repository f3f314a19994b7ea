use serde::Serialize;

use super::distribution::Distribution;

/// Quantiles of |found − wanted| / wanted over requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ErrorQuantiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Adds up how far counts of tokens are off.
#[derive(Debug, Default)]
pub(super) struct ErrorSum {
    sum: f64,
    count: u64,
    /// Tokens that were off, and that were wanted, over all requests.
    off: u64,
    wanted: u64,
    /// In millionths.
    errors: Distribution,
}

impl ErrorSum {
    pub(super) fn add(&mut self, found: Option<u32>, recorded: Option<u32>) {
        if let (Some(found), Some(recorded)) = (found, recorded) {
            let (off, recorded) = (found.abs_diff(recorded), recorded.max(1));
            self.sum += f64::from(off) / f64::from(recorded);
            self.count += 1;
            self.off += u64::from(off);
            self.wanted += u64::from(recorded);
            self.errors
                .record(u64::from(off) * 1_000_000 / u64::from(recorded));
        }
    }

    /// Tokens that were off as a share of those wanted. A prompt of two tokens that a chat template makes eight of is off by 300 %, and no
    /// load: the mean over requests would call a true replay invalid for one of those in a hundred.
    pub(super) fn of_load(&self) -> f64 {
        float(self.off) / float(self.wanted.max(1))
    }

    pub(super) fn quantiles(&self) -> Option<ErrorQuantiles> {
        // The distribution tells thousandths of what it was given, and takes 0 for 1.
        let at = |q| {
            let thousandths = self.errors.quantile_ms(q)?;
            Some(if thousandths <= 0.001 {
                0.0
            } else {
                thousandths / 1000.0
            })
        };
        Some(ErrorQuantiles {
            p50: at(0.5)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / float(self.count))
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

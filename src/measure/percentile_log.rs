use super::distribution::Distribution;

/// One line of a percentile log: at most this many milliseconds in this share of all requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PercentileLine {
    /// Milliseconds.
    pub ms: f64,
    /// Share of the requests, failed ones included.
    pub share: f64,
    /// Requests up to here.
    pub count: u64,
}

/// The percentiles of a latency as HdrHistogram logs them: denser towards the tail, and beneath them mean and spread.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PercentileLog {
    /// In rising order; ends below 1 where requests failed, since those have no finite value.
    pub lines: Vec<PercentileLine>,
    /// Mean of the values, in milliseconds.
    pub mean_ms: f64,
    /// Their standard deviation, in milliseconds.
    pub deviation_ms: f64,
    /// The largest, in milliseconds.
    pub max_ms: f64,
    /// Requests with a value.
    pub count: u64,
    /// Requests without one, because they failed.
    pub misses: u64,
}

impl Distribution {
    /// The log; `None` where nothing was measured.
    pub fn percentile_log(&self) -> Option<PercentileLog> {
        let histogram = self.histogram();
        if histogram.is_empty() {
            return None;
        }
        let mut count = 0;
        let lines = histogram
            .iter_quantiles(TICKS_PER_HALF)
            .map(|step| {
                count += step.count_since_last_iteration();
                PercentileLine {
                    ms: milliseconds(step.value_iterated_to()),
                    share: float(count) / float(self.total()),
                    count,
                }
            })
            .collect();
        Some(PercentileLog {
            lines,
            mean_ms: histogram.mean() / 1000.0,
            deviation_ms: histogram.stdev() / 1000.0,
            max_ms: milliseconds(histogram.max()),
            count: self.count(),
            misses: self.total() - self.count(),
        })
    }
}

fn milliseconds(us: u64) -> f64 {
    float(us) / 1000.0
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// As HdrHistogram's own tools have it.
const TICKS_PER_HALF: u32 = 5;

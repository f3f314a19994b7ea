//! The memory of the simulated GPU, as an engine with a caching allocator uses it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Config;
use super::engine::Stats;

/// Weights and the KV cache are taken at start (85 % of the whole). The batch takes 40 kB for each token that it holds, in segments of
/// 20 MiB that are kept once taken. What leaks is lost every second. Where all that is more than there is, the engine is out of memory
/// for a second, breaks off what it had begun, and then starts anew.
pub(super) struct Vram {
    total: f64,
    leak_per_s: f64,
    process: Mutex<Process>,
}

struct Process {
    started: Instant,
    started_s: f64,
    kept: f64,
    out_since: Option<Instant>,
    /// How many there were before it.
    before: u64,
}

/// What is in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct InUse {
    /// Bytes taken from the GPU.
    pub(super) reserved: f64,
    /// Of them, bytes that something is in.
    pub(super) allocated: f64,
    /// When the engine was started, in seconds since 1970.
    pub(super) started_s: f64,
    /// There is none left.
    pub(super) out: bool,
    /// Which of the engine's processes this is, from 0.
    pub(super) process: u64,
}

impl Vram {
    /// `None` where the server is to tell of no GPU.
    pub(super) fn new(config: &Config) -> Option<Self> {
        (config.vram_bytes > 0).then(|| Self {
            total: float(config.vram_bytes),
            leak_per_s: float(config.memory_leak_bytes),
            process: Mutex::new(Process::start(Instant::now(), 0)),
        })
    }

    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// What is in use now, with this in the batch.
    pub(super) fn look(&self, stats: &Stats) -> InUse {
        let tokens = stats.kv_usage() * f64::from(stats.kv_capacity_tokens);
        self.at(Instant::now(), tokens)
    }

    fn at(&self, now: Instant, tokens: f64) -> InUse {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process
            .out_since
            .is_some_and(|since| now.saturating_duration_since(since) >= RESTART)
        {
            *process = Process::start(now, process.before + 1);
        }
        let batch = tokens * BYTES_PER_TOKEN;
        process.kept = process.kept.max((batch / SEGMENT).ceil() * SEGMENT);
        let age = now.saturating_duration_since(process.started);
        let standing = self.total * AT_START + self.leak_per_s * age.as_secs_f64();
        let reserved = standing + process.kept;
        if reserved > self.total {
            process.out_since.get_or_insert(now);
        }
        InUse {
            reserved: reserved.min(self.total),
            allocated: (standing + batch).min(self.total),
            started_s: process.started_s,
            out: process.out_since.is_some(),
            process: process.before,
        }
    }
}

impl Process {
    fn start(now: Instant, before: u64) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: now,
            started_s: since_epoch.unwrap_or_default().as_secs_f64(),
            kept: 0.0,
            out_since: None,
            before,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes stay below 2^53")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

const AT_START: f64 = 0.85;
const BYTES_PER_TOKEN: f64 = 40_000.0;
const SEGMENT: f64 = 20.0 * 1_048_576.0;
const RESTART: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = 1_073_741_824.0;

    #[test]
    fn segments_are_kept_a_leak_adds_up_and_an_engine_without_memory_starts_anew() {
        let vram = Vram::new(&Config {
            vram_bytes: 10 << 30,
            memory_leak_bytes: 1 << 30,
            ..Config::default()
        })
        .unwrap();
        let began = vram.process.lock().unwrap().started;
        let after =
            |seconds: f64, tokens| vram.at(began + Duration::from_secs_f64(seconds), tokens);
        assert_eq!(after(0.0, 0.0).reserved, 8.5 * GIB);
        let busy_process = after(0.0, 1000.0).process;
        let busy = after(0.0, 1000.0).reserved;
        assert_eq!(busy, 8.5 * GIB + 2.0 * SEGMENT);
        assert_eq!(after(0.0, 0.0).reserved, busy, "what was taken is kept");
        assert!(after(0.0, 0.0).allocated < busy);
        assert!((after(1.0, 0.0).reserved - busy - GIB).abs() < 1.0);
        assert!(!after(1.0, 0.0).out && after(2.0, 0.0).out && after(2.9, 0.0).out);
        let anew = after(3.1, 0.0);
        assert!(!anew.out && anew.reserved < 8.6 * GIB, "{anew:?}");
        assert_eq!((after(3.1, 0.0).process, busy_process), (1, 0));
    }
}

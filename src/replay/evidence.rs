use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::{AlikeCounts, Connector};
use super::progress::Progress;
use super::target::HttpVersion;

/// What the generator has to show for itself: was it the bottleneck? (How late each send was stands in the outcomes.)
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// How late a 1 ms heartbeat on the sending threads was: 99 of 100 beats at most this.
    pub heartbeat_p99_us: u64,
    /// And the latest.
    pub heartbeat_max_us: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// CPU seconds of this process per second.
    pub cpu_cores_used: f64,
    /// Cores it may use.
    pub cpu_cores: usize,
    /// Sending threads.
    pub workers: usize,
    /// Descriptors it may have open; `None` where there is no limit.
    pub descriptors: Option<u64>,
    /// What its connections spoke.
    pub http: HttpVersion,
    /// The most connections open at once.
    pub connections_peak: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Requests that went over a connection which had served another.
    pub connections_reused: u64,
    /// Requests that began a connection in the trace.
    pub began: Alike,
    /// Requests that went over one there that was there before.
    pub used_again: Alike,
    /// Requests whose clients took their answers slowly (see [`super::Readers`]).
    pub read_slowly: u64,
    /// Those of them whose answers came faster than they took them.
    pub held_up: u64,
    /// Connections that failed for want of a port, a descriptor or memory on this machine.
    pub local_errors: u64,
    /// Requests given up because too many were in flight.
    pub dropped: u64,
    /// Outcomes lost because nobody took them.
    pub outcomes_lost: u64,
}

/// How many requests the trace tells something of, and how many of them did the same in the replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Alike {
    /// Requests of which it is told.
    pub told: u64,
    /// Those of them that did so.
    pub done: u64,
}

impl Evidence {
    pub(super) fn gather(
        heartbeat: &Histogram<u64>,
        cpu: Duration,
        elapsed: Duration,
        workers: usize,
        descriptors: Option<u64>,
        connector: &Connector,
        progress: &Progress,
    ) -> Self {
        let traffic = connector.traffic();
        let seconds = elapsed.as_secs_f64();
        Self {
            heartbeat_p99_us: heartbeat.value_at_quantile(0.99),
            heartbeat_max_us: heartbeat.max(),
            heartbeats: heartbeat.len(),
            cpu_cores_used: if seconds > 0.0 {
                cpu.as_secs_f64() / seconds
            } else {
                0.0
            },
            cpu_cores: std::thread::available_parallelism().map_or(1, usize::from),
            workers,
            descriptors,
            http: connector.http,
            connections_peak: traffic.open_peak.load(Ordering::Relaxed),
            connections_opened: traffic.opened.load(Ordering::Relaxed),
            connections_reused: traffic.reused.load(Ordering::Relaxed),
            began: alike(&traffic.began),
            used_again: alike(&traffic.used_again),
            read_slowly: traffic.read_slowly.load(Ordering::Relaxed),
            held_up: traffic.held_up.load(Ordering::Relaxed),
            local_errors: traffic.local_errors.load(Ordering::Relaxed),
            dropped: progress.counters().dropped.load(Ordering::Relaxed),
            outcomes_lost: progress.counters().outcomes_lost.load(Ordering::Relaxed),
        }
    }
}

fn alike(counts: &AlikeCounts) -> Alike {
    Alike {
        told: counts.told.load(Ordering::Relaxed),
        done: counts.done.load(Ordering::Relaxed),
    }
}

/// CPU time of this process so far.
#[cfg(unix)]
pub(super) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Requests in flight that the descriptors allow, each with its connection; some are kept for everything else.
pub(super) fn room_for(descriptors: Option<u64>) -> u64 {
    const KEPT: u64 = 64;
    descriptors.map_or(u64::MAX, |limit| limit.saturating_sub(KEPT).max(1))
}

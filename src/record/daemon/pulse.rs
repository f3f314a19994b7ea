use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Proof that each lane still makes progress: a task on the lane's own runtime stamps the time, and only a runtime that
/// still gets round to its tasks can do that. Read by the watchdog and by `/healthz`.
#[derive(Debug)]
pub(in crate::record) struct Pulses {
    born: Instant,
    every: Duration,
    /// Milliseconds from `born` to each lane's last beat.
    beats: Vec<Arc<AtomicU64>>,
}

/// One lane's.
#[derive(Debug, Clone)]
pub(in crate::record) struct Pulse {
    born: Instant,
    every: Duration,
    last_ms: Arc<AtomicU64>,
}

impl Pulses {
    /// For lanes whose silence somebody acts on after `patience`.
    pub(in crate::record) fn new(patience: Option<Duration>) -> Self {
        let often = patience.map_or(SLOWEST, |patience| patience / 8);
        Self {
            born: Instant::now(),
            every: often.clamp(FASTEST, SLOWEST),
            beats: Vec::new(),
        }
    }

    /// The next lane's, which counts as beating now: a lane that never starts falls silent, too.
    pub(in crate::record) fn add(&mut self) -> Pulse {
        let last_ms = Arc::new(AtomicU64::new(millis(self.born.elapsed())));
        self.beats.push(Arc::clone(&last_ms));
        Pulse {
            born: self.born,
            every: self.every,
            last_ms,
        }
    }

    /// How long the most silent lane has been so; zero where all have ended.
    pub(in crate::record) fn silence(&self) -> Duration {
        let now_ms = millis(self.born.elapsed());
        self.beats
            .iter()
            .map(|beat| beat.load(Ordering::Relaxed))
            .filter(|&last_ms| last_ms != ENDED)
            .map(|last_ms| Duration::from_millis(now_ms.saturating_sub(last_ms)))
            .max()
            .unwrap_or_default()
    }
}

impl Pulse {
    /// Beats until it is dropped, which says that the lane has ended; unless it was a panic that ended it.
    pub(in crate::record) async fn beat(self) {
        let ended = Ended(self);
        let pulse = &ended.0;
        let mut tick = tokio::time::interval(pulse.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now_ms = millis(pulse.born.elapsed());
            pulse.last_ms.store(now_ms, Ordering::Relaxed);
        }
    }
}

struct Ended(Pulse);

impl Drop for Ended {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.last_ms.store(ENDED, Ordering::Relaxed);
        }
    }
}

const ENDED: u64 = u64::MAX;
const FASTEST: Duration = Duration::from_millis(20);
const SLOWEST: Duration = Duration::from_secs(1);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(ENDED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_lane_that_does_not_get_round_to_its_tasks_falls_silent() {
        let mut pulses = Pulses::new(Some(Duration::from_millis(160)));
        let pulse = pulses.add();
        let lane = runtime();
        lane.spawn(pulse.beat());
        lane.block_on(async {
            while pulses.silence() > Duration::ZERO {
                tokio::task::yield_now().await;
            }
        });
        // Nobody drives the runtime from here on, as if a task blocked its thread.
        while pulses.silence() < Duration::from_millis(60) {
            std::thread::yield_now();
        }
        lane.block_on(async {
            while pulses.silence() >= Duration::from_millis(60) {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn a_lane_that_ended_is_not_missed_and_one_that_never_began_is() {
        let mut pulses = Pulses::new(None);
        let ended = pulses.add();
        let lane = runtime();
        lane.spawn(ended.beat());
        lane.block_on(tokio::task::yield_now());
        drop(lane);
        while pulses.born.elapsed() < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        assert_eq!(pulses.silence(), Duration::ZERO);
        let _never_began = pulses.add();
        while pulses.silence() == Duration::ZERO {
            std::thread::yield_now();
        }
    }
}

use std::io;
use std::time::{Duration, Instant};

/// Waits for an instant to the microsecond, inside a tokio runtime.
///
/// tokio's own timer wheel turns in milliseconds. Here a kernel timer of high resolution (timerfd) wakes the runtime through
/// the same epoll call that brings it data, so neither a second thread nor a hand-over stands between the instant and the
/// write. Where there is no timerfd, the wheel brings it near and the rest is spun away, I/O still being served.
pub(super) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// An alarm for the current runtime.
    ///
    /// # Errors
    /// When the process has no descriptor left for the timer.
    pub(super) fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        #[allow(
            deprecated,
            reason = "its successors are unsafe to call because a type may close or swap its descriptor; OwnedFd cannot"
        )]
        let timer = tokio::io::unix::AsyncFd::with_interest(timer, tokio::io::Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Returns at `instant`, or at once where it has passed.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub(super) async fn until(&mut self, instant: Instant) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        loop {
            let wait = instant.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(());
            }
            let spec = Itimerspec {
                it_interval: Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                },
                it_value: Timespec {
                    tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: wait.subsec_nanos().into(),
                },
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
            // Setting the timer again also takes back an expiry that was never read.
            self.timer.readable().await?.clear_ready();
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    /// An alarm for the current runtime.
    ///
    /// # Errors
    /// None here.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Returns at `instant`, or at once where it has passed.
    ///
    /// # Errors
    /// None here.
    pub(super) async fn until(&mut self, instant: Instant) -> io::Result<()> {
        const WHEEL: Duration = Duration::from_millis(2);
        let wait = instant.saturating_duration_since(Instant::now());
        if wait > WHEEL {
            tokio::time::sleep(wait - WHEEL).await;
        }
        while Instant::now() < instant {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Keeps the current runtime asking the kernel for what is ready, so that its thread never sleeps: neither an instant nor an answer
/// has to wake it.
pub(super) async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}

/// Asks the kernel not to put this thread's timers off (50 µs by default) in order to bundle wake-ups.
pub(super) fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    {
        // A refusal costs precision, which the run measures anyway.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    }
}

/// Asks the kernel to let threads that send go before this one.
pub(super) fn give_way() {
    #[cfg(target_os = "linux")]
    {
        // Of a thread, although the call speaks of processes (setpriority(2)). A refusal costs precision, which the run measures anyway.
        let _ = rustix::process::setpriority_process(None, LATER);
    }
}

/// A tenth of the processor is left to it even where senders want all of it.
#[cfg(target_os = "linux")]
const LATER: i32 = 10;

/// The clock of one run: microseconds since its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunClock(Instant);

impl RunClock {
    pub(super) const fn starting_at(start: Instant) -> Self {
        Self(start)
    }

    /// Microseconds at `instant`; 0 before the start.
    pub(super) fn us_at(self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.0);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn now_us(self) -> u64 {
        self.us_at(Instant::now())
    }

    /// The instant `us` microseconds after the start; for a plan of more than a century, a century after it.
    pub(super) fn instant_at(self, us: u64) -> Instant {
        const CENTURY_US: u64 = 100 * 365 * 86_400 * 1_000_000;
        self.0 + Duration::from_micros(us.min(CENTURY_US))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn an_alarm_never_rings_early_and_rings_again() {
        block_on(async {
            let mut alarm = Alarm::new().unwrap();
            for us in [0, 50, 300, 1500, 700] {
                let instant = Instant::now() + Duration::from_micros(us);
                alarm.until(instant).await.unwrap();
                assert!(Instant::now() >= instant);
            }
            let past = Instant::now() - Duration::from_secs(1);
            alarm.until(past).await.unwrap();
        });
    }

    #[test]
    fn an_alarm_that_was_given_up_does_not_ring_for_the_next() {
        block_on(async {
            let mut alarm = Alarm::new().unwrap();
            let soon = Instant::now() + Duration::from_millis(3);
            tokio::select! {
                biased;
                _ = alarm.until(soon) => panic!("rang at once"),
                () = std::future::ready(()) => {}
            }
            let later = Instant::now() + Duration::from_millis(8);
            alarm.until(later).await.unwrap();
            assert!(Instant::now() >= later);
        });
    }

    /// How often this thread has gone to sleep.
    fn naps() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.unwrap().trim().parse().unwrap()
    }

    #[test]
    fn a_thread_that_stays_awake_does_not_sleep() {
        let naps = |awake: bool| {
            block_on(async {
                let task = awake.then(|| tokio::spawn(stay_awake()));
                let before = naps();
                for _ in 0..50 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                drop(task);
                naps() - before
            })
        };
        let (asleep, awake) = (naps(false), naps(true));
        assert!(asleep >= 50, "{asleep} naps");
        assert!(awake < 10, "{awake} naps of one that stays awake");
    }

    #[test]
    fn the_run_clock_counts_from_its_start() {
        let start = Instant::now();
        let clock = RunClock::starting_at(start);
        assert_eq!(clock.us_at(start + Duration::from_micros(1234)), 1234);
        assert_eq!(clock.us_at(start), 0);
        assert_eq!(clock.us_at(clock.instant_at(777)), 777);
        assert!(clock.instant_at(u64::MAX) > start);
    }
}

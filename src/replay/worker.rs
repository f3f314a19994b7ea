use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{Notify, mpsc};

use super::client::{Connector, Lane, Pool, dropped, exchange};
use super::outcome::{RequestOutcome, SendResult};
use super::pace::{Alarm, RunClock, sharpen_timers};
use super::preparer::Budget;
use super::progress::{Progress, Stop};
use super::synthesise::Prepared;

/// What a worker needs from its run.
pub(super) struct Worker {
    pub(super) connector: Connector,
    pub(super) idle: Duration,
    pub(super) lead: Duration,
    pub(super) max_in_flight: u64,
    pub(super) budget: Budget,
    pub(super) progress: Progress,
    pub(super) stop: Stop,
    pub(super) outcomes: crossbeam_channel::Sender<RequestOutcome>,
}

/// Requests that stand between "its connection is ready" and "its instant has come".
const ARMED: usize = 4096;
/// How often the heart beats.
const BEAT: Duration = Duration::from_millis(1);

/// Sends its share of the plan until the plan is over and every answer has come, or the run is stopped. Returns how late its
/// heartbeat was, in microseconds.
///
/// # Errors
/// When the kernel has no timer for it.
pub(super) fn work(
    worker: Worker,
    runtime: &tokio::runtime::Runtime,
    start: Instant,
    prepared: mpsc::Receiver<Prepared>,
) -> io::Result<Histogram<u64>> {
    sharpen_timers();
    runtime.block_on(async move {
        let clock = RunClock::starting_at(start);
        let mut heart = Heart::new(start)?;
        let alarm = Alarm::new()?;
        let (arm, armed) = mpsc::channel(ARMED);
        let shift = Arc::new(Shift {
            lane: Lane {
                pool: Arc::new(Pool::new(worker.connector.clone(), clock)),
                clock,
                idle: worker.idle,
            },
            worker,
            all_over: Notify::new(),
        });
        let stop = shift.worker.stop.clone();
        let work = async {
            let arming = tokio::spawn(Arc::clone(&shift).arm(prepared, arm));
            shift.fire(armed, alarm).await?;
            // It ends before `fire` does; a panic in it is one here.
            arming.await.map_err(io::Error::other)?;
            shift.drained().await;
            io::Result::Ok(())
        };
        tokio::select! {
            done = work => done?,
            beat = heart.beat() => beat?,
            () = stop.requested() => {}
        }
        Ok(heart.lateness)
    })
}

struct Shift {
    lane: Lane,
    worker: Worker,
    all_over: Notify,
}

impl Shift {
    /// Announces each request to the pool a little before its instant.
    async fn arm(
        self: Arc<Self>,
        mut prepared: mpsc::Receiver<Prepared>,
        arm: mpsc::Sender<Prepared>,
    ) {
        while let Some(request) = prepared.recv().await {
            let instant = self.lane.clock.instant_at(request.intended_us);
            if let Some(ahead) = instant.checked_sub(self.worker.lead) {
                tokio::time::sleep_until(ahead.into()).await;
            }
            self.lane.pool.expect();
            if arm.send(request).await.is_err() {
                return;
            }
        }
    }

    /// Sends each request at its instant, in order.
    async fn fire(
        self: &Arc<Self>,
        mut armed: mpsc::Receiver<Prepared>,
        mut alarm: Alarm,
    ) -> io::Result<()> {
        while let Some(request) = armed.recv().await {
            alarm
                .until(self.lane.clock.instant_at(request.intended_us))
                .await?;
            let progress = self.worker.progress.counters();
            self.worker.budget.give_back(request.request.body().len());
            let in_flight = progress.in_flight.fetch_add(1, Ordering::Relaxed);
            if in_flight >= self.worker.max_in_flight {
                progress.in_flight.fetch_sub(1, Ordering::Relaxed);
                progress.dropped.fetch_add(1, Ordering::Relaxed);
                self.lane.pool.renounce();
                self.tell(dropped(&request, self.lane.clock));
                continue;
            }
            progress.sent.fetch_add(1, Ordering::Relaxed);
            let shift = Arc::clone(self);
            tokio::spawn(async move {
                let _running = Running(Arc::clone(&shift));
                let outcome = exchange(&shift.lane, request).await;
                shift.tell(outcome);
            });
        }
        Ok(())
    }

    /// Returns when no exchange of this worker is running.
    async fn drained(self: &Arc<Self>) {
        // Each running exchange holds the shift; so do this function's caller and nobody else.
        while Arc::strong_count(self) > 1 {
            self.all_over.notified().await;
        }
    }

    /// Hands an outcome over. Never waits: a consumer that falls behind by the whole channel loses outcomes, which are counted
    /// and make the run invalid, but the sends stay on time and memory stays bounded.
    fn tell(&self, outcome: RequestOutcome) {
        let progress = self.worker.progress.counters();
        let counter = match outcome.result {
            SendResult::Ok => &progress.ok,
            SendResult::Failed(_) => &progress.failed,
            SendResult::Cancelled => &progress.cancelled,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if self.worker.outcomes.try_send(outcome).is_err() {
            progress.outcomes_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One exchange in flight, as long as it is (a panic inside it ends it, too).
struct Running(Arc<Shift>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0
            .worker
            .progress
            .counters()
            .in_flight
            .fetch_sub(1, Ordering::Relaxed);
        self.0.all_over.notify_one();
    }
}

/// Wakes every millisecond and notes how late it was: what the event loop does to everything else that waits in it.
struct Heart {
    alarm: Alarm,
    next: Instant,
    lateness: Histogram<u64>,
}

impl Heart {
    fn new(start: Instant) -> io::Result<Self> {
        Ok(Self {
            alarm: Alarm::new()?,
            next: start,
            lateness: Histogram::new(3).map_err(io::Error::other)?,
        })
    }

    async fn beat(&mut self) -> io::Result<()> {
        loop {
            self.alarm.until(self.next).await?;
            let late = self.next.elapsed();
            let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
            self.lateness.saturating_record(late_us);
            // Beats that fell into the delay are not made up for, but the next stays on the grid.
            let beats = u32::try_from(late.as_micros() / BEAT.as_micros()).unwrap_or(u32::MAX - 1);
            self.next += BEAT * (beats + 1);
        }
    }
}

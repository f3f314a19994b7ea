use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::agenda::{AT_ONCE, Agenda, Handed, Order};
use super::client::{Connector, Lane, Pool, Sharing, SlowLane, dropped, exchange};
use super::conversation::End;
use super::outcome::{RequestOutcome, SendResult};
use super::pace::{Alarm, RunClock, sharpen_timers, stay_awake};
use super::preparer::Event;
use super::progress::{Progress, Stop};
use super::readers::Readers;
use super::room::Room;
use crate::dialect::AnswerText;

/// What a worker needs from its run.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) connector: Connector,
    /// How its requests get their connections.
    pub(super) connections: Sharing,
    /// How fast its clients read, and what the slow ones are drawn with.
    pub(super) readers: Readers,
    pub(super) seed: u64,
    pub(super) idle: Duration,
    pub(super) lead: Duration,
    /// Whether it stays awake: see [`RunOptions::busy_poll`](super::RunOptions).
    pub(super) busy_poll: bool,
    pub(super) max_in_flight: u64,
    /// Whether the ends of turns are waited for.
    pub(super) linked: bool,
    /// Whether later turns repeat this target's answers.
    pub(super) live_history: bool,
    pub(super) room: Room,
    pub(super) events: crossbeam_channel::Sender<Event>,
    pub(super) progress: Progress,
    pub(super) stop: Stop,
    pub(super) outcomes: crossbeam_channel::Sender<Vec<RequestOutcome>>,
}

impl Worker {
    /// What slow clients have to themselves, where there may be any.
    fn slow(&self) -> Option<SlowLane> {
        SlowLane::new(self.readers, self.seed, &self.connector, self.connections)
    }
}

/// How often the heart beats.
const BEAT: Duration = Duration::from_millis(1);
/// Outcomes that are handed over at once; fewer wait for the next beat.
const BATCH: usize = 64;
/// How often the runtime looks round before as many more are sent as in one go. Each time it comes to [`TASKS_A_LOOK`] tasks, and a request may
/// leave several: its own, and a connection that is opened, step by step.
const LOOKS: usize = 16;
/// Timers and sockets are asked after so many answers were looked at (61 by default): a send that falls due among thousands of events waits
/// for these, at some 3 µs each.
const TASKS_A_LOOK: u32 = 16;

/// What a worker works in.
///
/// # Errors
/// When the process has no descriptor left for it.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .event_interval(TASKS_A_LOOK)
        .enable_all()
        .build()
}

/// Sends its share of the plan until the plan is over and every answer has come, or the run is stopped. Returns how late its
/// heartbeat was, in microseconds.
///
/// # Errors
/// When the kernel has no timer for it.
pub(super) fn work(
    worker: Worker,
    runtime: &Runtime,
    start: Instant,
    orders: UnboundedReceiver<Vec<Order>>,
) -> io::Result<Histogram<u64>> {
    sharpen_timers();
    runtime.block_on(async move {
        let clock = RunClock::starting_at(start);
        let mut heart = Heart::new(start)?;
        let alarm = Alarm::new()?;
        let lead_us = u64::try_from(worker.lead.as_micros()).unwrap_or(u64::MAX);
        let shift = Arc::new(Shift {
            lane: Lane {
                pool: Arc::new(Pool::new(worker.connector.clone(), worker.connections)),
                slow: worker.slow(),
                clock,
                idle: worker.idle,
            },
            worker,
            agenda: Mutex::new(Agenda::new(lead_us)),
            sooner: Notify::new(),
            told: Mutex::default(),
            all_over: Notify::new(),
        });
        let awake = shift.worker.busy_poll.then(|| tokio::spawn(stay_awake()));
        let stop = shift.worker.stop.clone();
        let work = async {
            shift.conduct(start, orders, alarm).await?;
            shift.drained().await;
            io::Result::Ok(())
        };
        tokio::select! {
            done = work => done?,
            beat = heart.beat(&shift) => beat?,
            () = stop.requested() => {}
        }
        if let Some(awake) = awake {
            awake.abort();
        }
        shift.flush();
        Ok(heart.lateness)
    })
}

/// How far what is due was sent.
enum Sent {
    /// More may be due.
    Some,
    /// Whole; when there is something to do again.
    All { next_us: Option<u64> },
}

struct Shift {
    lane: Lane,
    worker: Worker,
    agenda: Mutex<Agenda>,
    /// Something was put on the agenda from within.
    sooner: Notify,
    /// Outcomes that are not handed over yet.
    told: Mutex<Vec<RequestOutcome>>,
    all_over: Notify,
}

impl Shift {
    /// Sends each request at its instant, until there is none left and no more will come.
    async fn conduct(
        self: &Arc<Self>,
        start: Instant,
        mut orders: UnboundedReceiver<Vec<Order>>,
        mut alarm: Alarm,
    ) -> io::Result<()> {
        let mut more = true;
        loop {
            while more {
                match orders.try_recv() {
                    Ok(batch) => self.take_in(batch),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => more = false,
                }
            }
            let next_us = match self.send_what_is_due(start) {
                Sent::Some => {
                    self.look_for_connections().await;
                    continue;
                }
                Sent::All { next_us } => next_us,
            };
            if !more && next_us.is_none() {
                return Ok(());
            }
            let ring = async {
                match next_us {
                    Some(us) => alarm.until(self.lane.clock.instant_at(us)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                rang = ring => rang?,
                () = self.sooner.notified() => {}
                batch = orders.recv(), if more => match batch {
                    Some(batch) => self.take_in(batch),
                    None => more = false,
                },
            }
        }
    }

    /// Lets the runtime take in what has come, until there is a connection for each request announced, or it has looked
    /// often enough to find those that are there.
    async fn look_for_connections(&self) {
        for _ in 0..LOOKS {
            tokio::task::yield_now().await;
            if !self.lane.is_short() {
                return;
            }
        }
    }

    fn take_in(&self, batch: Vec<Order>) {
        let mut agenda = self.agenda();
        batch.into_iter().for_each(|order| agenda.take_in(order));
    }

    /// Sends what is due, and announces to the pool what soon will be. Where many are behind and have no connections, those are looked
    /// for in between, among what was answered or opened meanwhile: to open one for each would cost more than the sends.
    fn send_what_is_due(self: &Arc<Self>, start: Instant) -> Sent {
        let mut sent = 0;
        loop {
            let mut agenda = self.agenda();
            let now_us = self.lane.clock.now_us();
            agenda.draw_near(now_us, |prepared| {
                self.lane.pool(prepared).expect(prepared.new_connection);
            });
            // Before the start the clock stands at 0, and what is due at 0 has to wait for it.
            let due = (Instant::now() >= start).then(|| agenda.due(now_us));
            match due.flatten() {
                Some(handed) => {
                    drop(agenda);
                    let is_behind = handed.is_behind(now_us);
                    self.send(handed);
                    sent += 1;
                    // What is on time has its own connections, announced ahead, and does not wait for those of what follows.
                    if is_behind && sent % AT_ONCE == 0 && self.lane.is_short() {
                        return Sent::Some;
                    }
                }
                None => {
                    let next_us = agenda.next_us();
                    return Sent::All { next_us };
                }
            }
        }
    }

    fn send(self: &Arc<Self>, handed: Handed) {
        let Handed {
            mut prepared,
            account,
            bytes,
            ..
        } = handed;
        let worker = &self.worker;
        let progress = worker.progress.counters();
        if worker.room.give_back(worker.number, account, bytes) {
            self.report(Event::Room);
        }
        let session = prepared.turn.session.filter(|_| worker.linked);
        let mut running = Running {
            shift: Arc::clone(self),
            turn: session.map(|session| (session, prepared.index)),
            end: None,
            answer: (worker.live_history && session.is_some()).then(Arc::default),
        };
        prepared.answer.clone_from(&running.answer);
        let in_flight = progress.in_flight.fetch_add(1, Ordering::Relaxed);
        if in_flight >= worker.max_in_flight {
            progress.dropped.fetch_add(1, Ordering::Relaxed);
            let pool = self.lane.pool(&prepared);
            pool.renounce(prepared.new_connection);
            let outcome = dropped(&prepared, self.lane.clock);
            running.end = Some(end_of(&outcome));
            self.tell(outcome);
            return;
        }
        progress.sent.fetch_add(1, Ordering::Relaxed);
        let mut exchange: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let outcome = exchange(&running.shift.lane, prepared).await;
            running.end = Some(end_of(&outcome));
            running.shift.tell(outcome);
        });
        // Its first step is made here and now, so that the request does not wait behind the answers to others; its task asks
        // again for all that this step found missing.
        let mut cx = Context::from_waker(Waker::noop());
        if exchange.as_mut().poll(&mut cx).is_pending() {
            tokio::spawn(exchange);
        }
    }

    /// A turn is over: the next has its instant, here or with the preparer.
    fn ended(&self, session: u64, index: u64, end: End) {
        self.agenda().ended(session, index, end);
        self.sooner.notify_one();
        self.report(Event::Ended {
            session,
            index,
            end,
        });
    }

    fn report(&self, event: Event) {
        // The preparer is gone when nothing is left to be handed out.
        let _ = self.worker.events.send(event);
    }

    /// Returns when no exchange of this worker is running.
    async fn drained(self: &Arc<Self>) {
        // Each running exchange holds the shift; so do this function's caller and nobody else.
        while Arc::strong_count(self) > 1 {
            self.all_over.notified().await;
        }
    }

    fn tell(&self, outcome: RequestOutcome) {
        let progress = self.worker.progress.counters();
        let counter = match outcome.result {
            SendResult::Ok => &progress.ok,
            SendResult::Failed(_) => &progress.failed,
            SendResult::Cancelled => &progress.cancelled,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(outcome);
        if told.len() >= BATCH {
            self.hand_on(std::mem::take(&mut *told));
        }
    }

    /// Hands over the outcomes that wait, and counts.
    fn flush(&self) {
        let progress = self.worker.progress.counters();
        let made_up = self.agenda().take_made_up();
        progress
            .answers_made_up
            .fetch_add(made_up, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.is_empty() {
            self.hand_on(std::mem::take(&mut *told));
        }
    }

    /// Never waits: a consumer that falls behind by the whole channel loses outcomes, which are counted and make the run invalid,
    /// but the sends stay on time and memory stays bounded.
    fn hand_on(&self, outcomes: Vec<RequestOutcome>) {
        let count = outcomes.len() as u64;
        if self.worker.outcomes.try_send(outcomes).is_err() {
            let progress = self.worker.progress.counters();
            progress.outcomes_lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn agenda(&self) -> std::sync::MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a conversation goes on from.
fn end_of(outcome: &RequestOutcome) -> End {
    End {
        at_us: outcome.end_us,
        failed: matches!(outcome.result, SendResult::Failed(_)),
    }
}

/// One exchange in flight, as long as it is (a panic inside it ends it, too).
struct Running {
    shift: Arc<Shift>,
    /// Its conversation and its index, where the next turn waits for its end.
    turn: Option<(u64, u64)>,
    end: Option<End>,
    /// Where its answer is put, if later turns repeat it.
    answer: Option<Arc<OnceLock<AnswerText>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let shift = &self.shift;
        let progress = shift.worker.progress.counters();
        progress.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some((session, index)) = self.turn {
            let end = self.end.unwrap_or_else(|| End {
                at_us: shift.lane.clock.now_us(),
                failed: true,
            });
            if let Some(text) = self.answer.as_ref().and_then(|answer| answer.get()) {
                shift.agenda().keep_answer(session, index, text.clone());
            }
            shift.ended(session, index, end);
        }
        shift.all_over.notify_one();
    }
}

/// Wakes every millisecond and notes how late it was: what the event loop does to everything else that waits in it. Hands
/// outcomes over on the way.
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

    async fn beat(&mut self, shift: &Shift) -> io::Result<()> {
        loop {
            self.alarm.until(self.next).await?;
            shift.flush();
            let late = self.next.elapsed();
            let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
            self.lateness.saturating_record(late_us);
            // Beats that fell into the delay are not made up for, but the next stays on the grid.
            let beats = u32::try_from(late.as_micros() / BEAT.as_micros()).unwrap_or(u32::MAX - 1);
            self.next += BEAT * (beats + 1);
        }
    }
}

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::mpsc::UnboundedSender;

use super::agenda::{Handed, Order};
use super::conversation::{Book, Depot, Due, End, History, Read, Ready, Slot, Stub, TurnAccount};
use super::pace::RunClock;
use super::plan::{PlanError, PlannedRequest, Turn, took_us};
use super::progress::{Progress, Stop};
use super::room::{Account, Room};
use super::run::RunOptions;
use super::synthesise::{Settled, Synthesiser};

/// How the plan's end was reached.
pub(super) enum PlanEnd {
    /// Every request was handed out.
    Whole,
    /// The run was stopped.
    Stopped,
    /// The trace could not be read further.
    Broken(PlanError),
    /// What was read ahead had no place to wait.
    NoRoom(io::Error),
}

/// What the preparer learns while the run goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// The run begins, or will in a moment.
    Started(RunClock),
    /// A turn of a conversation has ended.
    Ended { session: u64, index: u64, end: End },
    /// There is room again.
    Room,
}

/// Makes the bytes of every request before its instant, in the order in which they may be needed, and deals them out to the
/// workers: lone requests in turn, the turns of a conversation always to the same.
///
/// The trace is read in the order of the plan, as far ahead of the clock as a conversation may need it ([`Book::ahead_us`]), and on to
/// what waits for nothing but its instant; what is read ahead waits in the [`Depot`].
pub(super) struct Preparer<'a, 'c, P> {
    pub(super) plan: &'a mut P,
    pub(super) synthesiser: &'a mut Synthesiser<'c>,
    pub(super) progress: &'a Progress,
    pub(super) stop: &'a Stop,
    pub(super) events: Receiver<Event>,
    room: Room,
    stations: Vec<Station>,
    book: Book<Slot>,
    depot: Depot,
    /// Where later turns shall repeat the target's answers.
    history: Option<History>,
    /// Requests that wait for nothing but their instant, in order.
    open: VecDeque<Open>,
    /// The planned instant of what was read last.
    position_us: u64,
    /// Why there is nothing more to read.
    over: Option<PlanEnd>,
    clock: Option<RunClock>,
    next_worker: usize,
    /// Requests to make before more is read.
    owed: usize,
}

/// Where a worker's orders go.
struct Station {
    orders: UnboundedSender<Vec<Order>>,
    batch: Vec<Order>,
}

struct Open {
    due_us: u64,
    worker: usize,
    slot: Slot,
}

/// How long before a turn may be due its bytes are made.
const WINDOW_US: u64 = 500_000;
/// What comes within this is needed soon: reading takes microseconds a request, and what is left out in between as long.
const SOON_US: u64 = 60_000_000;
/// Orders that go to a worker at once.
const BATCH: usize = 32;
/// A request that is due within this is handed over at once.
const URGENT_US: u64 = 20_000;
/// Requests read between two looks at what is needed.
const READS: usize = 8;
/// A stop is seen within this.
const NAP: Duration = Duration::from_millis(50);

enum Step {
    Done,
    Idle,
    Finished,
}

impl<'a, 'c, P> Preparer<'a, 'c, P>
where
    P: Iterator<Item = Result<PlannedRequest, PlanError>>,
{
    pub(super) fn new(
        plan: &'a mut P,
        synthesiser: &'a mut Synthesiser<'c>,
        options: &RunOptions,
        workers: Vec<UnboundedSender<Vec<Order>>>,
        room: Room,
        events: Receiver<Event>,
        (progress, stop): (&'a Progress, &'a Stop),
    ) -> Self {
        let station = |orders| Station {
            orders,
            batch: Vec::new(),
        };
        Self {
            plan,
            synthesiser,
            progress,
            stop,
            events,
            room,
            stations: workers.into_iter().map(station).collect(),
            book: Book::new(options.sessions),
            depot: Depot::new(Depot::BYTES),
            history: options.live_history.then(History::default),
            open: VecDeque::new(),
            position_us: 0,
            over: None,
            clock: None,
            next_worker: 0,
            owed: 0,
        }
    }

    /// Runs until everything is handed out. `primed` is told once: when all is made that can be made before the run begins.
    pub(super) fn run(mut self, primed: Sender<()>) -> (PlanEnd, TurnAccount) {
        let mut primed = Some(primed);
        let end = loop {
            if self.stop.is_requested() {
                break PlanEnd::Stopped;
            }
            while let Ok(event) = self.events.try_recv() {
                self.learn(event);
            }
            match self.step() {
                Ok(Step::Done) => self.let_by(),
                Ok(Step::Finished) => break self.over.take().unwrap_or(PlanEnd::Whole),
                Ok(Step::Idle) => {
                    primed = None;
                    self.rest();
                }
                Err(error) => break PlanEnd::NoRoom(error),
            }
        };
        drop(primed);
        (0..self.stations.len()).for_each(|worker| self.dispatch(worker));
        let account = TurnAccount {
            spilled_peak_bytes: self.depot.spilled_peak_bytes(),
            ..self.book.account()
        };
        (end, account)
    }

    /// Lets a sender go first that waits for this processor, unless something is urgent here: the kernel takes a processor away only
    /// after more than a millisecond, and what is done between two calls of this takes some microseconds.
    fn let_by(&self) {
        let Some(clock) = self.clock else {
            return;
        };
        let first_us = self.open.front().map(|open| open.due_us);
        // Where nothing is read yet that is to be made, what was read last tells how far ahead this is.
        let first_us = first_us.unwrap_or(self.position_us);
        let urgent_us = clock.now_us().saturating_add(URGENT_US);
        let need_us = self.book.next_need_us();
        if first_us > urgent_us && need_us.is_none_or(|need| need > urgent_us) {
            std::thread::yield_now();
        }
    }

    /// Does the most urgent thing there is to do.
    fn step(&mut self) -> io::Result<Step> {
        let now_us = self.now_us();
        let until_us = now_us.saturating_add(WINDOW_US);
        let first_us = self.open.front().map(|open| open.due_us);
        let need_us = self.book.next_need_us();
        let room = self
            .open
            .front()
            .is_some_and(|open| self.room.has_room(open.worker));
        let turn_first =
            need_us.is_some_and(|need| !room || first_us.is_none_or(|first| need <= first));
        if turn_first {
            let on_trust = self.room.has_room_for_turn();
            if let Some(ready) = self.book.next(until_us, on_trust) {
                self.hand_out_turn(ready)?;
                return Ok(Step::Done);
            }
        }
        if (self.owed == 0 || !room) && self.read_ahead(now_us)? {
            self.owed = READS;
            return Ok(Step::Done);
        }
        if room && let Some(open) = self.open.pop_front() {
            self.owed = self.owed.saturating_sub(1);
            self.hand_out(open, now_us)?;
            return Ok(Step::Done);
        }
        let finished = self.over.is_some() && self.open.is_empty() && self.book.is_settled();
        Ok(if finished { Step::Finished } else { Step::Idle })
    }

    /// Reads some of what should have been read; false where nothing should.
    fn read_ahead(&mut self, now_us: u64) -> io::Result<bool> {
        for read in 0..READS {
            if self.over.is_some() || !self.wants_more(now_us) {
                return Ok(read > 0);
            }
            let planned = match self.plan.next() {
                Some(Ok(planned)) => planned,
                Some(Err(error)) => {
                    self.over = Some(PlanEnd::Broken(error));
                    return Ok(true);
                }
                None => {
                    self.over = Some(PlanEnd::Whole);
                    return Ok(true);
                }
            };
            self.position_us = self.position_us.max(planned.intended_us);
            let (turn, due_us) = (planned.turn, planned.intended_us);
            let stub = Stub {
                index: planned.index,
                planned_us: due_us,
                took_us: took_us(&planned.exchange),
                turn,
            };
            let session = self.book.key(turn);
            let repeated = match (&mut self.history, session) {
                (Some(history), Some(session)) => history.repeated(session, &planned),
                _ => Vec::new(),
            };
            let mut settled = self.synthesiser.settle(planned);
            settled.repeated = repeated;
            let slot = self.depot.put(settled)?;
            if let Read::Open(slot) = self.book.read(stub, slot, now_us) {
                let worker = self.worker_for(turn);
                self.open.push_back(Open {
                    due_us,
                    worker,
                    slot,
                });
            }
        }
        Ok(true)
    }

    /// Whether more of the trace should have been read: for turns that may be due before their instants in it, and where nothing is left
    /// that waits for its instant alone. What comes next may be turns alone, to the trace's end; so once they no longer wait in memory,
    /// no more of them is read than is needed soon.
    fn wants_more(&self, now_us: u64) -> bool {
        let ahead_us = self.book.ahead_us();
        let is_within = |us: u64| self.position_us <= now_us.saturating_add(us);
        let for_turns = ahead_us > 0 && is_within(ahead_us);
        let for_the_rest =
            self.open.is_empty() && (!self.depot.has_spilled() || is_within(SOON_US));
        (for_turns || for_the_rest) && !self.depot.is_full()
    }

    fn hand_out(&mut self, open: Open, now_us: u64) -> io::Result<()> {
        let settled = self.depot.take(open.slot)?;
        self.hand_over(open.worker, &settled, Due::At(open.due_us), Account::Ahead);
        if self.clock.is_some() && open.due_us <= now_us.saturating_add(URGENT_US) {
            self.dispatch(open.worker);
        }
        Ok(())
    }

    fn hand_out_turn(&mut self, ready: Ready<Slot>) -> io::Result<()> {
        let settled = self.depot.take(ready.slot)?;
        let worker = self.worker_for(settled.planned.turn);
        self.hand_over(worker, &settled, ready.due, Account::Turn);
        self.dispatch(worker);
        Ok(())
    }

    fn hand_over(&mut self, worker: usize, settled: &Settled, due: Due, account: Account) {
        let prepared = Box::new(self.synthesiser.write(settled));
        self.progress
            .counters()
            .prepared
            .fetch_add(1, Ordering::Relaxed);
        let bytes = prepared.request.body().len();
        self.room.take(worker, account, bytes);
        let handed = Handed {
            prepared,
            due,
            account,
            bytes,
        };
        self.order(worker, Order::Send(handed));
    }

    fn order(&mut self, worker: usize, order: Order) {
        let Some(station) = self.stations.get_mut(worker) else {
            return;
        };
        station.batch.push(order);
        if station.batch.len() >= BATCH {
            self.dispatch(worker);
        }
    }

    /// Sends a worker what has been put together for it.
    fn dispatch(&mut self, worker: usize) {
        if let Some(station) = self.stations.get_mut(worker)
            && !station.batch.is_empty()
        {
            // A worker that is gone was stopped, or failed, which stops the run.
            let _ = station.orders.send(std::mem::take(&mut station.batch));
        }
    }

    fn learn(&mut self, event: Event) {
        match event {
            Event::Started(clock) => self.clock = Some(clock),
            Event::Room => {}
            Event::Ended {
                session,
                index,
                end,
            } => {
                if let Some((index, due_us)) = self.book.ended(session, index, end) {
                    let worker = self.worker_of(session);
                    let settle = Order::Settle {
                        session,
                        index,
                        due_us,
                    };
                    self.order(worker, settle);
                    self.dispatch(worker);
                }
            }
        }
    }

    /// Waits for something to happen, or for the instant at which there is something to do.
    fn rest(&mut self) {
        (0..self.stations.len()).for_each(|worker| self.dispatch(worker));
        if let Some(open) = self.open.front()
            && !self.room.sleep(open.worker)
        {
            return;
        }
        let mut nap = NAP;
        if let (Some(need_us), Some(_)) = (self.book.next_need_us(), self.clock) {
            let wait_us = need_us.saturating_sub(WINDOW_US + self.now_us());
            nap = nap.min(Duration::from_micros(wait_us.max(100)));
        }
        if let Ok(event) = self.events.recv_timeout(nap) {
            self.learn(event);
        }
    }

    fn now_us(&self) -> u64 {
        self.clock.map_or(0, RunClock::now_us)
    }

    fn worker_for(&mut self, turn: Turn) -> usize {
        match self.book.key(turn) {
            Some(session) => self.worker_of(session),
            None => {
                self.next_worker = (self.next_worker + 1) % self.stations.len().max(1);
                self.next_worker
            }
        }
    }

    /// Spreads sessions evenly, however they are numbered (Fibonacci hashing).
    fn worker_of(&self, session: u64) -> usize {
        let spread = session.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let workers = self.stations.len().max(1) as u64;
        usize::try_from(spread % workers).unwrap_or(0)
    }
}

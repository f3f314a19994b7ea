use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use super::calibrate::{Calibration, Problem, TargetError};
use super::client::{Connector, Envelope, Sharing};
use super::connections::Connections;
use super::conversation::{SessionMode, TurnAccount};
use super::evidence::{self, Evidence};
use super::gate::Gate;
use super::outcome::RequestOutcome;
use super::pace::{RunClock, give_way};
use super::plan::{PlanError, Planner};
use super::preparer::{Event, PlanEnd, Preparer};
use super::progress::{Progress, Stop};
use super::prompt::{Cache, PromptOptions, Salt};
use super::readers::Readers;
use super::room::Room;
use super::source::Source;
use super::survey::PlanSummary;
use super::synthesise::{Alteration, Alterations, LengthPolicy, Synthesiser};
use super::target::Target;
use super::worker::{Worker, runtime, work};
use crate::net::open_files;
use crate::shape::BlockSpec;

/// How a plan is run against one target.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What is drawn is drawn with this, but for the words.
    pub seed: u64,
    /// What the words are drawn with: sets them apart from another replay's.
    pub words_seed: u64,
    /// Which of the replay's runs this is (target, step, repeat), from 0: sets its words apart from the others' unless `cache`
    /// says otherwise.
    pub run: u64,
    /// Whether the replay's runs may find each other's prompts in a cache.
    pub cache: Cache,
    /// What the trace's blocks cover.
    pub block: Option<BlockSpec>,
    /// When the later turns of a conversation are sent.
    pub sessions: SessionMode,
    /// Later turns repeat the target's own answers, not made-up ones of the recorded length.
    pub live_history: bool,
    /// How the recorded answers' lengths are asked for.
    pub output_length: LengthPolicy,
    /// What the prompts are made of, and where they go.
    pub prompts: PromptOptions,
    /// Threads that send; chosen from the machine's cores where absent.
    pub workers: Option<NonZeroUsize>,
    /// Whether the threads that send never sleep: each takes a whole core, and what a sleeping one is woken late by is gone.
    pub busy_poll: bool,
    /// Requests in flight beyond which one is dropped, which makes the run invalid: a guard, not a queue.
    pub max_in_flight: u64,
    /// A connection takes at most this long.
    pub connect_timeout: Duration,
    /// A target that is not there yet, or is busy, is asked again for so long before its first run.
    pub ready_timeout: Duration,
    /// Which connections requests go over, and how many there may be over all threads.
    pub connections: Connections,
    /// Idle connections that each thread keeps where they are as recorded; any number where absent.
    pub idle_connections: Option<usize>,
    /// How fast clients take their answers; what is drawn of that is drawn with the seed. Slow ones have connections of their own, by the room
    /// that they have to receive in: where the number of connections is limited, all clients must be alike.
    pub readers: Readers,
    /// When the run's moment 0 is; as soon as it can be where absent.
    pub start_at: Option<SystemTime>,
    /// An answer that brings nothing for so long has failed.
    pub request_timeout: Duration,
    /// Where it waits for other runs, to begin at the same instant.
    pub gate: Option<Gate>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            words_seed: 0,
            run: 0,
            cache: Cache::Fresh,
            block: None,
            sessions: SessionMode::default(),
            live_history: false,
            output_length: LengthPolicy::Exact,
            prompts: PromptOptions::default(),
            workers: None,
            busy_poll: false,
            max_in_flight: 20_000,
            connections: Connections::default(),
            idle_connections: None,
            readers: Readers::default(),
            start_at: None,
            connect_timeout: Duration::from_secs(10),
            ready_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(600),
            gate: None,
        }
    }
}

/// What a run came to, beside its outcomes.
#[derive(Debug)]
pub struct RunSummary {
    /// What was planned.
    pub plan: PlanSummary,
    /// How the later turns of conversations came.
    pub turns: TurnAccount,
    /// Where the replayed requests differ from the recorded ones, and in how many.
    pub alterations: Alterations,
    /// Moment 0 of the outcomes, on the monotonic clock that samplers share.
    pub started: Instant,
    /// The same on the wall clock.
    pub started_at: SystemTime,
    /// From moment 0 to the last outcome.
    pub elapsed: Duration,
    /// Why it ended.
    pub ended: Ended,
    /// Requests in flight when it was stopped: they have no outcome.
    pub abandoned: u64,
    /// What the generator has to show for itself.
    pub evidence: Evidence,
}

/// Why a run ended.
#[derive(Debug)]
pub enum Ended {
    /// Every request of the plan is over.
    Whole,
    /// It was asked to.
    Stopped,
    /// The trace could not be read further; what was planned until then is over.
    TraceBroken(PlanError),
    /// What was read ahead for conversations had no place to wait (see `TMPDIR`); what was handed out until then is over.
    NoRoom(io::Error),
}

/// Why a run could not begin, or had to be given up.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// This machine.
    #[error("the generator cannot run: {0}")]
    Machine(#[from] io::Error),
    /// The moment to start at came before everything was ready.
    #[error("the moment of --start-at was over before the run was ready to send")]
    StartMissed,
    /// A bug in the generator.
    #[error("the generator's {0} thread panicked: this is a bug")]
    Panicked(&'static str),
}

/// Batches of outcomes (of 64 at most) that may wait for the sink; beyond it they are lost and counted, which makes the run invalid.
const OUTCOMES: usize = 1024;
/// Outcomes after which the sink lets a sender go first: some tens of microseconds.
const HEARD: usize = 16;
/// A send that is later than this was not kept from the processor for a moment.
const BEHIND_US: u64 = 20_000;

/// Replays a plan against one target, and gives every outcome to `sink` as it comes, on this thread. Blocks until the last answer
/// is over, or the run is stopped.
///
/// Threads: one prepares bytes ahead; each worker owns its connections, sends at the instant and reads; this one feeds the sink.
/// Memory: the look-ahead (at most 1,024 requests for each worker and 64 MiB of bodies, and as many for turns that are about to be
/// due), 64 MiB of turns that were read ahead of their time (more go to temporary files), the requests in flight, the waiting
/// outcomes, and one byte for each block of the trace.
///
/// # Errors
/// When the target's name does not resolve or its TLS cannot be set up, or this machine lacks threads or timers. A target that
/// fails later is no error: its failures are outcomes.
pub fn run<S>(
    target: &Target,
    calibration: &Calibration,
    mut plan: Planner<S>,
    options: &RunOptions,
    progress: &Progress,
    stop: &Stop,
    mut sink: impl FnMut(RequestOutcome),
) -> Result<RunSummary, RunError>
where
    S: Source + Send,
{
    let connector = Connector::new(target, options.connect_timeout)
        .map_err(|error| TargetError::new(target, Problem::Unreachable(error.to_string())))?;
    let descriptors = open_files::raise();
    let count = options
        .workers
        .map_or_else(default_workers, NonZeroUsize::get)
        // A thread without a connection could send nothing.
        .min(
            options
                .connections
                .limit()
                .map_or(usize::MAX, NonZeroUsize::get),
        );
    let room = Room::new(count);
    let (report, events) = crossbeam_channel::unbounded();
    let (tell, outcomes) = crossbeam_channel::bounded(OUTCOMES);
    let (mut orders, mut stations) = (Vec::new(), Vec::new());
    for number in 0..count {
        // Bounded by the room that the preparer must find for each request.
        let (sender, receiver) = mpsc::unbounded_channel();
        orders.push(sender);
        let worker = Worker {
            number,
            connector: connector.clone(),
            connections: match options.connections {
                // Where the trace does not tell, no request begins one.
                Connections::AsTold | Connections::AsRecorded => {
                    Sharing::AsRecorded(options.idle_connections.unwrap_or(usize::MAX))
                }
                Connections::Shared => Sharing::Free,
                Connections::AtMost(all) => Sharing::AtMost(share(all, number, count)),
            },
            readers: options.readers,
            seed: options.seed,
            idle: options.request_timeout,
            lead: lead(calibration),
            busy_poll: options.busy_poll,
            max_in_flight: options.max_in_flight.min(evidence::room_for(descriptors)),
            linked: options.sessions != SessionMode::Independent,
            live_history: options.live_history,
            room: room.clone(),
            events: report.clone(),
            progress: progress.clone(),
            stop: stop.clone(),
            outcomes: tell.clone(),
        };
        stations.push((worker, runtime()?, receiver));
    }
    drop(tell);
    let salt = Salt::new(options.words_seed, options.cache, options.run);
    let mut synthesiser = Synthesiser::new(
        salt,
        options.block,
        calibration,
        Envelope::new(target),
        options.output_length,
        options.prompts.clone(),
    );

    std::thread::scope(|scope| {
        let (prime, primed) = crossbeam_channel::bounded(1);
        let preparer = std::thread::Builder::new()
            .name("prepare".to_owned())
            .spawn_scoped(scope, || {
                // Its work lies ahead of the instants; the sends do not.
                give_way();
                let preparer = Preparer::new(
                    &mut plan,
                    &mut synthesiser,
                    options,
                    orders,
                    room,
                    events,
                    (progress, stop),
                );
                let (end, turns) = preparer.run(prime);
                let alterations = synthesiser.alterations();
                (end, turns, plan.summary().clone(), alterations)
            })?;
        // Nothing is sent before the look-ahead is full. The preparer says so by letting go of its end.
        let _ = primed.recv();
        let soonest = lead(calibration) + Duration::from_millis(10);
        let Some(wait) = wait(options.start_at, SystemTime::now(), soonest) else {
            stop.request();
            return Err(RunError::StartMissed);
        };
        let ready = Instant::now() + wait;
        let started = match &options.gate {
            Some(gate) => gate.agree(ready),
            None => ready,
        };
        let started_at = SystemTime::now() + started.saturating_duration_since(Instant::now());
        let cpu_before = evidence::cpu_time();
        // The preparer may be done and gone.
        let _ = report.send(Event::Started(RunClock::starting_at(started)));
        let mut workers = Vec::new();
        for (worker, runtime, receiver) in stations {
            let spawned = std::thread::Builder::new()
                .name("send".to_owned())
                .spawn_scoped(scope, move || {
                    let mut failing = Failing(Some(worker.stop.clone()));
                    let beats = work(worker, &runtime, started, receiver)?;
                    failing.0 = None;
                    io::Result::Ok(beats)
                });
            match spawned {
                Ok(handle) => workers.push(handle),
                Err(error) => {
                    stop.request();
                    return Err(error.into());
                }
            }
        }
        for (heard, outcome) in outcomes.iter().flatten().enumerate() {
            // A sender that waits for this processor goes first, as long as there is room for what it tells meanwhile. One that is
            // behind anyway, as where it goes as fast as it can, gains nothing by it.
            let late_from_us = outcome.intended_us.saturating_add(BEHIND_US);
            let behind = outcome
                .sent_us
                .is_some_and(|sent_us| sent_us > late_from_us);
            sink(outcome);
            if heard % HEARD == 0 && !behind && outcomes.len() < OUTCOMES / 2 {
                std::thread::yield_now();
            }
        }
        let elapsed = started.elapsed();
        let cpu = evidence::cpu_time().saturating_sub(cpu_before);
        let mut heartbeat = Histogram::new(3).map_err(io::Error::other)?;
        for worker in workers {
            let beats = worker.join().map_err(|_| RunError::Panicked("send"))??;
            heartbeat.add(&beats).map_err(io::Error::other)?;
        }
        let (end, turns, plan, mut alterations) =
            preparer.join().map_err(|_| RunError::Panicked("prepare"))?;
        let made_up = progress.counters().answers_made_up.load(Ordering::Relaxed);
        if made_up > 0 {
            alterations.insert(Alteration::HistoryMadeUp, made_up);
        }
        Ok(RunSummary {
            plan,
            turns,
            alterations,
            started,
            started_at,
            elapsed,
            ended: match end {
                PlanEnd::Broken(error) => Ended::TraceBroken(error),
                PlanEnd::NoRoom(error) => Ended::NoRoom(error),
                _ if stop.is_requested() => Ended::Stopped,
                _ => Ended::Whole,
            },
            abandoned: abandoned(progress),
            evidence: Evidence::gather(
                &heartbeat,
                cpu,
                elapsed,
                count,
                descriptors,
                &connector,
                progress,
            ),
        })
    })
}

/// How long it is until a run starts: until the moment that was asked for, or as soon as it can; `None` where that is later than
/// the moment.
fn wait(start_at: Option<SystemTime>, now: SystemTime, soonest: Duration) -> Option<Duration> {
    match start_at {
        None => Some(soonest),
        Some(at) => at.duration_since(now).ok().filter(|wait| *wait >= soonest),
    }
}

/// Stops the run when a worker ends before its time: turns may wait for answers that it will not report.
struct Failing(Option<Stop>);

impl Drop for Failing {
    fn drop(&mut self) {
        if let Some(stop) = &self.0 {
            stop.request();
        }
    }
}

/// What was sent and has no outcome.
fn abandoned(progress: &Progress) -> u64 {
    let dropped = progress.counters().dropped.load(Ordering::Relaxed);
    (progress.sent() + dropped).saturating_sub(progress.done())
}

/// How many of `all` connections are worker `number`'s, of `workers`, none of which goes without.
fn share(all: NonZeroUsize, number: usize, workers: usize) -> usize {
    all.get() / workers + usize::from(number < all.get() % workers)
}

/// A worker carries some ten thousand requests per second; half the cores leave the other half to the rest of the machine.
fn default_workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (cores / 2).clamp(1, 4)
}

/// How long before its instant a request's connection is seen to: some times what a handshake took.
fn lead(calibration: &Calibration) -> Duration {
    Duration::from_micros(calibration.connect_us.saturating_mul(4))
        .clamp(Duration::from_millis(5), Duration::from_millis(250))
}

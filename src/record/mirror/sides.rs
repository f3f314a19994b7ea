//! What became of a mirrored request on both sides, for whoever measures the two together.
//!
//! Each side holds a [`Pair`] as long as it is at work. The last one to let go of it hands over what both have left there, without
//! waiting: what the measuring has no room for is counted.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::felt::Lost;
use super::{NICE, Offer};
use crate::anonymise::Conversation;
use crate::dialect::ResponseSight;
use crate::record::options::RecordError;
use crate::record::tape::observe::Finished;
use crate::shape::{Exchange, GapTrail, RequestShape};

/// A request that was to be mirrored, once both sides are done with it. Moments are microseconds since the mirror began.
#[derive(Debug, Clone)]
pub struct Mirrored {
    /// Which, from 0, in the order in which they were to be mirrored.
    pub index: u64,
    /// The conversation that it is a turn of.
    pub conversation: Option<Conversation>,
    /// When it was whole at the recorder.
    pub whole_us: u64,
    /// From its arrival at the recorder until then.
    pub upload_us: u64,
    /// When it was handed to the mirror.
    pub offered_us: u64,
    /// The candidate's side.
    pub candidate: CandidateSide,
    /// Production's, without names and without its prompt. Moments in it are since its arrival.
    pub production: Exchange,
    /// A simulated server was production.
    pub production_simulated: bool,
}

/// What a mirrored request came to at the candidate. Moments are microseconds since the mirror began.
#[derive(Debug, Clone, Default)]
pub struct CandidateSide {
    /// When its turn came, and a connection for it was looked for; `None` where its turn never came.
    pub taken_us: Option<u64>,
    /// When it was handed to a connection; `None` where there was none.
    pub sent_us: Option<u64>,
    /// When the head of the answer was there.
    pub headers_us: Option<u64>,
    /// When it was over.
    pub end_us: u64,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why there is no whole answer.
    pub lost: Option<Lost>,
    /// A simulated server answered.
    pub simulated: bool,
    /// What was read of the answer. Moments in it are since `sent_us`.
    pub sight: ResponseSight,
}

/// Measures what mirrored requests come to. It is called on a thread of its own, below the priority of traffic.
pub trait MirrorResults: Send {
    /// Takes one.
    fn add(&mut self, mirrored: Mirrored);

    /// Writes what all of them came to.
    ///
    /// # Errors
    /// When that cannot be written.
    fn finish(self: Box<Self>, unmeasured: Unmeasured) -> Result<(), Box<dyn Error>>;
}

/// What was to be mirrored and was not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmeasured {
    /// Of these production's end was not seen, or was while recording was paused.
    pub without_production: u64,
    /// For these the measuring had no room: it was too slow.
    pub behind: u64,
}

/// Where what mirrored requests come to is written.
#[derive(Clone)]
pub struct MirrorOut {
    /// The directory.
    pub dir: PathBuf,
    /// Begins a result there, once the process has given up what it does not need.
    pub begin: BeginResults,
}

/// Begins a result in a directory.
pub type BeginResults = Arc<
    dyn Fn(&Path) -> Result<Box<dyn MirrorResults>, Box<dyn Error + Send + Sync>> + Send + Sync,
>;

impl fmt::Debug for MirrorOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorOut")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Makes pairs, and takes what they come to.
pub(super) struct Sides {
    epoch: Instant,
    next: AtomicU64,
    without_production: AtomicU64,
    behind: AtomicU64,
    over: AtomicBool,
    queue: Sender<Box<Mirrored>>,
}

/// The running measurement.
pub(super) struct Measuring {
    sides: Arc<Sides>,
    thread: JoinHandle<()>,
}

/// One request on both sides.
pub(in crate::record) struct Pair {
    sides: Arc<Sides>,
    index: u64,
    conversation: Option<Conversation>,
    whole_us: u64,
    upload_us: u64,
    offered_us: u64,
    left: Mutex<Left>,
}

/// What the sides have left.
#[derive(Default)]
struct Left {
    candidate: Option<CandidateSide>,
    production: Option<(Exchange, bool)>,
}

/// Begins to measure.
pub(super) fn start(out: &MirrorOut) -> Result<Measuring, RecordError> {
    let results = (out.begin)(&out.dir).map_err(|source| RecordError::MirrorOut {
        dir: out.dir.clone(),
        source,
    })?;
    let (queue, taken) = crossbeam_channel::bounded(QUEUE);
    let sides = Arc::new(Sides {
        epoch: Instant::now(),
        next: AtomicU64::new(0),
        without_production: AtomicU64::new(0),
        behind: AtomicU64::new(0),
        over: AtomicBool::new(false),
        queue,
    });
    let shared = Arc::clone(&sides);
    let thread = std::thread::Builder::new()
        .name("reenact-measure".to_owned())
        .spawn(move || {
            // Not fatal where it is not allowed: traffic comes first where cores are short.
            let _ = rustix::process::nice(NICE);
            measure(results, &taken, &shared);
        })?;
    Ok(Measuring { sides, thread })
}

fn measure(mut results: Box<dyn MirrorResults>, taken: &Receiver<Box<Mirrored>>, sides: &Sides) {
    loop {
        // Read before the queue is looked at: what was handed over before the flag was set is then seen.
        let last_round = sides.over.load(Ordering::Acquire);
        match taken.recv_timeout(LOOK) {
            Ok(mirrored) => results.add(*mirrored),
            Err(RecvTimeoutError::Timeout) if !last_round => {}
            Err(_) => break,
        }
    }
    let unmeasured = Unmeasured {
        without_production: sides.without_production.load(Ordering::Acquire),
        behind: sides.behind.load(Ordering::Acquire),
    };
    if let Err(error) = results.finish(unmeasured) {
        tracing::error!(%error, "the mirror's result could not be written");
    }
}

impl Measuring {
    pub(super) fn sides(&self) -> Arc<Sides> {
        Arc::clone(&self.sides)
    }

    /// Writes the result, once both sides have let go of every pair. A disk that hangs must not keep the process from ending.
    pub(super) fn finish(self) {
        self.sides.over.store(true, Ordering::Release);
        let deadline = Instant::now() + CLOSING_PATIENCE;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!(
                    "the mirror's result takes too long; leaving without its end, or all of it"
                );
                return;
            }
            std::thread::sleep(NAP);
        }
        if self.thread.join().is_err() {
            tracing::error!("measuring the mirror ended in a panic; there is no result of it");
        }
    }
}

impl Sides {
    /// Both sides of a request that is to be mirrored.
    pub(super) fn pair(self: &Arc<Self>, offer: &Offer<'_>) -> Arc<Pair> {
        let now = Instant::now();
        let arrived = offer.arrived.unwrap_or(now);
        let whole = arrived + Duration::from_micros(offer.upload_us);
        Arc::new(Pair {
            index: self.next.fetch_add(1, Ordering::Relaxed),
            conversation: offer.conversation,
            whole_us: self.since(whole),
            upload_us: offer.upload_us,
            offered_us: self.since(now),
            left: Mutex::default(),
            sides: Arc::clone(self),
        })
    }

    /// Microseconds since the mirror began; 0 for what was before.
    fn since(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.epoch);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Pair {
    /// The moment, as results have it.
    pub(super) fn now_us(&self) -> u64 {
        self.sides.since(Instant::now())
    }

    /// What it came to at the candidate.
    pub(super) fn candidate(&self, side: CandidateSide) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.candidate = Some(side);
    }

    /// It was not sent.
    pub(super) fn dropped(&self, lost: Lost) {
        self.candidate(CandidateSide {
            end_us: self.now_us(),
            lost: Some(lost),
            ..CandidateSide::default()
        });
    }

    /// What it came to in production.
    pub(in crate::record) fn production(&self, finished: &Finished) {
        let exchange = &finished.sighting.exchange;
        let mut response = exchange.response.clone();
        response.trail = GapTrail::default();
        let slim = Exchange {
            model: None,
            session: None,
            client: None,
            request: RequestShape {
                prompt_tokens: exchange.request.prompt_tokens,
                params: exchange.request.params,
                ..RequestShape::default()
            },
            response,
            ..Exchange::bare(exchange.at, exchange.endpoint, exchange.method)
        };
        let slim = Exchange {
            in_flight: exchange.in_flight,
            shape: exchange.shape,
            outcome: exchange.outcome,
            ..slim
        };
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.production = Some((slim, finished.simulated));
    }
}

/// Both sides are done.
impl Drop for Pair {
    fn drop(&mut self) {
        let left = self.left.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Left {
            candidate,
            production,
        } = std::mem::take(left);
        let Some((production, production_simulated)) = production else {
            self.sides.without_production.fetch_add(1, Ordering::AcqRel);
            return;
        };
        // The recorder has ended before the candidate's answer had.
        let candidate = candidate.unwrap_or_else(|| CandidateSide {
            end_us: self.now_us(),
            lost: Some(Lost::Open),
            ..CandidateSide::default()
        });
        let mirrored = Box::new(Mirrored {
            index: self.index,
            conversation: self.conversation,
            whole_us: self.whole_us,
            upload_us: self.upload_us,
            offered_us: self.offered_us,
            candidate,
            production,
            production_simulated,
        });
        if self.sides.queue.try_send(mirrored).is_err() {
            self.sides.behind.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Requests that wait to be measured: a kilobyte or two each.
const QUEUE: usize = 4096;
/// How often it is asked whether the recorder has ended.
const LOOK: Duration = Duration::from_millis(100);
const NAP: Duration = Duration::from_millis(1);
/// How long the result may take to be worked out and written.
const CLOSING_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, Method, TraceTime};

    /// Notes what it is given, and at its end what was not.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<(Vec<Mirrored>, Option<Unmeasured>)>>);

    impl MirrorResults for Notes {
        fn add(&mut self, mirrored: Mirrored) {
            self.0.lock().unwrap().0.push(mirrored);
        }

        fn finish(self: Box<Self>, unmeasured: Unmeasured) -> Result<(), Box<dyn Error>> {
            self.0.lock().unwrap().1 = Some(unmeasured);
            Ok(())
        }
    }

    fn started() -> (Measuring, Notes) {
        let notes = Notes::default();
        let results = notes.clone();
        let out = MirrorOut {
            dir: PathBuf::new(),
            begin: Arc::new(move |_| Ok(Box::new(results.clone()) as Box<dyn MirrorResults>)),
        };
        (start(&out).unwrap(), notes)
    }

    fn pair(measuring: &Measuring) -> Arc<Pair> {
        measuring.sides().pair(&Offer {
            endpoint: Endpoint::ChatCompletions,
            conversation: None,
            path: "/",
            body: b"",
            arrived: Some(Instant::now()),
            upload_us: 7,
        })
    }

    fn is_seen_in_production(pair: &Pair) {
        let at = TraceTime::from_us(1);
        let exchange = Exchange::bare(at, Endpoint::ChatCompletions, Method::Post);
        pair.left.lock().unwrap().production = Some((exchange, false));
    }

    #[test]
    fn a_request_is_measured_once_both_sides_have_let_go_of_it() {
        let (measuring, notes) = started();
        let (whole, open, unseen) = (pair(&measuring), pair(&measuring), pair(&measuring));
        for pair in [&whole, &open] {
            is_seen_in_production(pair);
        }
        whole.candidate(CandidateSide {
            status: Some(200),
            ..CandidateSide::default()
        });
        unseen.dropped(Lost::Busy);
        let other_side = Arc::clone(&whole);
        for pair in [whole, open, unseen] {
            drop(pair);
        }
        drop(other_side);
        measuring.finish();
        let (seen, unmeasured) = std::mem::take(&mut *notes.0.lock().unwrap());
        let told: Vec<_> = seen
            .iter()
            .map(|it| (it.index, it.candidate.status, it.candidate.lost))
            .collect();
        // In the order in which they were let go.
        assert_eq!(told, [(1, None, Some(Lost::Open)), (0, Some(200), None)]);
        assert!(seen.iter().all(|it| it.upload_us == 7));
        let unmeasured = unmeasured.unwrap();
        assert_eq!((unmeasured.without_production, unmeasured.behind), (1, 0));
    }

    #[test]
    fn what_cannot_be_measured_in_time_is_counted_and_not_waited_for() {
        let (queue, taken) = crossbeam_channel::bounded(1);
        let sides = Arc::new(Sides {
            epoch: Instant::now(),
            next: AtomicU64::new(0),
            without_production: AtomicU64::new(0),
            behind: AtomicU64::new(0),
            over: AtomicBool::new(false),
            queue,
        });
        for _ in 0..3 {
            let pair = sides.pair(&Offer {
                endpoint: Endpoint::ChatCompletions,
                conversation: None,
                path: "/",
                body: b"",
                arrived: None,
                upload_us: 0,
            });
            is_seen_in_production(&pair);
        }
        assert_eq!(taken.len(), 1);
        assert_eq!(sides.behind.load(Ordering::Acquire), 2);
    }
}
